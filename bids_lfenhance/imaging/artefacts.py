"""Artefacts of one scan as it was acquired: clipped intensities, ghosts, alternating slices."""

import numpy as np
from scipy import ndimage

from .grid import zooms_of
from .morphology import dilate

TOP = 0.99
"""Share of the largest intensity from which a voxel counts as clipped: rounding and resampling move clipped values."""

CLEAR_MM = 8.0
"""Distance from the head at which air begins: nearer voxels hold signal of the head, by the finite resolution."""

SURE = 4.0
"""This many standard errors of the mean power of noise are subtracted from the power of a ghost."""

LEAST_AIR = 500
"""Fewest voxels of air, in the shadow of the head and outside it, for ghosts to be measured."""

FEWEST_SLICES = 16
"""Fewest slices for which alternation is measured."""


def artefacts(data: np.ndarray, affine: np.ndarray, mask: np.ndarray, sigma: float) -> dict[str, float | None]:
    """``Clipped``, ``Ghosts`` and ``Alternation`` of a scan, None where one cannot be measured.

    ``data`` (I, J, K) before bias correction, ``affine`` voxel → mm, ``mask`` (I, J, K) bool the head, ``sigma`` the
    noise in the units of ``data``. See the functions below.
    """
    return {
        "Clipped": round(clipped(data[mask]), 5),
        "Ghosts": _rounded(ghosts(data, affine, mask)),
        "Alternation": _rounded(alternation(data, affine, mask, sigma)),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def clipped(values: np.ndarray) -> float:
    """Share, 0 to 1, of the values (N,) of a head that lie at the largest of them."""
    return float(np.mean(values >= TOP * values.max()))


def ghosts(data: np.ndarray, affine: np.ndarray, mask: np.ndarray) -> float | None:
    """Signal of the ghosts over the median of the head, 0 to 1; None where there is too little air with noise in it.

    A ghost lies beside the head along the axis of phase encoding. So for each axis, the mean power of the air in the
    head's shadow along it less that of all other air; and of the three, the largest less the middle one, so that
    noise which is louder in the middle of the field of view, on all sides, is no ghost. Powers of noise and signal add.
    """
    air = ~dilate(mask, CLEAR_MM, zooms_of(affine))
    if not air.any() or np.mean(data[air] > 0) < 0.5:
        return None
    power, excess = np.square(data, dtype=np.float64), []
    for axis in range(3):
        shadow = air & mask.any(axis=axis, keepdims=True)
        if min(shadow.sum(), air.sum() - shadow.sum()) < LEAST_AIR:
            return None
        own, other = power[shadow], power[air & ~shadow]
        # the power of noise is distributed exponentially: its standard deviation is its mean
        error = np.hypot(other.mean() / np.sqrt(own.size), other.mean() / np.sqrt(other.size))
        excess.append(own.mean() - other.mean() - SURE * error)
    _, middle, largest = sorted(excess)
    return float(np.sqrt(max(largest - max(middle, 0), 0)) / np.median(data[mask]))


def alternation(data: np.ndarray, affine: np.ndarray, mask: np.ndarray, sigma: float) -> float | None:
    """Power at a period of two slices over that at a period of about three, both less the noise's.

    Anatomy has less power at the shorter period; interleaved slices between whose passes the head moved, or of which
    every second is darker, have more. None for isotropic voxels, few slices, and where noise hides the anatomy.
    """
    zooms = zooms_of(affine)
    axis = int(np.argmax(zooms))
    if zooms[axis] < 1.5 * np.median(zooms) or data.shape[axis] < FEWEST_SLICES:
        return None
    lines = np.moveaxis(data, axis, -1)[ndimage.binary_erosion(mask.any(axis=axis), iterations=3)]
    if not len(lines):
        return None
    window = np.hanning(lines.shape[1])
    power = np.mean(np.abs(np.fft.rfft(lines * window, axis=1)) ** 2, axis=0) - np.sum(window**2) * sigma**2
    frequency = np.linspace(0, 1, power.size)
    finest, fine = power[frequency > 0.9].mean(), power[(frequency > 0.55) & (frequency < 0.8)].mean()
    return float(max(finest, 0) / fine) if fine > 0.25 * np.sum(window**2) * sigma**2 else None
