import torch

from bids_lfenhance.methods.inr.network import NeuralField
from bids_lfenhance.methods.inr.settings import InrSettings


def field(residual: bool) -> NeuralField:
    settings = InrSettings(base="mean" if residual else "none", activation="gabor", width=16, layers=2)
    return NeuralField(2, settings, 5.0, 3.0, torch.Generator().manual_seed(0))


def test_a_residual_starts_at_nothing_to_correct() -> None:
    intensity, logits = field(residual=True)(torch.rand(20, 3))
    assert not intensity.any()
    assert intensity.shape == (20, 2)
    assert logits.shape == (20, 4)


def test_an_image_from_scratch_is_positive() -> None:
    intensity, _ = field(residual=False)(torch.rand(20, 3))
    assert (intensity > 0).all()
