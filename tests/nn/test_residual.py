"""The whitened residual, and one flow by two clocks: for a Gaussian, whose best network is known, and for the bundled.

The best velocity for r ~ N(0, w) is E[r − n | x_t] = (t w − (1−t)) / (t² w + (1−t)²) · x_t.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from bids_lfenhance.nn.estimate import CHANNELS, SCALE
from bids_lfenhance.nn.flow import Velocity, euler, even_times, heun
from bids_lfenhance.nn.residual import (
    BANDS,
    CLIP,
    CONDITION,
    as_prior,
    coloured,
    condition_of,
    flow_of,
    radial_power,
    time_of,
    whiten,
)
from bids_lfenhance.nn.samplers import algorithm1, ddim, ddpm
from bids_lfenhance.nn.schedule import cosine_schedule, uniform_levels
from bids_lfenhance.nn.unet3d import UNet3d
from bids_lfenhance.nn.weights import load_weights
from bids_lfenhance.nn.windows import Windows

torch.set_num_threads(1)
COSINE = cosine_schedule()


def randn(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def gaussian(variance: float) -> Velocity:
    return lambda x, t: (t * variance - (1 - t)) / (t**2 * variance + (1 - t) ** 2) * x


@pytest.fixture(scope="module")
def bundled() -> Velocity:
    """The bundled flow on a crop of 24 × 16 × 24 voxels: a made-up estimate, the same for all."""
    loaded = load_weights("residualflow", "residualflow", ())
    network = UNet3d(1 + CONDITION, 1, [loaded.settings["width"] * n for n in (1, 2, 4, 6)], timed=True).eval()
    network.load_state_dict(loaded.state["flow"])
    inputs = torch.rand(1, CHANNELS, 24, 16, 24, generator=torch.Generator().manual_seed(2))
    return flow_of(network, condition_of(inputs[:, :1], torch.full_like(inputs[:, :1], 0.05), inputs))


# --- whitening ----------------------------------------------------------------------------------------------------


def test_the_residual_is_the_error_in_its_own_sd() -> None:
    mean, scale, noise = randn(1, 1, 9, 9, 9, seed=1), torch.full((1, 1, 9, 9, 9), 0.1), randn(1, 1, 9, 9, 9, seed=2)
    torch.testing.assert_close(whiten(mean + 0.1 * noise, mean, scale), noise, atol=1e-4, rtol=0)
    assert float(whiten(mean + 100, mean, scale).max()) == CLIP
    tiny = whiten(mean + 0.003, mean, torch.zeros_like(scale))
    torch.testing.assert_close(tiny, torch.full_like(tiny, 0.003 / SCALE[0]), atol=1e-3, rtol=0)


def test_the_condition_has_the_channels_in_the_order_of_the_training() -> None:
    inputs = randn(2, CHANNELS, 3, 4, 5, seed=1)
    mean, scale = randn(2, 1, 3, 4, 5, seed=2), torch.full((2, 1, 3, 4, 5), 0.7)
    found = condition_of(mean, scale, inputs)
    assert found.shape == (2, CONDITION, 3, 4, 5)
    torch.testing.assert_close(found[:, :1], mean)
    assert (found[:, 1] == 5 * SCALE[1]).all(), "clamped as the residual's own divisor"
    torch.testing.assert_close(found[:, 2:], inputs)


# --- two clocks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "time"), [(400, 0.575), (990, 0.0153), (0, 1.0)])
def test_levels_as_times(level: int, time: float) -> None:
    assert time_of(COSINE, level) == pytest.approx(time, abs=5e-4)


@pytest.mark.parametrize("level", [1, 400, 990])
def test_the_prior_says_the_best_v_of_a_gaussian(level: int) -> None:
    # Oracle: by the rule of the diffusion itself, x̂_0 = √ᾱ w / (ᾱ w + 1 − ᾱ) · u, never through the flow.
    state, share, variance = randn(50, seed=1, dtype=torch.float64), COSINE.shares[level], 0.7
    best = COSINE.velocity_from_clean(state, share.sqrt() * variance / (share * variance + 1 - share) * state, level)
    torch.testing.assert_close(as_prior(gaussian(variance), COSINE)(state, level), best, atol=1e-9, rtol=0)


def both(velocity: Velocity, start: int, steps: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The same noise by DDIM along the levels and by Euler along their times."""
    levels, state = uniform_levels(start, steps), randn(*shape, seed=5)
    share = float(COSINE.shares[start])
    with torch.no_grad():
        diffused = ddim(as_prior(velocity, COSINE), state, COSINE, levels)
        flowed = euler(velocity, state / (share**0.5 + (1 - share) ** 0.5), [time_of(COSINE, k) for k in levels])
    return diffused, flowed


@pytest.mark.parametrize("start", [400, 990])
def test_both_routes_are_one_for_a_gaussian(start: int) -> None:
    diffused, flowed = both(gaussian(0.7), start, 25, (1, 1, 8, 8, 8))
    assert diffused.dtype == torch.float32
    torch.testing.assert_close(diffused, flowed, atol=1e-5, rtol=0)


@pytest.mark.parametrize("start", [400, 990])
def test_both_routes_are_one_for_the_bundled_flow(bundled: Velocity, start: int) -> None:
    diffused, flowed = both(bundled, start, 4, (1, 1, 24, 16, 24))
    torch.testing.assert_close(diffused, flowed, atol=1e-5, rtol=0)
    assert float(diffused.std()) > 0.1, "it drew something"


def test_heun_on_time_keeps_more_of_the_spread_than_ddim() -> None:
    # Oracle: the flow of a Gaussian is a stretch from 1 to √w, here 1 to 1.
    def kept(run: Tensor) -> float:
        return float(run.square())

    one = torch.ones(1, dtype=torch.float64)
    assert kept(heun(gaussian(1.0), one, even_times(8))) == pytest.approx(0.98, abs=0.01)
    assert kept(euler(gaussian(1.0), one, even_times(8))) == pytest.approx(0.72, abs=0.01)
    assert kept(ddim(as_prior(gaussian(1.0), COSINE), one, COSINE, uniform_levels(990, 25))) == pytest.approx(
        0.91, abs=0.02
    )


def test_ancestral_sampling_of_the_same_network_has_its_variance() -> None:
    generator = torch.Generator().manual_seed(1)
    prior = as_prior(gaussian(0.5), COSINE)
    found = ddpm(prior, randn(20_000, seed=2, dtype=torch.float64), COSINE, uniform_levels(990, 200), generator)
    assert float(found.var()) == pytest.approx(0.5, rel=0.05)


def test_the_literal_algorithm_1_fades_to_the_estimate() -> None:
    prior = as_prior(gaussian(1.0), COSINE)
    start = randn(2000, seed=2, dtype=torch.float64)
    levels = uniform_levels(400, 400)
    found = algorithm1(prior, start, COSINE, levels, 1, torch.Generator().manual_seed(1), literal=True)
    assert abs(float(torch.corrcoef(torch.stack([found, start]))[0, 1])) < 0.1, "nothing of the start is left"


# --- windows and spectra ------------------------------------------------------------------------------------------


def test_windows_of_a_local_network_are_the_whole(bundled: Velocity) -> None:
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
