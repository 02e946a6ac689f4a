"""Agreement of intensities, voxel by voxel and as distributions. Images come scaled to range 1."""

import numpy as np
from scipy.special import rel_entr

BINS = 256
"""Bins of every histogram, on [0, 1]."""
FOREGROUND = 0.01
"""Histograms count voxels where the reference exceeds this share of its maximum (H2LO)."""
PER_VOXEL_FLOOR = 1e-8
"""Added to every squared error by the final script of ULF-EnC, so that a perfect voxel scores 80 dB."""


def mean_square(error: np.ndarray) -> float:
    """The mean of the squared values, summed in double precision."""
    flat = error.ravel()
    return float(np.einsum("i,i->", flat, flat, dtype=np.float64) / flat.size)


def psnr(x: np.ndarray, y: np.ndarray) -> float:
    """10 log10(1 / MSE), dB; infinite for identical images."""
    error = mean_square(x - y)
    return float("inf") if error == 0 else float(-10 * np.log10(error))


def psnr_voxel(x: np.ndarray, y: np.ndarray) -> float:
    """The mean over voxels of 10 log10(1 / (e² + 1e-8)), dB: above PSNR, as a mean of logs forgives outliers."""
    return float(np.mean(-10 * np.log10((x - y) ** 2 + np.float32(PER_VOXEL_FLOOR)), dtype=np.float64))


def mae(x: np.ndarray, y: np.ndarray) -> float:
    """Mean absolute error, as a share of the data range."""
    return float(np.mean(np.abs(x - y), dtype=np.float64))


def nmse(x: np.ndarray, y: np.ndarray) -> float:
    """‖x − y‖² / ‖y‖² (fastMRI's form)."""
    return mean_square(x - y) / mean_square(y)


def ncc(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson correlation over voxels; NaN where one of the two is constant."""
    x, y = x.ravel() - x.mean(dtype=np.float64), y.ravel() - y.mean(dtype=np.float64)
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale > 0 else float("nan")


def wasserstein(x: np.ndarray, y: np.ndarray) -> float:
    """The 1-D Wasserstein distance of two samples of equal size, exact: the mean distance of their sorted values."""
    return float(np.mean(np.abs(np.sort(x, axis=None) - np.sort(y, axis=None)), dtype=np.float64))


def histogram(values: np.ndarray) -> np.ndarray:
    """(256,) float64 that sums to 1: share of the values per bin of [0, 1]; what lies beyond goes to the end bins."""
    index = np.clip(values.ravel() * np.float32(BINS), 0, BINS - 1).astype(np.int64)
    counts = np.bincount(index, minlength=BINS)
    return counts / counts.sum()


def bhattacharyya(p: np.ndarray, q: np.ndarray) -> float:
    """−ln Σ √(pq); infinite where the histograms nowhere overlap."""
    overlap = float(np.sqrt(p * q).sum())
    return float(max(0.0, -np.log(overlap))) if overlap > 0 else float("inf")


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """The Jensen–Shannon divergence, natural log, in [0, ln 2]: scipy's ``jensenshannon``, squared."""
    middle = (p + q) / 2
    return max(0.0, float((rel_entr(p, middle) + rel_entr(q, middle)).sum() / 2))
