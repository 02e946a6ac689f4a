"""The published samplers of benchmarks/literal.py, where the best network is known in closed form."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from benchmarks.literal import SHARES, Predict, algorithm1, as_prior, ddim, repaint, roots, uniform_levels
from bids_lfenhance.nn.flow import Velocity, euler
from bids_lfenhance.nn.residual import time_of

torch.set_num_threads(1)
RUNS = {
    "ddim": ddim,
    "repaint": lambda predict, start, levels: repaint(predict, start, levels, 3, seeded(1)),
    "algorithm1": lambda predict, start, levels: algorithm1(predict, start, levels, 3, seeded(1), literal=False),
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=seeded(seed))


def says(clean: Tensor, u: Tensor, level: int) -> Tensor:
    """The v that means x̂_0 = ``clean``."""
    a, s = roots(level)
    return (a * u - clean) / s


def best(variance: float) -> Predict:
    """The v of a Gaussian of mean 0, by the rule of the diffusion: x̂_0 = a w / (a² w + s²) u."""

    def predict(u: Tensor, level: int) -> Tensor:
        a, s = roots(level)
        return says(a * variance / (a**2 * variance + s**2) * u, u, level)

    return predict


def flow(variance: float) -> Velocity:
    return lambda x, t: (t * variance - (1 - t)) / (t**2 * variance + (1 - t) ** 2) * x


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("levels", [[990, 640, 320, 120, 0], uniform_levels(400, 10), [3, 0]], ids=str)
def test_one_possible_image_is_found_on_any_grid(name: str, levels: list[int]) -> None:
    image = randn(2, 3, 4, seed=2)
    found = RUNS[name](lambda u, level: says(image, u, level), randn(2, 3, 4, seed=3), levels)
    torch.testing.assert_close(found, image, rtol=0, atol=1e-9)


@pytest.mark.parametrize("level", [1, 400, 990])
def test_the_prior_says_the_best_v_of_a_gaussian(level: int) -> None:
    state = randn(50, seed=1)
    torch.testing.assert_close(as_prior(flow(0.7))(state, level), best(0.7)(state, level), atol=1e-9, rtol=0)


@pytest.mark.parametrize("start", [400, 990])
def test_ddim_on_the_prior_is_euler_on_the_flow(start: int) -> None:
    state, levels = randn(100, seed=5), uniform_levels(start, 25)
    flowed = euler(flow(0.7), state / sum(roots(start)), [time_of(level) for level in levels])
    torch.testing.assert_close(ddim(as_prior(flow(0.7)), state, levels), flowed, atol=1e-9, rtol=0)


def test_ddim_loses_spread_and_less_with_more_steps() -> None:
    one = torch.ones(1, dtype=torch.float64)
    few, many = (float(ddim(best(1.0), one, uniform_levels(990, steps)).square()) for steps in (25, 200))
    assert few == pytest.approx(0.91, abs=0.02)
    assert few < many < 1


@pytest.mark.parametrize(("top", "repeats"), [(50, 3), (100, 1)])
def test_algorithm_1_forgets_its_image_as_predicted(top: int, repeats: int) -> None:
    given, levels = randn(10, seed=1), uniform_levels(top, top)
    found, without = (algorithm1(best(0.3), x, levels, repeats, seeded(2), False) for x in (given, 0 * given))
    share = SHARES[1 : top + 1]
    kept = float((share * 0.3 / (share * 0.3 + 1 - share)).prod()) ** repeats
    torch.testing.assert_close(found - without, kept * given, rtol=0, atol=1e-10)


def test_algorithm_1_by_eq_11_as_printed_shrinks_even_the_true_image_to_nothing() -> None:
    given, levels = randn(10, seed=1), uniform_levels(400, 400)
    found, without = (algorithm1(best(1.0), x, levels, 1, seeded(2), True) for x in (given, 0 * given))
    assert (found - without).abs().max() < 1e-6


@pytest.mark.parametrize("repeats", [1, 4])
def test_repaint_has_the_variance_of_its_recursion(repeats: int) -> None:
    levels, expected = uniform_levels(400, 20), 0.5  # a start whose law is not that of level 400
    found = repaint(best(0.3), expected**0.5 * randn(50_000, seed=1), levels, repeats, seeded(2))
    for level, lower in pairwise(levels):
        (a, s), (below, noise) = roots(level), roots(lower)
        step, gain = (a / below) ** 2, a * 0.3 / (a**2 * 0.3 + s**2)
        factor = below * (1 - step) / s**2 * gain + step**0.5 * noise**2 / s**2
        for number in range(repeats):
            before = step * expected + 1 - step if number else expected
            expected = factor**2 * before + noise**2 / s**2 * (1 - step)
    assert float(found.var()) == pytest.approx(expected, rel=0.03)
