import pytest
import torch

from bids_lfenhance.methods.pfsr.loss import losses
from bids_lfenhance.methods.pfsr.settings import PfsrSettings


class Shift(torch.nn.Module):
    """Adds a number."""

    def __init__(self) -> None:
        super().__init__()
        self.by = torch.nn.Parameter(torch.tensor(0.25))

    def forward(self, image: torch.Tensor, contrast: torch.Tensor) -> torch.Tensor:
        return image + self.by


def test_only_the_brain_and_only_wanted_contrasts_count() -> None:
    shape = (2, 3, 16, 16, 16)
    batch = {
        "input": torch.rand(shape),
        "present": torch.tensor([[True, True, False], [False, True, False]]),
        "wanted": torch.tensor([[True, False, True], [True, True, True]]),
        "mask": torch.zeros(2, 1, 16, 16, 16, dtype=torch.bool),
    }
    batch.target = batch.input.clone()
    batch.mask[..., :8] = True
    unwanted = ~(batch.present & batch.wanted)
    batch.target[unwanted] += 100
    batch.target[..., 8:] += 100
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
