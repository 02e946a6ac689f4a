"""What there is to say about a scan's quality and its place, in numbers and in sentences."""

from typing import Any

import numpy as np

from .grid import zooms_of
from .ready import Ready
from .registration import Alignment, motion_of

LEAST_SIMILARITY = {"same": 0.5, "cross": 0.15}
"""Share of variance explained below which a registration is doubtful, within and across contrasts."""

LEAST_COVER = 0.5
"""Share of a head that must lie in the field of view of the other image, once registered."""

LARGE_MOTION = (12.0, 15.0)
"""Rotation (degrees) and translation (mm) between stacks of one session that are reported."""


def scan_record(r: Ready, found: Alignment, motion: np.ndarray, covered: float, sigma: float) -> dict[str, Any]:
    """What the quality file says of one scan; ``motion`` (4, 4) is reported at the head's centre.

    ``sigma`` is the noise in the units of the stack as it is handed on; ``SNR`` does not depend on units.
    """
    degrees, mm = motion_of(motion, r.picture.centre)
    return {
        "Name": r.name,
        "Contrast": r.contrast,
        "Plane": r.plane,
        "Zooms": [round(z, 4) for z in zooms_of(r.affine)],
        "SNR": round(r.snr, 2),
        "Sigma": float(f"{sigma:.6g}"),
        "RotationDeg": round(degrees, 3),
        "TranslationMm": round(mm, 3),
        "Coverage": round(covered, 4),
        "Similarity": round(found.similarity, 4),
        "BiasRange": [round(f, 4) for f in r.field],
    }


def doubts(name: str, other: str, found: Alignment, *, bent: bool) -> list[str]:
    """Warnings about one registration, none where it is fine."""
    least = LEAST_SIMILARITY["cross" if bent else "same"]
    if found.overlap < LEAST_COVER:
        return [f"{name}: only {100 * found.overlap:.0f} % of its head lies in {other}; one of them is incomplete."]
    if found.similarity < least:
        return [f"{name} may be misplaced on {other}: similarity {found.similarity:.2f}, expected ≥ {least:g}."]
    return []


def motion_doubts(record: dict[str, Any], other: str) -> list[str]:
    """A warning where a stack lies far from its session's reference stack."""
    degrees, mm = record["RotationDeg"], record["TranslationMm"]
    if degrees <= LARGE_MOTION[0] and mm <= LARGE_MOTION[1]:
        return []
    return [
        f"{record['Name']} lies {degrees:.0f}° and {mm:.0f} mm from {other}: large motion, or a failed registration."
    ]
