"""Quality and alignment of a scan: the numbers of its record, and warnings in sentences."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .grid import zooms_of
from .registration import Alignment, motion_of
from .scan import PreparedScan

LEAST_SIMILARITY = {"same": 0.5, "cross": 0.15}
"""Share of variance explained below which a registration is doubtful, within and across contrasts."""

LEAST_COVER = 0.5
"""Share of a head that must lie in the field of view of the other image, once registered."""

LARGE_MOTION = (12.0, 15.0)
"""Rotation (degrees) and translation (mm) between stacks of one session that are reported."""


def scan_record(
    scan: PreparedScan, alignment: Alignment, motion: np.ndarray, covered: float, sigma: float
) -> dict[str, Any]:
    """What the quality file says of one scan; ``motion`` (4, 4) is reported at the head's centre.

    ``sigma`` is the noise in the units of the stack as it is handed on; ``SNR`` does not depend on units.
    """
    degrees, mm = motion_of(motion, scan.registration_image.centre)
    return {
        "Name": scan.name,
        "Contrast": scan.contrast,
        "Plane": scan.plane,
        "Zooms": [round(z, 4) for z in zooms_of(scan.affine)],
        "SNR": round(scan.snr, 2),
        "Sigma": float(f"{sigma:.6g}"),
        "RotationDeg": round(degrees, 3),
        "TranslationMm": round(mm, 3),
        "Coverage": round(covered, 4),
        "Similarity": round(alignment.similarity, 4),
        "Mirrored": alignment.mirrored,
        "BiasRange": [round(f, 4) for f in scan.field],
        **scan.artefacts,
    }


def doubts(name: str, other: str, alignment: Alignment, *, cross_contrast: bool) -> list[str]:
    """Warnings about one registration, none where it is fine."""
    if alignment.mirrored:
        return [f"{name} fits {other} better with left and right exchanged: those of one are wrong; check headers."]
    least = LEAST_SIMILARITY["cross" if cross_contrast else "same"]
    if alignment.overlap < LEAST_COVER:
        return [f"{name}: only {100 * alignment.overlap:.0f} % of its head lies in {other}; one of them is incomplete."]
    if alignment.similarity < least:
        return [
            f"{name} may be misplaced on {other}: similarity {alignment.similarity:.2f}, expected ≥ {least:g}; "
            f"check orientation{'' if cross_contrast else ' and contrast'}."
        ]
    return []


def gap_notes(scans: Sequence[PreparedScan]) -> list[str]:
    """A sentence where slices are thinner than they lie apart."""
    gaps = [scan for scan in scans if scan.gap]
    if not gaps:
        return []
    apart, thick = max(zip(zooms_of(gaps[0].affine), gaps[0].fwhm, strict=True))
    return [
        f"{len(gaps)} of {len(scans)} stacks have gaps between slices (first: {gaps[0].name}, {thick:g} mm thick every "
        f"{apart:g} mm): what lies in the gaps was not seen; check what is small there."
    ]


def motion_doubts(record: dict[str, Any], other: str) -> list[str]:
    """A warning where a stack lies far from its session's reference stack."""
    degrees, mm = record["RotationDeg"], record["TranslationMm"]
    if degrees <= LARGE_MOTION[0] and mm <= LARGE_MOTION[1]:
        return []
    return [
        f"{record['Name']} lies {degrees:.0f}° and {mm:.0f} mm from {other}: large motion, or a failed registration."
    ]
