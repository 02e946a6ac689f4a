"""Where a label map lies in the template, as the pipeline would find it for images of several qualities."""

import numpy as np

from ..imaging.anatomy import fit_warp
from ..imaging.grid import Grid
from ..imaging.template import load_head_template
from ..imaging.warp import Warp
from ..simulators.source import COMMON_MM
from .paint import Look, paint_patch

SHARP = Look("T1w", (), True, deformed=False, warp=0)
FUSED = Look("T2w", (0, 1, 2), False, deformed=False, warp=0)
AXIAL = Look("T1w", (2,), True, deformed=False, warp=0)

WARPED = (SHARP, FUSED, AXIAL)
"""A head is warped as each of these images of it asks, since training must see how much the warps differ."""

CELL = np.array([[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]])
"""(4, 4) cell of two by two by two voxels → voxel."""


def warps_of_labels(kinds: np.ndarray, grid: Grid, template_to_subject: np.ndarray) -> np.ndarray:
    """(W, 3, X/2, Y/2, Z/2) float16 common space of each cell, by the warp of each of ``WARPED`` (15 CPU-s each).

    ``kinds`` (X, Y, Z) uint8 on ``grid``, 1 mm, RAS+; ``template_to_subject`` (4, 4) mm, the affine registration.
    """
    template, found = load_head_template(), []
    straight = places(Warp(template_to_subject, np.zeros((3, 2, 2, 2), np.float32), Grid(grid.affine, (2, 2, 2))), grid)
    for number, look in enumerate(WARPED):
        painted = paint_patch(kinds, straight[None], kinds.shape, np.random.default_rng(number), look)
        warp = fit_warp(painted["input"][0], grid, template, template_to_subject, sloppy=False)
        found.append(places(warp, grid).astype(np.float16))
    return np.stack(found)


def places(warp: Warp, grid: Grid) -> np.ndarray:
    """(3, X/2, Y/2, Z/2) float32: where the cells of a grid of 1 mm lie in common space."""
    cells = Grid(grid.affine @ CELL, (grid.shape[0] // 2, grid.shape[1] // 2, grid.shape[2] // 2))
    return warp.template_index(np.diag([COMMON_MM] * 3 + [1.0]), cells)
