import numpy as np
import pytest
import torch
from scipy import ndimage

from bids_lfenhance.evaluation.ssim import GAUSSIAN_PAD, local_moments, ssim_map, valid_area
from bids_lfenhance.methods.pfsr.loss import losses, ssim
from bids_lfenhance.methods.pfsr.recipe import PfsrSettings


class Shift(torch.nn.Module):
    """Adds a number."""

    def __init__(self) -> None:
        super().__init__()
        self.by = torch.nn.Parameter(torch.tensor(0.25))

    def forward(self, image: torch.Tensor, contrast: torch.Tensor) -> torch.Tensor:
        return image + self.by


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image)[None, None]


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_ssim_is_that_of_the_evaluation(offset: float) -> None:
    rng = np.random.default_rng(0)
    x = ndimage.gaussian_filter(rng.random((22, 24, 27)), 1).astype(np.float32) + np.float32(offset)
    y = (x + 0.05 * rng.normal(size=x.shape)).astype(np.float32)
    mask = rng.random(x.shape) > 0.4
    inner = valid_area(x.shape, GAUSSIAN_PAD)
    expected = ssim_map(local_moments(x, y))[inner][mask[inner]].mean()
    assert float(ssim(tensor(x), tensor(y), tensor(mask))) == pytest.approx(expected, abs=2e-5)


def test_ssim_of_equals_is_one_and_its_gradient_finite_on_nothing() -> None:
    image = torch.rand(1, 1, 16, 16, 16)
    everywhere = torch.ones_like(image, dtype=torch.bool)
    assert float(ssim(image, image, everywhere)) == pytest.approx(1, abs=1e-6)
    nothing = torch.zeros(1, 1, 16, 16, 16, requires_grad=True)
    (1 - ssim(nothing, torch.zeros_like(nothing), everywhere)).backward()
    assert nothing.grad is not None
    assert torch.isfinite(nothing.grad).all()
    assert float(ssim(image, image + 1, ~everywhere)) == 1


def test_only_the_brain_and_only_wanted_contrasts_count() -> None:
    shape = (2, 3, 16, 16, 16)
    batch = {
        "input": torch.rand(shape),
        "present": torch.tensor([[True, True, False], [False, True, False]]),
        "wanted": torch.tensor([[True, False, True], [True, True, True]]),
        "mask": torch.zeros(2, 1, 16, 16, 16, dtype=torch.bool),
    }
    batch["target"] = batch["input"].clone()
    batch["mask"][..., :8] = True
    unwanted = ~(batch["present"] & batch["wanted"])
    batch["target"][unwanted] += 100
    batch["target"][..., 8:] += 100
    found = losses({"enhancer": Shift()}, batch, PfsrSettings(ssim_weight=0.0), torch.Generator())
    assert float(found["l1"].detach()) == pytest.approx(0.25, abs=1e-6)
    assert float(found["ssim"].detach()) == 0


def test_the_weight_of_ssim_is_its_weight() -> None:
    batch = {
        "input": torch.rand(1, 3, 16, 16, 16),
        "target": torch.rand(1, 3, 16, 16, 16),
        "present": torch.ones(1, 3, dtype=torch.bool),
        "wanted": torch.ones(1, 3, dtype=torch.bool),
        "mask": torch.ones(1, 1, 16, 16, 16, dtype=torch.bool),
    }
    one, two = (
        losses({"enhancer": Shift()}, batch, PfsrSettings(ssim_weight=weight), torch.Generator())["ssim"].item()
        for weight in (0.1, 0.2)
    )
    assert two == pytest.approx(2 * one)
    assert one > 0
