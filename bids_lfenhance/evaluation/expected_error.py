"""The expected absolute error of an enhanced image, voxel by voxel, from what is known of it without high field."""

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from ..imaging.grid import Grid
from ..imaging.profile import FWHM_PER_SD

SMOOTHING_FWHM = 3.0
"""Width in mm of the Gaussian that all of it is smoothed by: the error of one voxel cannot be foreseen."""

WEIGHTS: Mapping[str, float] = {"Std": 0.61, "Cycle": 0.11}
"""Of the standard deviation and of the cycle residual: fitted to |error| by benchmarks/reliability.py error."""

BLIND = (
    "What was invented or lost where the estimate is sure of itself: a structure unlike those of the people it learned "
    "from, a lesion, and all detail finer than the band limit of the risk map. It says where such images are usually "
    "wrong; where this one contradicts its scans, the risk map shows. It was fitted on T1w of two people, of simulated "
    "low field; on T1w of three others it was right within 6 %, or 25 % too small, of one 5 % too small on T2w, on "
    "FLAIR of two 12 % too small and 27 % too large."
)
"""What the map cannot show, and how far it was tried (docs/methods/uncertainty.md)."""


VALIDATED_CONTRASTS: Mapping[str, str] = {
    "T1w": "Tried on simulated low field of nine people of five scanners: within 2 SD lay 93 to 98 % of the voxels of "
    "the brain",
    "T2w": "Tried on simulated low field of one person: within 2 SD lay 96 % of the voxels of the brain",
    "FLAIR": "Not calibrated in FLAIR: within 2 SD lay 95 to 99 % of the voxels of the brain of the two people "
    "(simulated low field) whom it was fitted on, and nobody else was tried",
}
"""How far the standard deviation of the error was right: docs/methods/uncertainty.md."""

CALIBRATED = ("T1w", "T2w")
"""Contrasts in which it may be relied on."""


def is_calibrated(contrast: str) -> bool:
    """Whether the standard deviation of the error was right in this contrast on people of no training."""
    return contrast in CALIBRATED


def scale_note(contrast: str) -> str:
    """How far the standard deviation of the error was tried in this contrast, a sentence."""
    return VALIDATED_CONTRASTS.get(contrast, f"Not calibrated in {contrast}")


def expected_error(std: np.ndarray, cycle: np.ndarray, mask: np.ndarray, grid: Grid) -> np.ndarray:
    """(X, Y, Z) float32 ≥ 0 in the units of the image, zero outside the brain: a sum with ``WEIGHTS``, smoothed.

    Parameters
    ----------
    std : (X, Y, Z) calibrated standard deviation of the error, in the units of the image
    cycle : (X, Y, Z) |image degraded again − stack|, the mean over the stacks, in the same units; NaN, where no stack
        saw it, is replaced by the mean elsewhere in the brain
    mask : (X, Y, Z) bool, brain
    grid : of the three arrays
    """
    seen = mask & np.isfinite(cycle)
    left = np.where(np.isfinite(cycle), cycle, cycle[seen].mean() if seen.any() else 0)
    return smoothed(WEIGHTS["Std"] * std + WEIGHTS["Cycle"] * left, mask, grid)


def smoothed(values: np.ndarray, mask: np.ndarray, grid: Grid) -> np.ndarray:
    """(X, Y, Z) float32: values (X, Y, Z) smoothed by ``SMOOTHING_FWHM``, as if there were nothing but the mask."""
    sd = [SMOOTHING_FWHM / FWHM_PER_SD / zoom for zoom in grid.zooms]
    blurred = ndimage.gaussian_filter(np.where(mask, values, 0).astype(np.float32), sd)
    share = ndimage.gaussian_filter(mask.astype(np.float32), sd)
    return np.where(mask, blurred / np.maximum(share, 1e-6), 0).astype(np.float32)
