"""The chain of ``cssdiff``: T_c steps of one denoiser from noise to high field (methods.md §1.2 and §1.8b)."""

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


def clean_at(net: nn.Module, state: Tensor, seen: Tensor, tokens: Tensor | None, level: int) -> Tensor:
    """x̂_0 (N, C, U, V) at a level."""
    found: Tensor = net(state, seen, tokens, torch.full((len(state),), level, device=state.device))
    return found


def walk(
    net: nn.Module,
    seen: Tensor,
    tokens: Tensor | None,
    noises: Tensor,
    levels: list[int],
    lean: bool = True,
    path: bool = False,
) -> tuple[Tensor, Tensor]:
    """(The image (N, C, U, V) at the end of the chain (Eq. 7), the path loss (N, C, U, V), zero unless ``path``).

    ``noises`` (T_c, N, C, U, V): the state at the first level, then what each posterior step adds; they are drawn
    before, so that ``lean``, which computes features twice instead of keeping them, changes nothing. The path loss
    (Eq. 16) holds every state against two DDIM steps of the same network, taken as they are, weighted by
    min(SNR, 5)/5.
    """
    state, plan = noises[0], schedule()
    cost = torch.zeros_like(state)
    for number, (level, lower) in enumerate(pairwise(levels), start=1):
        before = state
        call = (net, state, seen, tokens, level)
        clean = checkpoint(clean_at, *call, use_reentrant=False) if lean else clean_at(*call)
        state = clean
        if lower:
            mean, spread = plan.posterior(before, clean, level, lower)
            state = mean + spread * noises[number]
            if path:
                share = plan.shares[lower]
                weight = float((share / (1 - share)).clamp(max=5) / 5)
                cost = cost + weight * (state - _teach(net, before, seen, tokens, level, lower)).square()
    return state, cost


@torch.no_grad()
def _teach(net: nn.Module, state: Tensor, seen: Tensor, tokens: Tensor | None, level: int, lower: int) -> Tensor:
    """The state at ``lower`` after two DDIM steps."""
    plan, middle = schedule(), (level + lower) // 2
    for high, low in ((level, middle), (middle, lower)):
        clean = clean_at(net, state, seen, tokens, high)
        noise = plan.noise(state, plan.velocity_from_clean(state, clean, high), high)
        state = plan.add_noise(clean, noise, low)
    return state
