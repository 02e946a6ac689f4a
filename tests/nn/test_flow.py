"""Flow matching against the velocity of a linear Gaussian, which is known in closed form."""

import pytest
import torch
from torch import Tensor, nn

from bids_lfenhance.nn.flow import euler, flow_pair, heun, logit_normal_times, uniform_times

torch.set_num_threads(1)
SPREAD = torch.tensor([0.15, 0.05], dtype=torch.float64)
"""Variance of each coordinate of the target given the condition."""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def analytic(state: Tensor, time: float | Tensor, mean: Tensor) -> Tensor:
    """E[x_1 − x_0 | x_t] for x_0 ~ N(0, 1), x_1 ~ N(mean, SPREAD): the regression of jointly normal variables."""
    variance = (1 - time) ** 2 + time**2 * SPREAD
    return mean + (time * SPREAD - (1 - time)) / variance * (state - time * mean)


def ratio(solver, steps: int) -> list[float]:  # type: ignore[no-untyped-def]
    """Variance of what the solver returns over the true one: exact, as it is affine in its start."""
    mean = torch.tensor([0.3, -1.0], dtype=torch.float64)
    ends = [
        solver(lambda x, t: analytic(x, t, mean), torch.full((1, 2), start, dtype=torch.float64), uniform_times(steps))
        for start in (0.0, 1.0)
    ]
    return ((ends[1] - ends[0]).square() / SPREAD)[0].tolist()


def test_one_euler_step_is_the_conditional_mean() -> None:
    mean = torch.randn(50, 2, dtype=torch.float64, generator=seeded(1))
    start = torch.randn(50, 2, dtype=torch.float64, generator=seeded(2))
    found = euler(lambda x, t: analytic(x, t, mean), start, uniform_times(1))
    torch.testing.assert_close(found, mean, rtol=0, atol=1e-12)
    assert ratio(euler, 1) == pytest.approx([0, 0], abs=1e-20)


def test_steps_keep_so_much_of_the_variance() -> None:
    # Oracle: figures that were measured on samples, independently of this code.
    assert ratio(heun, 16) == pytest.approx([0.98, 0.94], abs=0.015)
    assert ratio(heun, 8) == pytest.approx([0.90, 0.76], abs=0.015)
    assert ratio(euler, 4) == pytest.approx([0.41, 0.26], abs=0.015)
    assert ratio(euler, 32) == pytest.approx([0.89, 0.87], abs=0.015)
    assert min(ratio(heun, 16)) >= 0.9


def test_heun_is_of_second_order() -> None:
    # Oracle: dx/dt = x, whose solution is e; the Euler step at the end adds an error that falls as fast.
    start = torch.ones(1, dtype=torch.float64)
    errors = [abs(float(heun(lambda x, _: x, start, uniform_times(n))) - torch.e) for n in (20, 40)]
    assert errors[0] / errors[1] > 3.5
    assert abs(float(euler(lambda x, _: x, start, uniform_times(40))) - torch.e) > 10 * errors[1]


def test_straight_ways_are_walked_exactly() -> None:
    source, target = (torch.randn(3, 1, 4, 4, dtype=torch.float64, generator=seeded(k)) for k in (1, 2))
    times = torch.tensor([0.0, 0.25, 1.0])
    state, velocity = flow_pair(source, target, times)
    torch.testing.assert_close(state[0], source[0])
    torch.testing.assert_close(state[1], 0.75 * source[1] + 0.25 * target[1])
    torch.testing.assert_close(state[2], target[2])
    for solver in (euler, heun):
        torch.testing.assert_close(solver(lambda *_: velocity, source, uniform_times(5)), target)


def test_times_are_even_and_end_at_the_target() -> None:
    assert uniform_times(4) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert uniform_times(2, 0.5) == [0.5, 0.75, 1.0]
    assert uniform_times(3, 0.0155)[-1] == 1.0


def test_a_way_may_be_walked_in_parts() -> None:
    start, grow = torch.ones(1, dtype=torch.float64), lambda x, t: x * t
    for solver in (euler, heun):
        halfway = solver(grow, start, [0.0, 0.3, 0.5])
        torch.testing.assert_close(solver(grow, halfway, [0.5, 1.0]), solver(grow, start, [0.0, 0.3, 0.5, 1.0]))


def test_times_of_a_training_are_the_logistic_of_a_normal() -> None:
    times = logit_normal_times(50_000, seeded(3))
    assert torch.equal(times, logit_normal_times(50_000, seeded(3)))
    normal = torch.logit(times.double())
    assert (float(normal.mean()), float(normal.std())) == pytest.approx((0, 1), abs=0.02)


@pytest.mark.parametrize(("solver", "calls"), [(euler, 6), (heun, 11)])
def test_the_network_is_not_asked_at_the_end(solver, calls: int) -> None:  # type: ignore[no-untyped-def]
    times: list[float] = []

    def velocity(x: Tensor, t: float) -> Tensor:
        times.append(t)
        return x

    solver(velocity, torch.zeros(1), uniform_times(6))
    assert len(times) == calls
    assert max(times) < 1


def trained(steps: int, batch: int) -> nn.Module:
    """A small network that learnt the velocity from pairs: source noise, target N(condition, SPREAD)."""
    generator = seeded(5)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        net = nn.Sequential(nn.Linear(6, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))
    adam = torch.optim.Adam(net.parameters(), 3e-3)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        condition = torch.randn(batch, 2, generator=generator)
        target = condition + SPREAD.float().sqrt() * torch.randn(batch, 2, generator=generator)
        source = torch.randn(batch, 2, generator=generator)
        time = torch.rand(batch, generator=generator)
        state, velocity = flow_pair(source, target, time)
        loss = (net(features(state, time, condition)) - velocity).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        fall.step()
    return net.requires_grad_(False)


def features(state: Tensor, time: Tensor, condition: Tensor) -> Tensor:
    return torch.cat([state, condition, time[:, None], time[:, None] ** 2], dim=1)


@pytest.mark.slow
def test_a_trained_network_says_the_analytic_velocity() -> None:
    net = trained(8000, 2048)
    check_trained(net, error=0.05)


def test_a_trained_network_says_nearly_the_analytic_velocity() -> None:
    check_trained(trained(2000, 512), error=0.25)


def check_trained(net: nn.Module, error: float) -> None:
    condition = torch.randn(40_000, 2, generator=seeded(6))
    source, noise = (torch.randn(40_000, 2, generator=seeded(k)) for k in (7, 8))
    target = condition + SPREAD.float().sqrt() * noise
    for share in (0.1, 0.5, 0.9):
        time = torch.full((40_000,), share)
        state, _ = flow_pair(source, target, time)
        expected = analytic(state, share, condition).float()
        found = net(features(state, time, condition))
        assert float((found - expected).norm() / expected.norm()) < error, share

    def velocity(x: Tensor, t: float) -> Tensor:
        return net(features(x, torch.full((len(x),), t), condition))

    one = euler(velocity, source, uniform_times(1)) - condition
    assert one.var(dim=0).max() < 0.03
    if error < 0.1:
        many = heun(velocity, source, uniform_times(16)) - condition
        assert (many.var(dim=0) / SPREAD).min() >= 0.9
