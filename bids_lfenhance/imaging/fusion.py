"""All stacks of one contrast become one image on the canonical grid."""

from collections.abc import Sequence

import numpy as np

from .grid import Grid, coverage, resample
from .volume import Stack


def fuse_mean(stacks: Sequence[Stack], grid: Grid) -> np.ndarray:
    """The plain mean of the stacks, (X, Y, Z) float32: the low-field baseline of every table.

    Each stack is interpolated once (cubic) and counts only where its field of view reaches; zero where none does.
    """
    total = np.zeros(grid.shape, dtype=np.float32)
    count = np.zeros(grid.shape, dtype=np.float32)
    for stack in stacks:
        total += resample(stack.data, stack.affine, grid, order=3)
        count += coverage(stack.data.shape, stack.affine, grid)
    return np.divide(total, count, out=total, where=count > 0)
