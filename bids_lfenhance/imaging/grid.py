"""Grids: an affine and a shape, and the only function that moves an image from one to another."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

CANONICAL_ZOOM = 1.0
"""Voxel size of the canonical grid, mm."""

SLOPPY_ZOOM = 2.0
"""Voxel size of the canonical grid of a ``--sloppy`` run, mm: an eighth of the voxels, an eighth of the cost."""

SHAPE_MULTIPLE = 16
"""Canonical shapes are multiples of this, so that four halvings of a U-Net need no padding."""

Box = tuple[slice, slice, slice]
"""A part of an image."""


@dataclass(frozen=True)
class Grid:
    """An affine (4, 4) voxel → RAS+ mm and a shape (3,) in voxels.

    >>> grid = Grid(np.diag([1.0, 1.0, 2.0, 1.0]), (4, 5, 6))
    >>> grid.zooms
    (1.0, 1.0, 2.0)
    """

    affine: np.ndarray
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise ValueError(f"a grid needs an invertible (4, 4) affine, found {affine.tolist()}")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.shape == other.shape and np.allclose(self.affine, other.affine)

    __hash__ = None  # type: ignore[assignment]  # equality is by tolerance, which no hash can follow

    @property
    def zooms(self) -> tuple[float, float, float]:
        """Voxel sizes in mm, one per voxel axis."""
        return zooms_of(self.affine)

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel, mm³."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def corners(self) -> np.ndarray:
        """(8, 3) world coordinates of the outer corners of the field of view, RAS+ mm."""
        ends = [(-0.5, n - 0.5) for n in self.shape]
        return apply_affine(self.affine, np.array(list(product(*ends))))

    def cut(self, box: Box) -> "Grid":
        """The grid of a part of the image."""
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ [part.start for part in box]
        x, y, z = (part.stop - part.start for part in box)
        return Grid(affine, (x, y, z))


def box_of(mask: np.ndarray, margin: int | Sequence[int] = 0) -> Box:
    """The smallest box around a mask (X, Y, Z), ``margin`` voxels wider where there is room; all of an empty mask.

    >>> box_of(np.eye(5)[None, 1:3], margin=1)
    (slice(0, 1, None), slice(0, 2, None), slice(0, 4, None))
    """
    if not mask.any():
        return slice(0, mask.shape[0]), slice(0, mask.shape[1]), slice(0, mask.shape[2])
    ends = []
    for axis, (side, rim) in enumerate(zip(mask.shape, np.broadcast_to(margin, 3).tolist(), strict=True)):
        used = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        ends.append(slice(max(0, int(used[0]) - rim), min(side, int(used[-1]) + 1 + rim)))
    return ends[0], ends[1], ends[2]


def canonical_zoom(sloppy: bool) -> float:
    """Voxel size of the canonical grid, mm."""
    return SLOPPY_ZOOM if sloppy else CANONICAL_ZOOM


def zooms_of(affine: np.ndarray) -> tuple[float, float, float]:
    """Voxel sizes in mm of an affine (4, 4) voxel → mm."""
    x, y, z = np.sqrt((np.asarray(affine)[:3, :3] ** 2).sum(axis=0))
    return float(x), float(y), float(z)


def apply_affine(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (N, 3) carried through an affine (4, 4)."""
    return points @ affine[:3, :3].T + affine[:3, 3]


def translation(shift: Sequence[float] | np.ndarray) -> np.ndarray:
    """(4, 4): the affine that moves every point by ``shift`` (3,)."""
    affine = np.eye(4)
    affine[:3, 3] = shift
    return affine


def canonical_grid(points: np.ndarray, zoom: float = CANONICAL_ZOOM, multiple: int = SHAPE_MULTIPLE) -> Grid:
    """The RAS, isotropic grid that holds the points.

    Parameters
    ----------
    points : (N, 3) world coordinates to be covered, RAS+ mm (corners of fields of view, or of the head)
    zoom : voxel size, mm
    multiple : every side of the shape is a multiple of this many voxels

    The box is centred on the points; its origin lies on whole multiples of ``zoom``, so that two heads in
    one frame share a lattice.

    >>> canonical_grid(np.array([[-70.0, -90, -60], [70, 90, 60]])).shape
    (144, 192, 128)
    """
    low, high = points.min(axis=0), points.max(axis=0)
    cells = np.ceil((high - low) / zoom).astype(int)
    shape = np.maximum(1, -(-cells // multiple)) * multiple
    origin = np.round(((low + high) / 2 - (shape - 1) * zoom / 2) / zoom) * zoom
    affine = np.diag([zoom, zoom, zoom, 1.0])
    affine[:3, 3] = origin
    return Grid(affine, tuple(shape))


def resample(data: np.ndarray, affine: np.ndarray, grid: Grid, order: int = 1, cval: float = 0.0) -> np.ndarray:
    """The image on another grid, (X, Y, Z) float32; ``cval`` outside the field of view.

    Parameters
    ----------
    data : (I, J, K) image
    affine : (4, 4) voxel → RAS+ mm of ``data``; a rigid motion belongs in here, so nothing is interpolated twice
    order : 0 nearest (labels), 1 linear (posteriors), 3 cubic (images)

    The outermost half voxel counts as inside and repeats the edge; ``cval`` begins beyond it.
    """
    from scipy import ndimage

    source = np.asarray(data, dtype=np.float32)
    out = np.full(grid.shape, cval, np.float32)
    seen = coverage(source.shape, affine, grid)
    if seen.any():
        box = box_of(seen)
        to_voxel = np.linalg.inv(affine) @ grid.cut(box).affine
        moved = ndimage.affine_transform(
            source, to_voxel[:3, :3], to_voxel[:3, 3], output_shape=seen[box].shape, order=order, mode="nearest"
        )
        np.copyto(out[box], moved, where=seen[box])
    return out


def coverage(shape: tuple[int, ...], affine: np.ndarray, grid: Grid) -> np.ndarray:
    """(X, Y, Z) bool: the voxels of ``grid`` whose centre lies in the field of view of an image.

    The index of a voxel along an axis of the image is linear in z, so what is seen of each line of voxels is one piece.
    """
    to_voxel = np.linalg.inv(affine) @ grid.affine
    x, y, z = (np.arange(n, dtype=np.float64) for n in grid.shape)
    low, high = np.full(grid.shape[:2], -np.inf), np.full(grid.shape[:2], np.inf)
    for row, n in zip(to_voxel[:3], shape, strict=True):
        start = row[0] * x[:, None] + row[1] * y + row[3]
        if abs(row[2]) * grid.shape[2] < 1e-9:
            low[(start <= -0.5) | (start >= n - 0.5)] = np.inf
            continue
        ends = (-0.5 - start) / row[2], (n - 0.5 - start) / row[2]
        low, high = np.maximum(low, np.minimum(*ends)), np.minimum(high, np.maximum(*ends))
    return (z > low[..., None]) & (z < high[..., None])
