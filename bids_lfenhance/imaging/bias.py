"""The smooth gain of the receiving coil, estimated (N4) on a shrunk image and divided out at full resolution."""

import numpy as np
from scipy import ndimage

from .grid import Grid, apply_affine, coverage, resample, zooms_of
from .morphology import fill_holes, largest
from .noise import threshold_otsu

SHRUNK_ZOOM = 8.0
"""Voxel size on which N4 works, mm; a coil's field has no detail finer than centimetres, and N4's time is in the number
of voxels."""

ITERATIONS = (50, 50)
"""N4 iterations per level. A third level fits anatomy: on a head with skull it left the field worse than no N4."""

TOLERANCE = 1e-5
"""Change of the field (its coefficient of variation) below which a level stops."""

ONE_PATCH = 4
"""Control points along an axis of one cubic spline patch."""


def head_mask(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(I, J, K) bool: the head, or the brain where the rest was removed.

    Otsu's threshold, lowered, on the image smoothed by 3 mm; the largest connected part, its holes filled.
    """
    smooth = ndimage.gaussian_filter(np.asarray(data, dtype=np.float32), 3.0 / np.array(zooms_of(affine)))
    return fill_holes(largest(smooth > 0.6 * threshold_otsu(smooth)))


def correct_bias(
    data: np.ndarray, affine: np.ndarray, mask: np.ndarray, *, sloppy: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The image (I, J, K) float32 without its bias field, and that field, of geometric mean 1 inside the mask.

    Parameters
    ----------
    data : (I, J, K) image, ≥ 0
    affine : (4, 4) voxel → RAS+ mm
    mask : (I, J, K) bool, the head
    sloppy : coarser and fewer iterations

    N4 (Tustison et al. 2010). Outside the mask the field repeats its nearest value inside the estimated range.
    """
    small, small_mask = _shrunk(data, affine, mask, SHRUNK_ZOOM * (1.5 if sloppy else 1.0))
    if small_mask.sum() < 100:
        return np.asarray(data, dtype=np.float32), np.ones(data.shape, dtype=np.float32)
    field = _n4(small[0], small_mask, ITERATIONS[:1] if sloppy else ITERATIONS)
    inside = field[small_mask]
    field = np.clip(field - inside.mean(), *(np.percentile(inside, (0.1, 99.9)) - inside.mean()))
    full = np.exp(resample_edge(field, small[1], Grid(affine, data.shape)))
    return (np.asarray(data, dtype=np.float32) / full).astype(np.float32), full


def resample_edge(data: np.ndarray, affine: np.ndarray, grid: Grid) -> np.ndarray:
    """The image on another grid, linear, (X, Y, Z) float32; its edge repeated outside the field of view."""
    to_voxel = np.linalg.inv(affine) @ grid.affine
    return ndimage.affine_transform(
        data.astype(np.float32), to_voxel[:3, :3], to_voxel[:3, 3], output_shape=grid.shape, order=1, mode="nearest"
    )


def _shrunk(
    data: np.ndarray, affine: np.ndarray, mask: np.ndarray, zoom: float
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The image averaged on voxels of ``zoom`` mm over the mask's bounding box, its affine; and the mask there."""
    zooms = np.array(zooms_of(affine))
    index = np.argwhere(mask)
    if len(index) == 0:
        return (np.zeros((1, 1, 1), np.float32), affine), np.zeros((1, 1, 1), dtype=bool)
    low, high = index.min(axis=0), index.max(axis=0)
    shape = np.ceil((high - low + 1) * zooms / zoom).astype(int) + 2
    small = np.eye(4)
    small[:3, :3] = affine[:3, :3] / zooms * zoom
    small[:3, 3] = apply_affine(affine, ((low + high) / 2)[None])[0] - small[:3, :3] @ ((shape - 1) / 2)
    grid = Grid(small, tuple(shape))
    width = np.where(zooms < zoom, zoom / zooms / np.sqrt(12), 0)
    smooth = ndimage.gaussian_filter(np.asarray(data, dtype=np.float32), width)
    kept = (resample(mask.astype(np.float32), affine, grid) > 0.7) & coverage(data.shape, affine, grid)
    image = resample(smooth, affine, grid)
    return (image, small), kept & (image > 0)


def _n4(data: np.ndarray, mask: np.ndarray, iterations: tuple[int, ...]) -> np.ndarray:
    """The logarithm of the field (I, J, K) by N4, one spline patch at the first level, doubled at each next."""
    import SimpleITK

    # N4's inner filters obey only this global number of threads; with another number the last digits differ
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    fit = SimpleITK.N4BiasFieldCorrectionImageFilter()
    fit.SetMaximumNumberOfIterations(list(iterations))
    fit.SetConvergenceThreshold(TOLERANCE)
    fit.SetNumberOfControlPoints([ONE_PATCH] * 3)
    image, inside = (SimpleITK.GetImageFromArray(one) for one in (data.astype(np.float32), mask.astype(np.uint8)))
    fit.Execute(image, inside)
    field: np.ndarray = SimpleITK.GetArrayFromImage(fit.GetLogBiasFieldAsImage(image))
    return field
