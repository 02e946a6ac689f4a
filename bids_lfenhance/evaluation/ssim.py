"""Structural similarity (Wang et al. 2004), as scikit-image defines it, at a cost fit for whole heads."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from ..imaging.ssim import RADIUS, SIGMA, similarity
from .protocols import LinearScaling, Window

UNIFORM_SIZE = 7
"""Voxels a side of the uniform window: scikit-image's default."""


class Moments(NamedTuple):
    """Local statistics of two images, each (X, Y, Z) float32: means, variances, covariance; half the window.

    Under ``value · gain + offset`` they follow by algebra, so one filtering serves every protocol.
    """

    mean_x: np.ndarray
    mean_y: np.ndarray
    var_x: np.ndarray
    var_y: np.ndarray
    cov: np.ndarray
    pad: int


def local_moments(x: np.ndarray, y: np.ndarray, window: Window = "gaussian", ndim: int = 3) -> Moments:
    """The local statistics of two (X, Y, Z) images.

    ``window``: "gaussian" (σ 1.5, 11 voxels wide, population covariance) or "uniform" (7 wide, sample covariance:
    scikit-image's default). ``ndim`` 2: within axial slices only.
    """

    def smooth(data: np.ndarray) -> np.ndarray:
        if window == "gaussian":
            return ndimage.gaussian_filter(data, (SIGMA,) * ndim + (0,) * (3 - ndim), radius=RADIUS)
        return ndimage.uniform_filter(data, (UNIFORM_SIZE,) * ndim + (1,) * (3 - ndim))

    # Single precision loses the variance of a small ripple on a large mean: both are first brought to order 1.
    (line_x, x), (line_y, y) = _near_unit(x), _near_unit(y)
    count = UNIFORM_SIZE**ndim
    unbiased = np.float32(count / (count - 1) if window == "uniform" else 1)
    mean_x, mean_y = smooth(x), smooth(y)
    var_x = unbiased * (smooth(x * x) - mean_x * mean_x)
    var_y = unbiased * (smooth(y * y) - mean_y * mean_y)
    cov = unbiased * (smooth(x * y) - mean_x * mean_y)
    pad = RADIUS if window == "gaussian" else UNIFORM_SIZE // 2
    return rescale(Moments(mean_x, mean_y, var_x, var_y, cov, pad), line_x, line_y)


def _near_unit(data: np.ndarray) -> tuple[LinearScaling, np.ndarray]:
    middle, spread = float(data.mean(dtype=np.float64)), float(np.abs(data).max()) or 1.0
    return LinearScaling(spread, middle), (data - np.float32(middle)) / np.float32(spread)


def rescale(moments: Moments, line_x: LinearScaling, line_y: LinearScaling) -> Moments:
    """The local statistics of ``line_x(x)`` and ``line_y(y)``."""
    gain_x, gain_y = np.float32(line_x.gain), np.float32(line_y.gain)
    return Moments(
        line_x(moments.mean_x),
        line_y(moments.mean_y),
        gain_x * gain_x * moments.var_x,
        gain_y * gain_y * moments.var_y,
        gain_x * gain_y * moments.cov,
        moments.pad,
    )


def ssim_map(moments: Moments) -> np.ndarray:
    """(X, Y, Z) float32 in [−1, 1]: SSIM at every voxel; the outer ``moments.pad`` voxels depend on mirrored data."""
    return similarity(*moments[:5])


def valid_area(shape: tuple[int, ...], pad: int, ndim: int = 3) -> tuple[slice, ...]:
    """The slices that leave out the mirrored border; empty slices where an image is not wider than the window."""
    return tuple(slice(pad, max(pad, n - pad)) for n in shape[:ndim]) + (slice(None),) * (3 - ndim)
