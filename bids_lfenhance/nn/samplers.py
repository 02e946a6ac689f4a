"""From noise to an image along the levels of a schedule: pure functions of a network, a start and a random generator.

All share their arguments. ``predict(u, level) → v`` is the network, with its condition inside.
``start`` (B, …) is the state at ``levels[0]``; ``levels`` fall strictly, and each step goes from one to the next: there
is no other grid. What is returned is the state at the last level, for a grid of ``schedule.py`` the image. The only
randomness is ``generator``'s, drawn for the whole field on the generator's own device, so that a CPU generator gives
the same noise on every device. ``callback(step, steps)`` is called after each step; what it raises ends the sampling,
which is how a run is cancelled. Gradients are tracked unless the caller says ``torch.no_grad()``.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from .schedule import Schedule

Predict = Callable[[Tensor, int], Tensor]
Callback = Callable[[int, int], None]


def ddpm(
    predict: Predict,
    start: Tensor,
    schedule: Schedule,
    levels: Sequence[int],
    generator: torch.Generator,
    callback: Callback | None = None,
) -> Tensor:
    """Ancestral sampling (Ho et al. 2020, Algorithm 2), (B, …): the posterior given x̂_0, on any grid."""
    state = start
    for level, lower in _steps(levels, callback):
        state = _ancestor(predict, state, schedule, level, lower, generator)
    return state


def ddim(
    predict: Predict, start: Tensor, schedule: Schedule, levels: Sequence[int], callback: Callback | None = None
) -> Tensor:
    """DDIM with η = 0 (Song et al. 2021, Eq. 12), (B, …): x̂_0 and ε̂ are put together again one level lower."""
    state = start
    for level, lower in _steps(levels, callback):
        velocity = predict(state, level)
        clean, noise = schedule.clean(state, velocity, level), schedule.noise(state, velocity, level)
        state = schedule.add_noise(clean, noise, lower)
    return state


def algorithm1(
    predict: Predict,
    image: Tensor,
    schedule: Schedule,
    levels: Sequence[int],
    repeats: int,
    generator: torch.Generator,
    literal: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """The loop of the bridged diffusion's Algorithm 1, (B, …), from a clean ``image``, not from a state.

    At each level but the last of ``levels`` one noise is drawn, then added and removed ``repeats`` (J) times.
    ``literal`` removes it by Eq. 11 as printed, which shrinks the image to nothing; otherwise by Tweedie's x̂_0, which
    forgets the image it was given as Π a_i^J. Both are here to be compared, not recommended.
    """
    for level, _ in _steps(levels, callback):
        drawn = randn_like(image, generator)
        for _ in range(repeats):
            state = schedule.add_noise(image, drawn, level)
            found = schedule.noise(state, predict(state, level), level)
            remove = schedule.remove_noise_literal if literal else schedule.remove_noise
            image = remove(state, found, level)
    return image


def repaint(
    predict: Predict,
    start: Tensor,
    schedule: Schedule,
    levels: Sequence[int],
    repeats: int,
    generator: torch.Generator,
    callback: Callback | None = None,
) -> Tensor:
    """Ancestral steps, each taken ``repeats`` times, (B, …) (Lugmayr et al. 2022, Algorithm 1, without a known part).

    Between two tries the schedule's own forward step brings the state back up, so its law stays that of the level.
    """
    state = start
    for level, lower in _steps(levels, callback):
        below = _ancestor(predict, state, schedule, level, lower, generator)
        for _ in range(repeats - 1):
            state = schedule.add_noise(below, randn_like(below, generator), level, lower)
            below = _ancestor(predict, state, schedule, level, lower, generator)
        state = below
    return state


def _steps(levels: Sequence[int], callback: Callback | None) -> Iterator[tuple[int, int]]:
    """(Level, next level) of each step; ``callback`` hears of a step when the next one is asked for."""
    pairs = list(pairwise(levels))
    if any(lower >= level for level, lower in pairs):
        raise ValueError(f"levels fall strictly, found {list(levels)}")
    for number, pair in enumerate(pairs, start=1):
        yield pair
        if callback is not None:
            callback(number, len(pairs))


def _ancestor(
    predict: Predict, state: Tensor, schedule: Schedule, level: int, lower: int, generator: torch.Generator
) -> Tensor:
    clean = schedule.clean(state, predict(state, level), level)
    mean, spread = schedule.posterior(state, clean, level, lower)
    return mean + spread * randn_like(mean, generator) if lower else mean


def randn_like(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers of the shape, kind and device of ``like``, drawn where the generator is."""
    drawn = torch.randn(like.shape, generator=generator, device=generator.device, dtype=like.dtype)
    return drawn.to(like.device)
