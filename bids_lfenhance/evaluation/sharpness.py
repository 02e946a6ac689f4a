"""Where detail is kept, lost or invented: power per band of spatial frequency, and agreement of edges."""

from collections.abc import Sequence

import numpy as np
from scipy import fft, ndimage

BANDS = ((0.01, 0.05), (0.05, 0.10), (0.10, 0.20), (0.20, 0.30), (0.30, 0.50))
"""Bands of spatial frequency, cycles/mm. A 5 mm slice passes half at 0.09, a 1.6 mm voxel half at 0.28."""
SOFT_EDGE = 2.0
"""σ in voxels by which the mask is softened, so that its own edge does not fill the high bands."""
EDGE_SIGMA = 1.0
"""σ in voxels of the Gaussian derivative whose magnitude makes the edges."""
EDGE_SHARE = 0.1
"""Edges are sought among this steepest share of the brain's voxels: each image's own, so no gain or offset matters."""
EDGE_RIM = 4
"""Voxels inside the mask's border where no edges are compared: the derivative there sees the skull, or the edge that
its removal left, which is the steepest of all and tells nothing about the brain."""
EDGE_TOLERANCE = 1
"""An edge counts as found if the other image has one within so many voxels along the axes; noise alone scores 0.24."""


def band_names() -> tuple[str, ...]:
    """One metric name per band, ``spectrum_0.05_0.10`` meaning 0.05 to 0.10 cycles/mm."""
    return tuple(f"spectrum_{low:.2f}_{high:.2f}" for low, high in BANDS)


def band_power(image: np.ndarray, mask: np.ndarray, zooms: Sequence[float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    """(5,) float64: mean spectral power per band of the image inside a softened mask, in squared units of the image.

    ``image`` (X, Y, Z); ``zooms`` mm. The mean of the brain is taken off first. NaN for a band no frequency falls in.
    """
    weight = ndimage.gaussian_filter(mask.astype(np.float32), SOFT_EDGE)
    shape = tuple(fft.next_fast_len(n, real=True) for n in image.shape)
    spectrum = fft.rfftn((image - image[mask].mean(dtype=np.float64)).astype(np.float32) * weight, shape)
    axes = [np.fft.fftfreq(n, d) for n, d in zip(shape[:2], zooms, strict=False)] + [
        np.fft.rfftfreq(shape[2], zooms[2])
    ]
    squared = [axis.astype(np.float32) ** 2 for axis in axes]
    radius = np.sqrt(squared[0][:, None, None] + squared[1][None, :, None] + squared[2])
    power = spectrum.real**2 + spectrum.imag**2
    edges = np.array([BANDS[0][0], *(high for _, high in BANDS)], dtype=np.float32)
    index = np.searchsorted(edges, radius.ravel(), side="right")
    total = np.bincount(index, power.ravel(), minlength=len(edges) + 1)[1:-1]
    count = np.bincount(index, minlength=len(edges) + 1)[1:-1]
    return np.divide(total, count, out=np.full(len(BANDS), np.nan), where=count > 0)


def edges_of(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(X, Y, Z) bool: thin edges inside the mask.

    The steepest tenth of the masked voxels by Gaussian-derivative magnitude, thinned to those that are no less steep
    than their neighbours one voxel up and one voxel down the gradient (Canny's non-maximum suppression in 3D).
    """
    source = np.asarray(image, dtype=np.float32)
    gradient = np.stack([ndimage.gaussian_filter(source, EDGE_SIGMA, order=np.eye(3, dtype=int)[a]) for a in range(3)])
    magnitude = np.sqrt((gradient**2).sum(axis=0))
    level = np.quantile(magnitude[mask], 1 - EDGE_SHARE)
    where = np.argwhere(mask & (magnitude >= max(level, np.finfo(np.float32).tiny)))
    own = magnitude[tuple(where.T)]
    step = (gradient[(slice(None), *where.T)] / own).astype(np.float32)
    ahead, behind = (
        ndimage.map_coordinates(magnitude, where.T + sign * step, order=1, mode="nearest") for sign in (1, -1)
    )
    edges = np.zeros(mask.shape, dtype=bool)
    edges[tuple(where[(own >= ahead) & (own >= behind)].T)] = True
    return edges


def edge_f1(image: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> float:
    """F1 in [0, 1] of the image's edges against the reference's, one voxel of tolerance; NaN if one has none.

    Both are sought ``EDGE_RIM`` voxels inside the mask, everything beyond the array being outside.
    """
    inner = ndimage.binary_erosion(mask, iterations=EDGE_RIM)
    if not inner.any():
        return float("nan")
    edges, true = edges_of(image, inner), edges_of(reference, inner)
    if not edges.any() or not true.any():
        return float("nan")
    near = ndimage.generate_binary_structure(3, 1)
    precision = ndimage.binary_dilation(true, near, EDGE_TOLERANCE)[edges].mean()
    recall = ndimage.binary_dilation(edges, near, EDGE_TOLERANCE)[true].mean()
    total = precision + recall
    return float(2 * precision * recall / total) if total > 0 else 0.0
