"""Conditional flow matching: a straight path from noise to the target, and its integration.

The convention: time runs from 0, the noise x_0, to 1, the target x_1; x_t = (1−t) x_0 + t x_1, and the network learns
the velocity x_1 − x_0 (Lipman et al. 2023; Tong et al. 2024, independent coupling, σ = 0).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]


def flow_pair(source: Tensor, target: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """(x_t, x_1 − x_0), each (B, …): what the network is shown at ``time`` (B,) in [0, 1], and what it should give."""
    share = time.to(source).reshape(-1, *[1] * (source.ndim - 1))
    return (1 - share) * source + share * target, target - source


def logit_normal_times(count: int, generator: torch.Generator) -> Tensor:
    """(count,) times in (0, 1), the logistic of a standard normal (Esser et al. 2024): most of them in the middle."""
    return torch.sigmoid(torch.randn(count, generator=generator, device=generator.device))


def uniform_times(steps: int, first: float = 0.0) -> list[float]:
    """``steps`` + 1 times from ``first`` to exactly 1, evenly."""
    return [first + (1 - first) * step / steps for step in range(steps)] + [1.0]


def euler(velocity: Velocity, start: Tensor, times: Sequence[float]) -> Tensor:
    """The state (B, …) at the last of ``times``, by Euler from ``start``, the state at the first: one call per step.

    One step from 0 to 1 gives the conditional mean, whatever the noise: at t = 0 the best velocity is E[x_1] − x_0.
    More steps sample; a few of them with too little spread.
    """
    state = start
    for time, later in pairwise(times):
        state = state + (later - time) * velocity(state, time)
    return state


def heun(velocity: Velocity, start: Tensor, times: Sequence[float]) -> Tensor:
    """The state (B, …) at the last of ``times``, by Heun; the step to time 1 is Euler's: 2·steps − 1 calls in all.

    At t = 1 the state no longer tells the velocity, so the network is not called there. Arguments as of ``euler``.
    """
    state = start
    for time, later in pairwise(times):
        slope = velocity(state, time)
        if later < 1:
            slope = (slope + velocity(state + (later - time) * slope, later)) / 2
        state = state + (later - time) * slope
    return state


def randn_like(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers of the shape, dtype and device of ``like``, drawn where the generator is.

    So that a generator of the CPU gives the same noise on every device.
    """
    drawn = torch.randn(like.shape, generator=generator, device=generator.device, dtype=like.dtype)
    return drawn.to(like.device)
