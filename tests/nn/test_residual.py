"""The standardised residual, and one flow in two time parametrisations: for a Gaussian, and for the bundled one.

The best velocity for r ~ N(0, w) is E[r − n | x_t] = (t w − (1−t)) / (t² w + (1−t)²) · x_t.
"""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bids_lfenhance.nn.estimate import CHANNELS, SCALE
from bids_lfenhance.nn.flow import Velocity, euler, heun, uniform_times
from bids_lfenhance.nn.residual import (
    BANDS,
    CLIP,
    CONDITION,
    coloured,
    condition_of,
    cosine_shares,
    flow_of,
    radial_power,
    standardise,
    time_of,
)
from bids_lfenhance.nn.windows import Windows

torch.set_num_threads(1)


def randn(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def gaussian(variance: float) -> Velocity:
    return lambda x, t: (t * variance - (1 - t)) / (t**2 * variance + (1 - t) ** 2) * x


# --- standardised --------------------------------------------------------------------------------------------------


def test_the_residual_is_the_error_in_its_own_sd() -> None:
    mean, scale, noise = randn(1, 1, 9, 9, 9, seed=1), torch.full((1, 1, 9, 9, 9), 0.1), randn(1, 1, 9, 9, 9, seed=2)
    torch.testing.assert_close(standardise(mean + 0.1 * noise, mean, scale), noise, atol=1e-4, rtol=0)
    assert float(standardise(mean + 100, mean, scale).max()) == CLIP
    tiny = standardise(mean + 0.003, mean, torch.zeros_like(scale))
    torch.testing.assert_close(tiny, torch.full_like(tiny, 0.003 / SCALE[0]), atol=1e-3, rtol=0)


def test_the_condition_has_the_channels_in_the_order_of_the_training() -> None:
    inputs = randn(2, CHANNELS, 3, 4, 5, seed=1)
    mean, scale = randn(2, 1, 3, 4, 5, seed=2), torch.full((2, 1, 3, 4, 5), 0.7)
    found = condition_of(mean, scale, inputs)
    assert found.shape == (2, CONDITION, 3, 4, 5)
    torch.testing.assert_close(found[:, :1], mean)
    assert (found[:, 1] == 5 * SCALE[1]).all(), "clamped as the residual's own divisor"
    torch.testing.assert_close(found[:, 2:], inputs)


# --- two times ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "time"), [(400, 0.575), (990, 0.0153), (0, 1.0)])
def test_levels_as_times(level: int, time: float) -> None:
    assert time_of(level) == pytest.approx(time, abs=5e-4)


def test_the_cosine_schedule_follows_its_closed_form_until_beta_is_capped() -> None:
    def closed(level: int) -> float:
        return math.cos((level / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2

    shares = cosine_shares()
    assert shares.shape == (1001,)
    assert shares[0] == 1
    assert (shares.diff() < 0).all()
    assert [float(shares[t]) for t in (1, 400, 999)] == pytest.approx([closed(t) for t in (1, 400, 999)])
    assert 1 - float(shares[1000] / shares[999]) == pytest.approx(0.999)


def test_heun_keeps_more_of_the_spread_than_euler() -> None:
    # Oracle: the flow of a Gaussian is a stretch from 1 to √w, here 1 to 1.
    one = torch.ones(1, dtype=torch.float64)
    assert float(heun(gaussian(1.0), one, uniform_times(8)).square()) == pytest.approx(0.98, abs=0.01)
    assert float(euler(gaussian(1.0), one, uniform_times(8)).square()) == pytest.approx(0.72, abs=0.01)


# --- windows and spectra ------------------------------------------------------------------------------------------


def test_windows_of_a_local_network_are_the_whole() -> None:
    class Local(torch.nn.Module):
        def forward(self, x: Tensor, time: Tensor) -> Tensor:
            return x[:, :1] * time[0] + x[:, 1:2]

    condition, state = randn(1, CONDITION, 20, 12, 16, seed=1), randn(1, 1, 20, 12, 16, seed=2)
    whole = flow_of(Local(), condition)(state, 0.3)
    torch.testing.assert_close(flow_of(Local(), condition, Windows((8, 8, 8)))(state, 0.3), whole)
    assert not torch.equal(whole, flow_of(Local(), condition)(state, 0.6))


def test_white_noise_has_a_power_of_one_in_every_band() -> None:
    mask = torch.zeros(48, 48, 48, dtype=torch.bool)
    mask[4:40, 6:44, 3:45] = True
    found = radial_power(2 * randn(48, 48, 48, seed=1), mask)
    assert len(found) == BANDS
    np.testing.assert_allclose(found[4:], 4.0, rtol=0.05)
    np.testing.assert_allclose(found[2:4], 4.0, rtol=0.15)


def test_a_coloured_field_has_the_spectrum_and_the_variance_it_was_asked_for() -> None:
    spectrum = [24.0, 9.5, 5.9, 3.0, 1.4, 0.8, 0.4, 0.24, 0.2, 0.1, 0.05]
    field = coloured(randn(1, 1, 64, 64, 64, seed=3), spectrum)
    assert field.shape == (1, 1, 64, 64, 64)
    found = radial_power(field[0, 0], torch.ones(64, 64, 64, dtype=torch.bool))
    np.testing.assert_allclose(found[2:], spectrum[2:], rtol=0.05)
    np.testing.assert_allclose(found[:2], spectrum[:2], rtol=0.3)
    assert torch.allclose(coloured(randn(2, 8, 8, 8, seed=1), [1.0] * BANDS), randn(2, 8, 8, 8, seed=1), atol=1e-5)
