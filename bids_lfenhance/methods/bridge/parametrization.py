"""What training and use of ``bridge`` share: intensities in [−1, 1], noise-level embedding, the bridge.

A contrast that is absent, like everything outside the brain, is ``BACKGROUND`` before noise is added. The noise is
everywhere; so a network finds the same law there in use as it did in training.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...nn.schedule import Schedule, cosine_schedule

SCHEDULE = cosine_schedule()

BACKGROUND = -1.0

CLIP = 1.05
"""The largest intensity: the brightest thousandth of the brain lies above 1."""


def to_signed_range(image: Tensor, known: Tensor) -> Tensor:
    """(B, C, X, Y, Z) in [−1.05, 1.05] of scaled images, mostly in [0, 1]; the background where not ``known``."""
    return torch.where(known, 2 * image - 1, BACKGROUND).clamp(-CLIP, CLIP)


def from_signed_range(image: Tensor) -> Tensor:
    """(B, C, X, Y, Z): the inverse of ``to_signed_range``, for what was known."""
    return (image + 1) / 2


def maps_of(present: Tensor, like: Tensor) -> Tensor:
    """(B, C, X, Y, Z) of 0 and 1: which contrasts are there, (B, C) bool, as images."""
    return present[:, :, None, None, None].to(like.dtype).expand(-1, -1, *like.shape[2:])


def noise_embedding(level: Tensor) -> Tensor:
    """(B,) float32, ln(σ/√ᾱ)/4 of levels (B,) int64: the noise-level embedding."""
    return (SCHEDULE.ratio(level).log() / 4).float()


def velocity(prior: nn.Module, images: Tensor, level: Tensor, predicts: str) -> Tensor:
    """The prior's v, (B, C, X, Y, Z) float32, of the state, what is shown of the bridge's image and of what contrasts.

    ``images`` (B, 3C, X, Y, Z) are these three together, ``level`` (B,). A prior that ``predicts`` a "correction" says
    what x̂_0 is more than the image it is shown, or than mid-grey where it is shown none.
    """
    found: Tensor = prior(images, noise_embedding(level)).float()
    if predicts == "velocity":
        return found
    state, shown, there = images.chunk(3, dim=1)
    return SCHEDULE.velocity_from_clean(state, shown * there + found, level)


def bridge_denoise(
    bridge: Callable[[Tensor], Tensor],
    low: Tensor,
    noise: Tensor,
    level: int | Tensor,
    schedule: Schedule = SCHEDULE,
    literal: bool = False,
) -> Tensor:
    """x̂_0, (B, C, X, Y, Z): the noisy low field over the bridge, x_K + φ(x_K), and the same noise taken off again.

    With the φ that is √ᾱ (x^HF − x^LF) it is the high field exactly. ``literal`` takes the noise off by Eq. 11 of the
    paper as printed, which leaves some, and shrinks the image.
    """
    state = schedule.add_noise(low, noise, level)
    state = state + bridge(state)
    if literal:
        return schedule.remove_noise_literal(state, noise, level)
    return schedule.remove_noise(state, noise, level)


def clamp_inside(clean: Tensor, inside: Tensor) -> Tensor:
    """An x̂_0 in its range, and background outside."""
    return torch.where(inside, clean.clamp(-CLIP, CLIP), BACKGROUND)
