"""Conditional flow matching: a straight way from a source to the target, and its integration.

The convention: time runs from 0, the source x_0, to 1, the target x_1; x_t = (1−t) x_0 + t x_1, and the network learns
the velocity x_1 − x_0 (Lipman et al. 2023; Tong et al. 2024, independent coupling, σ = 0).
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Source = Literal["noise", "lf"]
Velocity = Callable[[Tensor, float], Tensor]
Callback = Callable[[int, int], None]


def draw_source(low: Tensor, source: Source, spread: float, generator: torch.Generator) -> Tensor:
    """x_0 (B, …): N(0, 1) in the shape of the low-field images, or these with noise of SD ``spread`` on top.

    The draw is made for the whole tensor on the generator's own device. ``spread`` has no effect on "noise".
    """
    drawn = torch.randn(low.shape, generator=generator, device=generator.device, dtype=low.dtype).to(low.device)
    return drawn if source == "noise" else low + spread * drawn


def flow_pair(source: Tensor, target: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """(x_t, x_1 − x_0), each (B, …): what the network is shown at ``time`` (B,) in [0, 1], and what it must say."""
    share = time.to(source).reshape(-1, *[1] * (source.ndim - 1))
    return (1 - share) * source + share * target, target - source


def euler(velocity: Velocity, start: Tensor, steps: int, callback: Callback | None = None) -> Tensor:
    """x_1 (B, …) after ``steps`` even steps of Euler from ``start``, the source.

    One step is the conditional mean, whatever the source's noise: at t = 0 the best velocity is E[x_1] − x_0, so
    ``mode=mean`` is ``steps=1``. More steps sample, with too little spread when few.
    ``velocity(x, t)``; ``callback(step, steps)`` after each step; what it raises ends the integration.
    """
    state, width = start, 1 / steps
    for step in range(steps):
        state = state + width * velocity(state, step / steps)
        _tell(callback, step, steps)
    return state


def heun(velocity: Velocity, start: Tensor, steps: int, callback: Callback | None = None) -> Tensor:
    """x_1 (B, …) after ``steps`` even steps of Heun, the last of them Euler's: 2·``steps`` − 1 network calls.

    At t = 1 nothing tells the network the velocity from where it stands, so it is not asked there.
    Arguments as of ``euler``.
    """
    state, width = start, 1 / steps
    for step in range(steps):
        slope = velocity(state, step / steps)
        if step < steps - 1:
            slope = (slope + velocity(state + width * slope, (step + 1) / steps)) / 2
        state = state + width * slope
        _tell(callback, step, steps)
    return state


def _tell(callback: Callback | None, step: int, steps: int) -> None:
    if callback is not None:
        callback(step + 1, steps)
