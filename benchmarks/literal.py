"""Published ways to sample a bridged diffusion, to be compared: on the flow of the residual, read as a prior.

Levels are whole numbers from 0, the clean image, to 1000, noise alone; u = a x_0 + s ε and v = a ε − s x_0 with
a = √ᾱ, s = √(1−ᾱ) at a level. ``predict(u, level) → v``; ``levels`` fall, and each step goes from one to the next.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from bids_lfenhance.nn.flow import Velocity, randn_like
from bids_lfenhance.nn.residual import cosine_shares

Predict = Callable[[Tensor, int], Tensor]

SHARES = cosine_shares()


def roots(level: int) -> tuple[float, float]:
    """(a, s)."""
    share = float(SHARES[level])
    return share**0.5, (1 - share) ** 0.5


def as_prior(velocity: Velocity) -> Predict:
    """The v of a diffusion, exactly what the flow says of it: ((a−s) u − v̂)/(a+s)."""

    def predict(state: Tensor, level: int) -> Tensor:
        a, s = roots(level)
        return ((a - s) * state - velocity(state / (a + s), a / (a + s))) / (a + s)

    return predict


def uniform_levels(start: int, steps: int) -> list[int]:
    """``steps`` + 1 levels from ``start`` down to 0, as even as whole numbers allow."""
    return [round(start * (steps - i) / steps) for i in range(steps + 1)]


def ddim(predict: Predict, state: Tensor, levels: Sequence[int]) -> Tensor:
    """DDIM with η = 0 (Song et al. 2021, Eq. 12), (B, …): x̂_0 and ε̂ are put together again one level lower."""
    for level, lower in pairwise(levels):
        (a, s), (below, noise) = roots(level), roots(lower)
        v = predict(state, level)
        state = below * (a * state - s * v) + noise * (s * state + a * v)
    return state


def algorithm1(
    predict: Predict, image: Tensor, levels: Sequence[int], repeats: int, generator: torch.Generator, literal: bool
) -> Tensor:
    """The loop of Algorithm 1, (B, …), from a clean ``image``: one noise a level, added and removed ``repeats`` times.

    ``literal`` removes it by Eq. 11 as printed, the mean one level lower, which shrinks the image to nothing;
    otherwise by Tweedie's x̂_0, which forgets it as Π (posterior gain)^repeats.
    """
    for level in levels[:-1]:
        a, s = roots(level)
        alpha = float(SHARES[level] / SHARES[level - 1])
        drawn = randn_like(image, generator)
        for _ in range(repeats):
            state = a * image + s * drawn
            noise = s * state + a * predict(state, level)
            image = (state - (1 - alpha) / s * noise) / alpha**0.5 if literal else (state - s * noise) / a
    return image


def repaint(predict: Predict, state: Tensor, levels: Sequence[int], repeats: int, generator: torch.Generator) -> Tensor:
    """Ancestral steps, each taken ``repeats`` times (Lugmayr et al. 2022, Algorithm 1, without a known part), (B, …).

    Between two tries the forward step brings the state back up, so its law stays that of the level.
    """
    for level, lower in pairwise(levels):
        (a, s), (below, noise) = roots(level), roots(lower)
        step = (a / below) ** 2
        for number in range(repeats):
            if number:
                state = step**0.5 * state + (1 - step) ** 0.5 * randn_like(state, generator)
            clean = a * state - s * predict(state, level)
            mean = below * (1 - step) / s**2 * clean + step**0.5 * noise**2 / s**2 * state
            state = mean + noise / s * (1 - step) ** 0.5 * randn_like(mean, generator) if lower else mean
    return state
