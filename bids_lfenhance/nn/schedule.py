"""How much noise there is at each level of a diffusion, and what follows from it.

The convention, here and nowhere else. Levels are whole numbers from 0, the clean image, to 1000, noise alone.
ᾱ_t = ``shares[t]`` is the share of signal in the power of the state at level t, so ᾱ_0 = 1, and

    u_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε,   v_t = √ᾱ_t ε − √(1−ᾱ_t) x_0,   ε ~ N(0, 1).

K = 400 of a paper is ``shares[400]``; in a library that counts from 0 the same level is 399. A level may be a number
or an integer tensor (B,), one for each item of the batch.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError

TOP = 1000
"""The highest level."""

HIGHEST_START = 990
"""Where a sampler starts at most: above, an error of the network is divided by a √ᾱ near zero."""

Level = int | Tensor


@dataclass(frozen=True, eq=False)
class Schedule:
    """Noise against level, and the arithmetic of one state. ``shares`` (1001,) float64 on the CPU: ᾱ_t, falling from 1.

    States, images and noises have one shape (B, …) and one floating dtype; coefficients are computed in float64.
    """

    shares: Tensor

    def add_noise(self, state: Tensor, noise: Tensor, level: Level, lower: Level = 0) -> Tensor:
        """The state at ``level``, (B, …), from the one at ``lower`` (0: the clean image), by q(u_level | u_lower)."""
        share = self._share(level) / self._share(lower)
        return _fit(share.sqrt(), state) * state + _fit((1 - share).sqrt(), state) * noise

    def remove_noise(self, state: Tensor, noise: Tensor, level: Level) -> Tensor:
        """Tweedie's x̂_0, (B, …): (u − √(1−ᾱ) ε)/√ᾱ, the inverse of ``add_noise``."""
        signal, spread = self._roots(level, state)
        return (state - spread * noise) / signal

    def remove_noise_literal(self, state: Tensor, noise: Tensor, level: Level) -> Tensor:
        """Eq. 11 of the bridged diffusion as printed, (B, …): (u − β/√(1−ᾱ) ε)/√α, the mean one level lower.

        Still noisy, and smaller by √ᾱ_{t−1}: kept to show that it cannot be what the authors ran.
        """
        share = self._share(level)
        alpha = share / self._share(level - 1)
        return (state - _fit((1 - alpha) / (1 - share).sqrt(), state) * noise) / _fit(alpha.sqrt(), state)

    def velocity(self, clean: Tensor, noise: Tensor, level: Level) -> Tensor:
        """The v, (B, …), √ᾱ ε − √(1−ᾱ) x_0: what the networks learn."""
        signal, spread = self._roots(level, clean)
        return signal * noise - spread * clean

    def velocity_from_clean(self, state: Tensor, clean: Tensor, level: Level) -> Tensor:
        """The v, (B, …), that says x̂_0 = ``clean``; ``level`` above 0."""
        signal, spread = self._roots(level, state)
        return (signal * state - clean) / spread

    def clean(self, state: Tensor, velocity: Tensor, level: Level) -> Tensor:
        """x̂_0 = √ᾱ u − √(1−ᾱ) v, (B, …)."""
        signal, spread = self._roots(level, state)
        return signal * state - spread * velocity

    def noise(self, state: Tensor, velocity: Tensor, level: Level) -> Tensor:
        """ε̂ = √(1−ᾱ) u + √ᾱ v, (B, …)."""
        signal, spread = self._roots(level, state)
        return spread * state + signal * velocity

    def posterior(self, state: Tensor, clean: Tensor, level: Level, lower: Level) -> tuple[Tensor, Tensor]:
        """Mean (B, …) and SD (one number, or one an item) of q(u_lower | u_level, x_0) (Ho et al. 2020, Eq. 7)."""
        high, low = self._share(level), self._share(lower)
        step = high / low
        of_clean = low.sqrt() * (1 - step) / (1 - high)
        of_state = step.sqrt() * (1 - low) / (1 - high)
        spread = ((1 - low) / (1 - high) * (1 - step)).sqrt()
        return _fit(of_clean, state) * clean + _fit(of_state, state) * state, _fit(spread, state)

    def ratio(self, level: Level) -> Tensor:
        """σ/√ᾱ = √(1−ᾱ)/√ᾱ, float64 of the shape of ``level``: the noise beside an image of full size."""
        share = self._share(level)
        return ((1 - share) / share).sqrt()

    def _share(self, level: Level) -> Tensor:
        return self.shares[level] if isinstance(level, int) else self.shares.to(level.device)[level]

    def _roots(self, level: Level, like: Tensor) -> tuple[Tensor, Tensor]:
        share = self._share(level)
        return _fit(share.sqrt(), like), _fit((1 - share).sqrt(), like)


def _fit(coefficient: Tensor, like: Tensor) -> Tensor:
    """A coefficient for each item, in the dtype of the state; a single number needs no fitting."""
    if coefficient.ndim == 0:
        return coefficient
    return coefficient.to(like).reshape(-1, *[1] * (like.ndim - 1))


def cosine_schedule(offset: float = 0.008, steepest: float = 0.999) -> Schedule:
    """ᾱ_t ∝ cos²(π/2·(t/1000+s)/(1+s)) with β ≤ ``steepest`` (Nichol & Dhariwal 2021, Eq. 17)."""
    angle = (torch.arange(TOP + 1, dtype=torch.float64) / TOP + offset) / (1 + offset) * (math.pi / 2)
    share = torch.cos(angle) ** 2
    return _from_betas((1 - share[1:] / share[:-1]).clamp(max=steepest))


def _from_betas(betas: Tensor) -> Schedule:
    return Schedule(torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas, dim=0)]))


def uniform_levels(start: int, steps: int) -> list[int]:
    """``steps`` + 1 levels from ``start`` down to exactly 0, as even as whole numbers allow.

    A sampler goes from each to the next, so the levels it asks the network for and the noise it removes agree.
    Raises InputError for a start outside 1..990 or more steps than levels.
    """
    _check(start, steps)
    return [round(start * (steps - i) / steps) for i in range(steps + 1)]


def _check(start: int, steps: int) -> None:
    if not 1 <= start <= HIGHEST_START:
        raise InputError(f"Expected a start at a level from 1 to {HIGHEST_START}, found {start}; choose one of these.")
    if not 1 <= steps <= start:
        raise InputError(f"Expected 1 to {start} steps from level {start}, found {steps}; choose fewer.")
