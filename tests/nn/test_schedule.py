"""The convention of levels, checked against closed forms and round trips in float64."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from bids_lfenhance.errors import InputError
from bids_lfenhance.nn.schedule import TOP, Level, cosine_schedule, uniform_levels

torch.set_num_threads(1)
COSINE = cosine_schedule()
LEVELS = [1, 100, 400, 750, 990, torch.tensor([3, 400, 990])]


def drawn(seed: int) -> Tensor:
    return torch.randn(3, 2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    return drawn(1), drawn(2)


def test_levels_run_from_the_clean_image_to_noise() -> None:
    assert COSINE.shares.shape == (TOP + 1,)
    assert COSINE.shares.dtype == torch.float64
    assert COSINE.shares[0] == 1
    assert (COSINE.shares.diff() < 0).all()


def test_the_share_of_signal_at_level_400() -> None:
    assert float(COSINE.shares[400]) == pytest.approx(0.64748, abs=1e-5)
    assert float(COSINE.ratio(400)) == pytest.approx(0.738, abs=1e-3)


def test_cosine_follows_its_closed_form_until_beta_is_capped() -> None:
    def closed(level: int) -> float:
        return math.cos((level / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2

    assert [float(COSINE.shares[t]) for t in (1, 400, 999)] == pytest.approx([closed(t) for t in (1, 400, 999)])
    assert 1 - float(COSINE.shares[1000] / COSINE.shares[999]) == pytest.approx(0.999)


@pytest.mark.parametrize("level", LEVELS, ids=str)
def test_what_is_added_is_removed(level: Level, pair: tuple[Tensor, Tensor]) -> None:
    clean, noise = pair
    state, share = COSINE.add_noise(clean, noise, level), COSINE.shares[level]
    tolerance = {"rtol": 0.0, "atol": 1e-12}
    torch.testing.assert_close(COSINE.remove_noise(state, noise, level), clean, **tolerance)
    velocity = COSINE.velocity(clean, noise, level)
    torch.testing.assert_close(COSINE.clean(state, velocity, level), clean, **tolerance)
    torch.testing.assert_close(COSINE.noise(state, velocity, level), noise, **tolerance)
    torch.testing.assert_close(COSINE.velocity_from_clean(state, clean, level), velocity, rtol=0, atol=1e-11)
    share = share.reshape(-1, 1, 1, 1)
    torch.testing.assert_close(state, share.sqrt() * clean + (1 - share).sqrt() * noise)


def test_a_level_for_each_item_is_the_same_as_one_after_another(pair: tuple[Tensor, Tensor]) -> None:
    levels = torch.tensor([1, 500, 1000])
    at_once = COSINE.add_noise(*pair, levels)
    for item, level in enumerate(levels.tolist()):
        assert torch.equal(at_once[item], COSINE.add_noise(*pair, level)[item])
    mean, spread = COSINE.posterior(*pair, levels, levels - 1)
    alone, alone_spread = COSINE.posterior(*pair, 500, 499)
    assert torch.equal(mean[1], alone[1])
    assert spread[1].item() == alone_spread.item()


def test_states_keep_their_dtype(pair: tuple[Tensor, Tensor]) -> None:
    clean, noise = (tensor.float() for tensor in pair)
    for level in LEVELS:
        state = COSINE.add_noise(clean, noise, level)
        assert state.dtype == COSINE.noise(state, noise, level).dtype == torch.float32
        assert COSINE.posterior(state, clean, level, 0)[0].dtype == torch.float32


def test_two_forward_steps_have_the_law_of_one() -> None:
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    signal = COSINE.add_noise(COSINE.add_noise(one, zero, 200), zero, 600, lower=200)
    first = COSINE.add_noise(COSINE.add_noise(zero, one, 200), zero, 600, lower=200)
    second = COSINE.add_noise(zero, one, 600, lower=200)
    assert signal.item() == pytest.approx(float(COSINE.shares[600].sqrt()))
    assert first.item() ** 2 + second.item() ** 2 == pytest.approx(1 - float(COSINE.shares[600]))


@pytest.mark.parametrize("lower", [0, 120, 399])
def test_posterior_is_bayes_rule(lower: int) -> None:
    # Oracle: of jointly normal u_lower and u_400 given x_0, the regression of the one on the other.
    low, high = float(COSINE.shares[lower]), float(COSINE.shares[400])
    covariance = math.sqrt(high / low) * (1 - low)
    clean, state = torch.tensor([0.7], dtype=torch.float64), torch.tensor([-1.3], dtype=torch.float64)
    mean, spread = COSINE.posterior(state, clean, 400, lower)
    assert mean.item() == pytest.approx(math.sqrt(low) * 0.7 + covariance / (1 - high) * (-1.3 - math.sqrt(high) * 0.7))
    assert spread.item() ** 2 == pytest.approx(1 - low - covariance**2 / (1 - high), abs=1e-12)


def test_eq_11_as_printed_is_the_mean_one_level_lower_and_not_the_image(pair: tuple[Tensor, Tensor]) -> None:
    clean, noise = pair
    state = COSINE.add_noise(clean, noise, 400)
    literal = COSINE.remove_noise_literal(state, noise, 400)
    torch.testing.assert_close(literal, COSINE.posterior(state, clean, 400, 399)[0])
    assert (literal - clean).abs().mean() > 0.3


@pytest.mark.parametrize(("start", "steps"), [(400, 10), (990, 50), (400, 7), (990, 990), (1, 1), (400, 400)])
def test_uniform_levels_fall_evenly_to_zero(start: int, steps: int) -> None:
    levels = uniform_levels(start, steps)
    falls = [a - b for a, b in pairwise(levels)]
    assert (levels[0], levels[-1], len(falls)) == (start, 0, steps)
    assert max(falls) - min(falls) <= 1


def test_uniform_levels_of_the_bridge() -> None:
    assert uniform_levels(400, 10) == [400, 360, 320, 280, 240, 200, 160, 120, 80, 40, 0]


@pytest.mark.parametrize(("start", "steps"), [(991, 10), (0, 1), (400, 0), (400, 401)])
def test_grids_that_cannot_be_are_refused(start: int, steps: int) -> None:
    with pytest.raises(InputError, match="Expected"):
        uniform_levels(start, steps)
