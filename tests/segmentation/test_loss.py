"""Losses and scores beside a few plain lines of numpy."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bids_lfenhance.nn.batch import Batch
from bids_lfenhance.nn.pixel_shuffle import pixel_unshuffle3d
from bids_lfenhance.segmentation import score
from bids_lfenhance.segmentation.loss import SMOOTH, VOXELS, losses, soft_dice

from .heads import as_kinds, grid_of, head_of_blocks, where_of

CHANNELS, SIDE = 33, 6


@pytest.fixture
def drawn(rng) -> tuple[np.ndarray, np.ndarray]:
    """Logits (2, 33, 6, 6, 6) and targets (2, 6, 6, 6) of which the second item has few channels."""
    logits = rng.normal(0, 2, (2, CHANNELS, SIDE, SIDE, SIDE)).astype(np.float32)
    target = rng.integers(0, CHANNELS, (2, SIDE, SIDE, SIDE))
    target[1] %= 3
    return logits, target


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def oracle_dice(posterior: np.ndarray, target: np.ndarray) -> float:
    scores = []
    for p, t in zip(posterior, target, strict=True):
        for channel in range(1, CHANNELS):
            there = t == channel
            if there.any():
                hit = p[channel][there].sum()
                scores.append((2 * hit + SMOOTH) / (p[channel].sum() + there.sum() + SMOOTH))
    return float(np.mean(scores))


def test_soft_dice_is_the_mean_over_what_is_there(drawn):
    posterior, target = softmax(drawn[0]), drawn[1]
    found = soft_dice(torch.from_numpy(posterior.astype(np.float32)), torch.from_numpy(target))
    assert float(found) == pytest.approx(oracle_dice(posterior, target), rel=1e-5)


def test_perfect_is_one_and_nothing_there_is_no_error(drawn):
    target = torch.from_numpy(drawn[1])
    perfect = torch.nn.functional.one_hot(target, CHANNELS).movedim(-1, 1).float()
    assert float(soft_dice(perfect, target)) == pytest.approx(1)
    assert torch.isfinite(soft_dice(perfect, torch.zeros_like(target)))


def test_losses_are_cross_entropy_and_one_minus_dice_of_some_voxels_of_each_cell(drawn):
    logits, target = drawn
    asked = []

    def network(image, where, voxels):
        asked.append(voxels)
        return pixel_unshuffle3d(torch.from_numpy(logits), 2).unflatten(1, (CHANNELS, 8))[:, :, voxels]

    nothing = torch.zeros(len(target))
    batch = Batch(nothing, nothing, nothing, template_coordinates=nothing, target=torch.from_numpy(target[:, None]))
    found = losses({"regions": network}, batch, None, torch.Generator().manual_seed(3))
    assert len(set(asked[0].tolist())) == VOXELS
    corners = [np.unravel_index(v, (2, 2, 2)) for v in asked[0].tolist()]
    shown = np.stack([logits[:, :, x::2, y::2, z::2] for x, y, z in corners], axis=2)
    wanted = np.stack([target[:, x::2, y::2, z::2] for x, y, z in corners], axis=1)
    own = np.take_along_axis(softmax(shown), wanted[:, None], axis=1)
    assert float(found["ce"]) == pytest.approx(float(-np.log(own).mean()), rel=1e-5)
    assert float(found["dice"]) == pytest.approx(1 - oracle_dice(softmax(shown), wanted), rel=1e-5)


def test_dice_is_two_overlaps_over_two_sizes(drawn, rng):
    truth, found = drawn[1][1], np.where(rng.random(drawn[1][1].shape) < 0.7, drawn[1][1], 5)
    scores = score.dice(found, truth)
    assert scores.shape == (CHANNELS - 1,)
    for channel in range(1, CHANNELS):
        ours, true = found == channel, truth == channel
        if ours.any() or true.any():
            assert scores[channel - 1] == pytest.approx(2 * (ours & true).sum() / (ours.sum() + true.sum()))
        else:
            assert np.isnan(scores[channel - 1])


def test_the_score_gives_full_marks_to_the_truth(monkeypatch):
    def truth(nets, batch, settings, generator):
        return torch.nn.functional.one_hot(batch.target[:, 0].long(), CHANNELS).movedim(-1, 1).float()

    monkeypatch.setattr(score, "predict", truth)
    example = SimpleNamespace(
        labels=as_kinds(head_of_blocks()), template_coordinates=np.repeat(where_of(grid_of()), 3, axis=0)
    )
    scores = score.score({}, example, None, torch.device("cpu"))
    assert scores["dice"] == scores["dice_low"] == scores["dice_thin"] == 1
