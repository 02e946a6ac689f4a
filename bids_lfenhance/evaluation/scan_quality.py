"""Measurements of the scans and of the result for the record that ``usable.judge`` reads."""

import numpy as np

from ..imaging.field_of_view import on_faces, share_seen
from ..imaging.volume import Stack, Volume


def of_scan(stack: Stack, acquired: Volume, expected: np.ndarray) -> dict[str, float | None]:
    """``Coverage``, the share of the brain in its field of view, and ``SNR``, median signal of the brain over noise.

    ``acquired`` has the brain mask; ``expected`` (N, 3) RAS+ mm, where the template has brain.
    """
    return {"Coverage": round(share_seen(expected, [stack]), 4), "SNR": _snr(stack, acquired)}


def of_view(acquired: Volume, contrast: str, expected: np.ndarray, seen: np.ndarray) -> dict[str, float]:
    """``Brain``, the share of the brain that the scans of a contrast show together, and how much of the mask ends on
    a face of what was ``seen`` (X, Y, Z) bool, ``OnFaceCm2``.
    """
    return {
        "Brain": round(share_seen(expected, acquired.stacks_of(contrast)), 4),
        "OnFaceCm2": round(on_faces(acquired.brain, seen, acquired.grid), 2),
    }


def std_percent(std: np.ndarray, image: np.ndarray, brain: np.ndarray) -> float | None:
    """Median SD of the error (X, Y, Z) over the range of the image, 5th to 95th percentile, inside the brain, in %.

    The range, and not the median: a T1w that is given more contrast has more of both, the range and the error.
    """
    low, high = np.percentile(image[brain], [5, 95]) if brain.any() else (0.0, 0.0)
    return round(100 * float(np.median(std[brain])) / float(high - low), 3) if high > low else None


def likeness(image: np.ndarray, low: np.ndarray, brain: np.ndarray) -> float:
    """Correlation in the brain of an enhanced image and the plain mean of its stacks (X, Y, Z); 0 if one is flat."""
    one, other = image[brain].astype(np.float64), low[brain].astype(np.float64)
    flat = one.size < 2 or not one.std() or not other.std()
    return 0.0 if flat else round(float(np.corrcoef(one, other)[0, 1]), 3)


def _snr(stack: Stack, acquired: Volume) -> float | None:
    if not acquired.brain.any() or stack.sigma <= 0:
        return None
    return round(float(np.median(acquired.channel(stack.contrast)[acquired.brain])) / stack.sigma, 2)
