"""The way from the source to high field, against drawn Gaussians and the closed form of their flow."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bids_lfenhance.methods.cfm.path import evaluations, integrate, start_from, velocity
from bids_lfenhance.methods.cfm.settings import CfmSettings


class Says(nn.Module):
    """A network that answers the same everywhere."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, state: Tensor, condition: Tensor, time: Tensor) -> Tensor:
        return torch.full_like(state, self.value)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_sources() -> None:
    noise, low = torch.randn(1, 3, 4, 4, generator=seeded(2)), torch.ones(1, 3, 4, 4)
    live = torch.tensor([True, False, True])[None, :, None, None]
    torch.testing.assert_close(start_from(noise, low, live, CfmSettings()), noise * live)
    settings = CfmSettings(source="lf", spread=0.1)
    torch.testing.assert_close(start_from(noise, low, live, settings), (1 + 0.1 * noise) * live)


@pytest.mark.parametrize("source", ["noise", "lf"])
@pytest.mark.parametrize("time", [0.0, 0.3, 0.8, 1.0])
def test_the_anchored_velocity_is_the_regression_of_drawn_gaussians(source: Any, time: float) -> None:
    """Oracle: x_1 drawn about low field; least squares of x_1 − x_0 on x_t, and what it leaves."""
    settings = CfmSettings(source=source, spread=0.3, anchor=0.2)
    low = torch.full((400_000, 1, 1, 1), 0.7)
    noise, rest = (torch.randn(low.shape, generator=seeded(k)) for k in (1, 2))
    start = start_from(noise, low, torch.ones(1, 1, 1, 1), settings)
    target = low + settings.anchor * rest
    state, wanted = (1 - time) * start + time * target, target - start
    centred = state - state.mean()
    slope = (centred * wanted).mean() / centred.square().mean()
    expected = wanted.mean() + slope * centred
    found, unit = velocity(Says(0.0), state, low, low, torch.full((len(low),), time), settings)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)
    assert float(unit[0]) == pytest.approx(float((wanted - expected).std()), rel=0.01)
    moved, _ = velocity(Says(1.0), state, low, low, torch.full((len(low),), time), settings)
    torch.testing.assert_close(moved - found, unit)


@pytest.mark.parametrize("source", ["noise", "lf"])
def test_anchored_one_step_drops_the_source(source: Any) -> None:
    settings = CfmSettings(source=source, anchor=0.2)
    low = torch.rand(2, 3, 8, 8, generator=seeded(3))
    start = start_from(torch.randn(low.shape, generator=seeded(4)), low, torch.ones(2, 3, 1, 1), settings)
    found, _ = velocity(Says(0.5), start, low, low, torch.zeros(2), settings)
    torch.testing.assert_close(start + found, low + 0.2 * 0.5)


def test_without_an_anchor_the_network_is_the_velocity() -> None:
    low = torch.rand(2, 3, 8, 8)
    found, unit = velocity(Says(0.5), low, low, low, torch.rand(2), CfmSettings())
    assert (found == 0.5).all()
    assert (unit == 1).all()


class Gaussian(nn.Module):
    """What a perfect network answers where x_1 ~ N(low, spread²); the condition is the low field itself."""

    def __init__(self, spread: float, settings: CfmSettings) -> None:
        super().__init__()
        self.spread, self.settings, self.calls = spread, settings, 0

    def forward(self, shown: Tensor, condition: Tensor, time: Tensor) -> Tensor:
        self.calls += 1
        t, rest = float(time[0]), self.settings.anchor
        if not rest:
            return condition + slope(t, self.spread) * (shown - t * condition)
        deviation = ((1 - t) ** 2 + t**2 * rest**2) ** 0.5
        return (slope(t, self.spread) - slope(t, rest)) * deviation * shown * deviation / rest


def slope(t: float, spread: float) -> float:
    """Of the regression of x_1 − x_0 on x_t, for x_0 ~ N(0, 1) and x_1 of this SD."""
    return (t * spread**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * spread**2)


def share_of_variance(spread: float, settings: CfmSettings) -> float:
    """Variance of what ``integrate`` returns over the true one: exact, as it is affine in its start."""
    low, everywhere = torch.full((2, 1, 1, 1), 0.7), torch.ones(2, 1, 1, 1, dtype=torch.bool)
    start, net = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), Gaussian(spread, settings)
    ends = integrate(net, start, low, low, everywhere, settings).flatten()
    assert net.calls == evaluations(settings)
    return float((ends[1] - ends[0]).square()) / spread**2


@pytest.mark.parametrize("anchor", [0.0, 0.1])
def test_row_5_the_mean_is_the_conditional_mean(anchor: float) -> None:
    settings = CfmSettings(anchor=anchor)
    assert share_of_variance(0.05, settings) == pytest.approx(0, abs=1e-8)
    assert evaluations(settings) == 1


def test_row_5_variance_against_the_number_of_steps() -> None:
    """Oracle: methods.md §5, for the straight way; where the anchor is the spread, the turning way is exact."""
    heun = CfmSettings(mode="sample")
    assert share_of_variance(0.15**0.5, heun) == pytest.approx(0.98, abs=0.015)
    assert share_of_variance(0.05**0.5, heun) == pytest.approx(0.94, abs=0.015)
    assert share_of_variance(0.05, heun) == pytest.approx(0.39, abs=0.015), "too few steps for what brains leave open"
    turning = CfmSettings(mode="sample", anchor=0.1)
    assert share_of_variance(0.1, turning) == pytest.approx(1, abs=1e-4)
    for spread in (0.05, 0.2):
        assert share_of_variance(spread, turning) == pytest.approx(1, abs=0.03)
    few = CfmSettings(mode="sample", anchor=0.1, steps=8, solver="euler")
    assert share_of_variance(0.2, few) == pytest.approx(0.91, abs=0.02)


@pytest.mark.parametrize("changes", [{}, {"mode": "sample"}, {"mode": "sample", "anchor": 0.1}])
def test_outside_the_network_is_shown_the_straight_way_to_zero(changes: dict[str, Any]) -> None:
    settings = CfmSettings(**{"steps": 4, **changes})
    start, low = torch.full((1, 1, 2, 2), 2.0), torch.zeros(1, 1, 2, 2)
    inside = torch.tensor([[True, True], [False, False]])[None, None]
    seen: list[tuple[float, float]] = []

    class Listens(Says):
        def forward(self, state: Tensor, condition: Tensor, time: Tensor) -> Tensor:
            seen.append((float(time[0]), float(state[0, 0, 1, 0])))
            return super().forward(state, condition, time)

    integrate(Listens(3.0), start, low, low, inside, settings)
    for t, shown in seen:
        deviation = ((1 - t) ** 2 + t**2 * settings.anchor**2) ** 0.5 if settings.anchor else 1.0
        assert shown == pytest.approx((1 - t) * 2.0 / deviation, abs=1e-5)
