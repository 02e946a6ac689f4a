"""Detects an image that is the mirror image of another of the same head: left and right of one of them are wrong."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .registration import LEVELS, Alignment, RegistrationImage, align, compare, fit_quality

BETTER = 0.5
"""An image counts as mirrored if its mirror image leaves less than this share of the variance that it leaves
unexplained itself (measured: mirrored stacks .1, correct ones 11 and more; a symmetric head has 1)."""

LEAST = 0.5
"""Share of the variance that the mirrored image must explain."""


def align_and_mirror(
    moving: RegistrationImage,
    fixed: RegistrationImage,
    other_session: bool = False,
    levels: Sequence[tuple[float, int]] = LEVELS,
) -> Alignment:
    """``registration.align`` of two images of one contrast, and whether ``moving`` is the mirror image of ``fixed``."""
    alignment = align(moving, fixed, other_session=other_session, levels=levels)
    as_it_is, mirrored = unexplained(moving, fixed, alignment, LEVELS[:1])
    if mirrored < as_it_is:  # else a finer and slower comparison would not find it mirrored either
        as_it_is, mirrored = unexplained(moving, fixed, alignment, LEVELS[:2])
    return replace(alignment, mirrored=mirrored < min(BETTER * as_it_is, 1 - LEAST))


def unexplained(
    moving: RegistrationImage,
    fixed: RegistrationImage,
    alignment: Alignment,
    levels: Sequence[tuple[float, int]],
) -> tuple[float, float]:
    """Shares of the variance of ``moving`` that ``fixed`` leaves unexplained: as it is aligned, and mirrored.

    Both are compared at the last of ``levels``. A head is nearly symmetric, so a mirrored header costs little
    similarity; but mirrored back, the image leaves far less unexplained.
    """
    axis = int(np.argmax(np.abs(moving.affine[0, :3])))
    mirror = replace(moving, data=np.flip(moving.data, axis), head=np.flip(moving.head, axis))
    poses = (moving, alignment.pose), (mirror, align(mirror, fixed, levels=levels).pose)
    as_it_is, mirrored = (1 - fit_quality(compare(one, fixed, pose, *levels[-1]), pose)[1] for one, pose in poses)
    return as_it_is, mirrored
