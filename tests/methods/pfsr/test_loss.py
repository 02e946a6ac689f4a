import pytest
import torch

from bids_lfenhance.methods.pfsr.loss import losses
from bids_lfenhance.methods.pfsr.settings import PfsrSettings
from bids_lfenhance.nn.batch import Batch, required


class Shift(torch.nn.Module):
    """Adds a number."""

    def __init__(self) -> None:
        super().__init__()
        self.by = torch.nn.Parameter(torch.tensor(0.25))

    def forward(self, image: torch.Tensor, contrast: torch.Tensor) -> torch.Tensor:
        return image + self.by


def test_only_the_brain_and_only_wanted_contrasts_count() -> None:
    shape = (2, 3, 16, 16, 16)
    image = torch.rand(shape)
    batch = Batch(
        image,
        torch.tensor([[True, True, False], [False, True, False]]),
        torch.zeros(2, 1, 16, 16, 16, dtype=torch.bool),
        target=image.clone(),
        wanted=torch.tensor([[True, False, True], [True, True, True]]),
    )
    target = required(batch.target)
    batch.mask[..., :8] = True
    unwanted = ~batch.live
    target[unwanted] += 100
    target[..., 8:] += 100
    found = losses({"enhancer": Shift()}, batch, PfsrSettings(ssim_weight=0.0), torch.Generator())
    assert float(found["l1"].detach()) == pytest.approx(0.25, abs=1e-6)
    assert float(found["ssim"].detach()) == 0


def test_the_weight_of_ssim_is_its_weight() -> None:
    image, target = torch.rand(2, 1, 3, 16, 16, 16)
    flags, mask = torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 1, 16, 16, 16, dtype=torch.bool)
    batch = Batch(image, flags, mask, target=target, wanted=flags)
    one, two = (
        losses({"enhancer": Shift()}, batch, PfsrSettings(ssim_weight=weight), torch.Generator())["ssim"].item()
        for weight in (0.1, 0.2)
    )
    assert two == pytest.approx(2 * one)
    assert one > 0
