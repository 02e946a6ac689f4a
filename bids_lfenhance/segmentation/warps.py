"""Where a label map lies in the template, as the pipeline would find it for images of several qualities."""

import numpy as np

from ..imaging.anatomy import fit_warp
from ..imaging.grid import Grid
from ..imaging.template import FULL, ROUGH, load_head_template
from ..imaging.warp import Warp
from ..simulators.source import COMMON_MM
from .synthesis import Appearance, paint_patch

SHARP = Appearance("T1w", (), True, deformed=False, warp=0)
FUSED = Appearance("T2w", (0, 1, 2), False, deformed=False, warp=0)
AXIAL = Appearance("T1w", (2,), True, deformed=False, warp=0)

WARPED = (SHARP, FUSED, AXIAL)
"""Images of a label map to each of which its warp is fitted, since training must see how much warps differ."""

ELASTIC = 1.6
"""Smoothness of the warp, SD in voxels of its grids. With that of the brain mask (0.7) it follows noise and thick
slices, and finds deep structures worse than the affine registration alone (docs/notebook.md)."""

CELL = np.array([[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]])
"""(4, 4) cell of two by two by two voxels → voxel."""


def warp_to_template(image: np.ndarray, grid: Grid, template_to_subject: np.ndarray, *, sloppy: bool = False) -> Warp:
    """The warp of an image (X, Y, Z) ≥ 0 to the template, starting from an affine (4, 4) RAS+ mm; 4 to 10 CPU-s."""
    return fit_warp(
        image, grid, load_head_template(), template_to_subject, effort=ROUGH if sloppy else FULL, elastic=ELASTIC
    )


def warps_of_labels(kinds: np.ndarray, grid: Grid, template_to_subject: np.ndarray) -> np.ndarray:
    """(W, 3, X/2, Y/2, Z/2) float16 common space of each cell, by the warp of each of ``WARPED`` (7 CPU-s each).

    ``kinds`` (X, Y, Z) uint8 on ``grid``, 1 mm, RAS+; ``template_to_subject`` (4, 4) mm, the affine registration.
    """
    found = []
    straight = places(Warp(template_to_subject, np.zeros((3, 2, 2, 2), np.float32), Grid(grid.affine, (2, 2, 2))), grid)
    for number, look in enumerate(WARPED):
        painted = paint_patch(kinds, straight[None], kinds.shape, np.random.default_rng(number), look)
        warp = warp_to_template(painted["input"][0], grid, template_to_subject)
        found.append(places(warp, grid).astype(np.float16))
    return np.stack(found)


def places(warp: Warp, grid: Grid) -> np.ndarray:
    """(3, X/2, Y/2, Z/2) float32: where the cells of a grid of 1 mm lie in common space."""
    cells = Grid(grid.affine @ CELL, (grid.shape[0] // 2, grid.shape[1] // 2, grid.shape[2] // 2))
    return warp.template_index(np.diag([COMMON_MM] * 3 + [1.0]), cells)
