"""The diffusion of the standardised residual in its own time, against a Gaussian, whose best velocity is known."""

import math

import pytest
import torch
from torch import Tensor

from bids_lfenhance.methods.cssdiff.diffusion import contrastive_loss, draw_levels, mix, power_schedule
from bids_lfenhance.nn.flow import heun


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sd", [0.5, 1.0, 1.6])
def test_an_exact_network_keeps_the_spread_in_eight_steps(sd: float) -> None:
    def exact(state: Tensor, time: float) -> Tensor:
        angle = (1 - time) * math.pi / 2
        a, s = math.cos(angle), math.sin(angle)
        return -math.pi / 2 * state * a * s * (1 - sd**2) / (a**2 * sd**2 + s**2)

    noise = torch.randn(20000, generator=seeded(1), dtype=torch.float64)
    assert float(heun(exact, noise, power_schedule(8)).std() / noise.std()) == pytest.approx(sd, rel=0.02)


def test_state_and_v_give_the_residual_back() -> None:
    residual, noise = torch.randn(2, 3, 4, 4, generator=seeded(2), dtype=torch.float64)
    for level in (0.0, 0.3, 0.9):
        angle = level * math.pi / 2
        state, v = mix(residual, noise, torch.full((3,), level, dtype=torch.float64))
        torch.testing.assert_close(math.cos(angle) * state - math.sin(angle) * v, residual)


def test_v_is_the_slope_of_the_state_over_the_angle() -> None:
    residual, noise = torch.randn(2, 3, 4, 4, generator=seeded(2), dtype=torch.float64)
    step = 1e-5
    (low, _), (_, v), (high, _) = (mix(residual, noise, torch.full((3,), 0.4 + k * step)) for k in (-1, 0, 1))
    torch.testing.assert_close((high - low) / (step * math.pi), v, atol=0.02, rtol=0)


def test_every_level_is_trained() -> None:
    counts = torch.histc(draw_levels(20000, seeded(3)), 10, 0, 1)
    assert counts.sum() == 20000
    assert counts.min() > 400


def test_slices_are_told_apart_when_vectors_match_their_own() -> None:
    vectors = torch.eye(6)
    assert contrastive_loss(vectors, vectors) < 0.01
    assert contrastive_loss(vectors, vectors.roll(1, 0)) > 5
