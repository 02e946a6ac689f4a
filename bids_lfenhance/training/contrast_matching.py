"""High field in the contrast of its low field: the target of a network that is to learn sharpness, not contrast.

However the contrast of a scan is restored, a small error remains, which differs between scanners and people. A network
learns the error that its own simulator leaves as if it were general, and makes images of other scanners worse.
"""

import numpy as np
from scipy import ndimage

KNOTS = np.array([0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05, 1.35])
"""Intensities of scaled high field between which the curve is straight; it goes through the origin."""

WIDTHS = (0.6, 1.0, 1.5, 2.1)
"""Blurs that low field may have had, SD in voxels: the one that explains it best is taken."""

EDGE = 4
"""Voxels at the border of the brain that are left out: what lies outside has been blurred into them."""

STIFF = 1e-4
"""Weight of the squared second differences of the curve against the mean squared error."""


def contrast_curve(low: np.ndarray, high: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(2, K): the rising curve of intensity from high field to what, blurred, is nearest to low field.

    ``low`` and ``high`` (X, Y, Z) of one contrast, scaled (nn/intensity_scale.py); ``mask`` (X, Y, Z) bool, brain.
    Blur mixes tissues; so the curve is fitted before the blur, not to the blurred intensities. Least squares in its
    K − 1 heights.
    """
    deep = ndimage.binary_erosion(mask, iterations=EDGE)
    rows = np.flatnonzero(deep if deep.any() else mask)[::3]
    wanted = np.asarray(low, np.float64).ravel()[rows]
    high = np.asarray(high, np.float32)
    hats = [np.interp(high, KNOTS, one).astype(np.float32) for one in np.eye(len(KNOTS))[1:]]
    bend = np.diff(np.eye(len(KNOTS)), n=2, axis=0)[:, 1:] * np.sqrt(STIFF * len(rows))
    best = min((_fit(hats, width, rows, wanted, bend) for width in WIDTHS), key=lambda found: found[1])[0]
    return np.stack([KNOTS, np.maximum.accumulate(np.r_[0.0, best])])


def _fit(
    hats: list[np.ndarray], width: float, rows: np.ndarray, wanted: np.ndarray, bend: np.ndarray
) -> tuple[np.ndarray, float]:
    """(K − 1 heights, mean squared error) with one blur."""
    blurred = np.stack([ndimage.gaussian_filter(hat, width).ravel()[rows] for hat in hats], axis=1).astype(np.float64)
    normal = blurred.T @ blurred + bend.T @ bend
    heights = np.linalg.lstsq(normal, blurred.T @ wanted, rcond=None)[0]
    return heights, float(np.mean((blurred @ heights - wanted) ** 2))
