"""The chain of ``cssdiff``: T_c steps of one denoiser from noise to high field."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...nn.schedule import HIGHEST_START, Schedule, cosine_schedule


@cache
def schedule() -> Schedule:
    """Noise against level, for the training and the chain."""
    return cosine_schedule()


def chain_levels(steps: int) -> list[int]:
    """``steps`` + 1 levels from 990 to 0, finer towards the image; 4 steps: 990, 643, 350, 124, 0."""
    return [round(HIGHEST_START * (1 - number / steps) ** 1.5) for number in range(steps + 1)]


BACKGROUND = -1.0
"""What high and low field are outside the brain."""


@dataclass(frozen=True)
class Condition:
    """What the denoiser is shown of slices: ``seen`` (N, K, U, V), low field first; ``tokens`` of which slices they
    are; ``inside`` (N, 1, U, V) where there is brain: what lies outside is known, and is not to be found.
    """

    seen: Tensor
    tokens: Tensor | None
    inside: Tensor


def clean_at(net: nn.Module, state: Tensor, given: Condition, level: int, latent: Tensor | None = None) -> Tensor:
    """x̂_0 (N, C, U, V) at a level; ``latent`` is the noise that a step of the literal chain is given."""
    levels = torch.full((len(state),), level, device=state.device)
    found: Tensor = net(state, given.seen, given.tokens, levels, latent)
    return torch.where(given.inside, found, BACKGROUND)


def walk(
    net: nn.Module,
    given: Condition,
    noises: Tensor,
    levels: list[int],
    lean: bool = True,
    literal: bool = False,
    teacher: nn.Module | None = None,
) -> tuple[Tensor, Tensor]:
    """(The image (N, C, U, V) at the end of the chain (Eq. 7), the path loss (N, C, U, V), zero without ``teacher``).

    ``noises`` (T_c, N, C, U, V): the state at the first level, then what each posterior step adds; they are drawn
    before, so that ``lean``, which computes features twice instead of keeping them, changes nothing. ``literal``
    (Eq. 7 with one clock): the chain starts from low field, a step adds a T_c-th of the change that
    the network wants given the step's noise, x_{k+1} = x_k + r_θ(x_k, x_0, k/T_c, z_k)/T_c, and s = T_c − k.
    The path loss (Eq. 16) holds every state against two DDIM steps of the ``teacher``, taken as they are, weighted by
    min(SNR, 5)/5.
    """
    low, plan = given.seen[:, : noises.shape[2]], schedule()
    state = low if literal else noises[0]
    cost = torch.zeros_like(state)
    for number, (level, lower) in enumerate(pairwise(levels)):
        before = state
        call = (net, state, given, level, noises[number] if literal else None)
        clean = checkpoint(clean_at, *call, use_reentrant=False) if lean else clean_at(*call)
        if literal:
            state = before + (clean - low) / (len(levels) - 1)
        elif lower:
            mean, spread = plan.posterior(before, clean, level, lower)
            state = mean + spread * noises[number + 1]
        else:
            state = clean
        if teacher is not None and lower:
            share = plan.shares[lower]
            weight = float((share / (1 - share)).clamp(max=5) / 5)
            cost = cost + weight * (state - _teach(teacher, before, given, level, lower)).square()
    return state, cost


@torch.no_grad()
def _teach(net: nn.Module, state: Tensor, given: Condition, level: int, lower: int) -> Tensor:
    """The state at ``lower`` after two DDIM steps."""
    plan, middle = schedule(), (level + lower) // 2
    for high, low in ((level, middle), (middle, lower)):
        clean = clean_at(net, state, given, high)
        noise = plan.noise(state, plan.velocity_from_clean(state, clean, high), high)
        state = plan.add_noise(clean, noise, low)
    return state
