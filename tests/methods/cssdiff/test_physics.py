"""F as physics, against a pair made by an operator of the tests' own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from bids_lfenhance.methods.cssdiff.loss import stages
from bids_lfenhance.methods.cssdiff.method import TRAINABLE
from bids_lfenhance.methods.cssdiff.physics import Physics
from bids_lfenhance.methods.cssdiff.settings import CssDiffSettings
from bids_lfenhance.methods.cssdiff.slices import as_slices
from bids_lfenhance.nn.batch import Batch

from ..learned import batch_of, untrained

FWHM = 3.0
SMALL = CssDiffSettings(width=32, levels=2, blocks=1, reverse="simulator", discriminator_width=8, slices=2, steps=2)


def pair(gains: tuple[float, float, float]) -> Batch:
    """Three tissues of one intensity each, their low field of other gains, blurred in three dimensions."""
    batch = batch_of("lf2hf", size=32)
    rng, mask = np.random.default_rng(0), batch.mask[0, 0].numpy()
    coarse = ndimage.gaussian_filter(rng.normal(size=mask.shape), 4)
    tissue = np.digitize(coarse, np.quantile(coarse[mask], [1 / 3, 2 / 3]))
    high = np.array([0.2, 0.5, 0.9])[tissue] * mask
    low = ndimage.gaussian_filter(high * np.array(gains)[tissue], FWHM / 2.3548, truncate=3)
    low_field, high_field = (
        torch.from_numpy(np.repeat(image[None, None], 3, axis=1).astype(np.float32)) for image in (low, high)
    )
    return replace(batch, input=low_field, target=high_field)


def test_low_field_comes_out_of_its_high_field() -> None:
    slices = as_slices(pair((1.3, 0.8, 0.5)))
    assert slices.high is not None
    item, index = torch.zeros(4, dtype=torch.long), torch.tensor([12, 14, 16, 18])
    found = Physics.of(slices, item, index, FWHM)(slices.high[item, index])
    low, inside = slices.low[item, index], slices.mask[item, index].expand_as(found)
    error = (found - low)[inside].square().mean().sqrt()
    plain = (slices.high[item, index] - low)[inside].square().mean().sqrt()
    assert error < 0.03
    assert error < plain / 10


def test_it_passes_what_can_be_seen_and_stops_what_cannot() -> None:
    """A wave of 16 voxels is kept, one of 3 is not: nothing can be hidden there."""
    slices = as_slices(pair((1.0, 1.0, 1.0)))
    assert slices.high is not None
    item, index = torch.zeros(1, dtype=torch.long), torch.tensor([16])
    physics, high = Physics.of(slices, item, index, FWHM), slices.high[item, index]
    place = torch.arange(high.shape[2], dtype=torch.float32)[:, None]
    kept = []
    for length in (16, 3):
        wave = 0.1 * torch.cos(2 * torch.pi * place / length)
        change = physics(high + wave) - physics(high)
        kept.append(float(change[0, 0, 8:-8, 12:-12].std() / wave.std()))
    # The slice beside others gives its own share of the profile through the plane.
    own = float(physics.kernel.max())
    assert kept[0] == pytest.approx(own * np.exp(-2 * (np.pi * FWHM / 2.3548 / 16) ** 2), rel=0.1)
    assert kept[1] < 0.1 * kept[0]


def test_the_chain_learns_through_it_and_it_moves_no_network() -> None:
    nets, batch = untrained(TRAINABLE, SMALL), batch_of("lf2hf")
    phase = stages(SMALL)[-1].phases[1]
    assert phase.trains == ("denoiser",)
    losses = phase.losses(nets, batch, SMALL, torch.Generator().manual_seed(0))
    assert "reverse" not in losses
    losses["cycle"].backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in nets["denoiser"].parameters())


def test_a_wider_profile_is_another_loss() -> None:
    nets, batch = untrained(TRAINABLE, SMALL), batch_of("lf2hf")
    phase = stages(SMALL)[-1].phases[1]
    wide = CssDiffSettings(**{**vars(SMALL), "reverse_fwhm": 6.0})
    one, other = (phase.losses(nets, batch, s, torch.Generator().manual_seed(0))["cycle"] for s in (SMALL, wide))
    assert one.item() != pytest.approx(other.item(), rel=1e-3)
