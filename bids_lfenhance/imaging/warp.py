"""A smooth deformation that brings one image's shape to another's by local correlation, in plain numpy.

Written here rather than taken from ANTs because the template's appearance is refitted to the scan as the shapes
come together, the cost is a fifth, and two runs agree to the last bit whatever the number of threads.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .grid import Grid, resample

FLUID = 2.0
"""Voxels, SD, over which each step of a deformation is smoothed."""

RADIUS = 2
"""Half-width of the window of the correlation, voxels."""


@dataclass(frozen=True, eq=False)
class Warp:
    """A map from subject to template space: a displacement, then an affine.

    ``affine`` (4, 4) template → subject RAS+ mm; ``field`` (3, X, Y, Z) float32 displacement in mm along the axes
    of ``grid`` (subject space). A point p of the subject lies at affine⁻¹(p + field(p)) in the template.
    """

    affine: np.ndarray
    field: np.ndarray
    grid: Grid

    def carry(self, data: np.ndarray, data_affine: np.ndarray, grid: Grid) -> np.ndarray:
        """(..., X, Y, Z) float32: images of template space on a subject's grid, zero outside the field of view."""
        index = self.template_index(data_affine, grid)
        images = np.asarray(data, np.float32).reshape(-1, *data.shape[-3:])
        moved = [ndimage.map_coordinates(one, index, order=1, mode="constant") for one in images]
        return np.stack(moved).reshape(*data.shape[:-3], *grid.shape)

    def template_index(self, data_affine: np.ndarray, grid: Grid) -> np.ndarray:
        """(3, X, Y, Z) float32: where each voxel of ``grid`` lies among the voxels of a template image."""
        to_field = np.linalg.inv(self.grid.affine) @ grid.affine
        to_data = np.linalg.inv(self.affine @ data_affine) @ grid.affine
        turn = (np.linalg.inv(self.affine @ data_affine) @ self.grid.affine)[:3, :3] / np.array(self.grid.zooms)
        shift = np.stack(
            [
                ndimage.affine_transform(
                    one, to_field[:3, :3], to_field[:3, 3], output_shape=grid.shape, order=1, mode="nearest"
                )
                for one in self.field
            ]
        )
        return lattice(to_data, grid.shape) + np.einsum("ij,jxyz->ixyz", turn.astype(np.float32), shift)


def lattice(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(3, X, Y, Z) float32: every voxel index of a box carried through an affine (4, 4)."""
    x, y, z = (np.arange(n, dtype=np.float32) for n in shape)
    rows = [
        np.float32(row[0]) * x[:, None, None] + np.float32(row[1]) * y[None, :, None] + np.float32(row[2]) * z + row[3]
        for row in affine[:3]
    ]
    return np.stack(rows).astype(np.float32)


def thinned(image: np.ndarray, grid: Grid, zoom: float) -> tuple[Grid, np.ndarray]:
    """A grid of about ``zoom`` mm and the image on it, float32, blurred beforehand."""
    step = [max(1, round(zoom / z)) for z in grid.zooms]
    blurred = ndimage.gaussian_filter(image.astype(np.float32), [0.42 * s if s > 1 else 0 for s in step])
    small = blurred[tuple(slice(None, None, s) for s in step)]
    return Grid(grid.affine @ np.diag([*step, 1.0]), small.shape), small


def deform(
    fixed: np.ndarray,
    grid: Grid,
    moving: np.ndarray,
    to_moving: np.ndarray,
    weight: np.ndarray,
    start: tuple[np.ndarray, Grid] | None = None,
    iterations: int = 40,
    elastic: float = 0.7,
) -> np.ndarray:
    """(3, X, Y, Z) float32 displacement in mm along the axes of ``grid``: fixed(x) looks like moving(x + u).

    Parameters
    ----------
    fixed, grid : (X, Y, Z) float32 image
    moving, to_moving : (I, J, K) float32 image, and (4, 4) from the voxels of ``grid`` to its own
    weight : (X, Y, Z) float32 in [0, 1], where the images are to be compared
    start : such a displacement to begin with, and its grid; or none
    iterations : steps of at most half a voxel, each smoothed by ``FLUID``
    elastic : voxels, SD, over which the sum of the steps is smoothed
    """
    zooms = np.array(grid.zooms, np.float32)[:, None, None, None]
    field = np.zeros((3, *fixed.shape), np.float32)
    if start is not None:
        field = np.stack([resample(one, start[1].affine, grid) for one in start[0]]) / zooms
    compared = weight > 0.5
    if not compared.any():
        return field * zooms
    index, turn = lattice(to_moving, fixed.shape), to_moving[:3, :3].astype(np.float32)
    window = _Window(fixed)
    for step in range(iterations):
        where = index + np.einsum("ij,jxyz->ixyz", turn, field)
        force = window.force(ndimage.map_coordinates(moving, where, order=1, mode="nearest")) * weight
        update = np.stack([ndimage.gaussian_filter(one, FLUID, truncate=2.5) for one in force])
        length = np.sqrt((update**2).sum(axis=0))
        peak = float(np.percentile(length[compared], 99))
        if peak == 0:
            break
        update *= np.minimum(0.5 / peak, 0.7 / np.maximum(length, 1e-12)) * (1 - 0.6 * step / iterations)
        field = _compose(field, update)
        field = np.stack([ndimage.gaussian_filter(one, elastic, truncate=2.5) for one in field])
    return field * zooms


def _compose(field: np.ndarray, update: np.ndarray) -> np.ndarray:
    """(3, X, Y, Z): x → x + update(x) → its displacement by ``field``; keeps small steps invertible."""
    index = lattice(np.eye(4), field.shape[1:]) + update
    moved = [ndimage.map_coordinates(one, index, order=1, mode="nearest") for one in field]
    return np.stack(moved) + update


class _Window:
    """Local correlation of a moving image with a fixed one, in boxes of ``2 RADIUS + 1`` voxels."""

    def __init__(self, fixed: np.ndarray) -> None:
        self.fixed = fixed
        self.mean = self._average(fixed)
        self.variance = np.maximum(self._average(fixed * fixed) - self.mean**2, 0)
        self.floor = 1e-3 * float(fixed.var()) + 1e-20

    def _average(self, image: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(image, 2 * RADIUS + 1, mode="nearest")

    def force(self, moving: np.ndarray) -> np.ndarray:
        """(3, X, Y, Z): gradient of the squared local correlation by the displacement (Avants 2008, eq. 6)."""
        mean = self._average(moving)
        variance = np.maximum(self._average(moving * moving) - mean**2, 0)
        both = self._average(self.fixed * moving) - self.mean * mean
        scale = both / ((self.variance + self.floor) * (variance + self.floor))
        pull = scale * (self.fixed - self.mean - both / (variance + self.floor) * (moving - mean))
        return pull * np.stack(np.gradient(moving))
