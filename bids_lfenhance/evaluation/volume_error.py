"""The expected error of a volume: how far it may lie from the one that high field would give."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

FACTOR = 0.63
"""Expected error of a region's volume over the uncertain volume Σ p (1 − p).

Fitted by benchmarks/reliability.py volumes to enhanced T1w in the contrast of the scan; half way to that of high field
it is a little smaller: docs/methods/uncertainty.md.
"""

VALIDATED_CONTRASTS = ("T1w", "T2w")
"""Contrasts that the factor was tried on."""

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "volume_error_mm3": {
        "Description": "Expected error: nine in ten differences between the volume in the enhanced image and in high "
        "field were smaller (simulated low field); n/a where no error is known, as of high field itself",
        "Units": "mm^3",
    },
    "volume_error_percent": {"Description": "The same in per cent of the volume", "Units": "%"},
}
"""What ``with_expected_error`` adds to a table of volumes."""


def with_expected_error(rows: Sequence[Mapping[str, Any]], segmentation: str, contrast: str) -> list[dict[str, Any]]:
    """The rows of a table of volumes in an image enhanced by the learned estimate, each with its expected error.

    ``uncertain_mm3`` of a row is Σ p (1 − p) over the posteriors p of its label. The error is None where that or the
    volume is not known, for a ``segmentation`` other than "regions", and outside ``VALIDATED_CONTRASTS``.
    """
    known = segmentation == "regions" and contrast in VALIDATED_CONTRASTS
    return [{**row, **dict(zip(COLUMNS, _error(row) if known else (None, None), strict=True))} for row in rows]


def _error(row: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """mm³ and %."""
    volume, uncertain = row.get("volume_mm3"), row.get("uncertain_mm3")
    if not volume or uncertain is None or math.isnan(uncertain):
        return None, None
    return FACTOR * uncertain, 100 * FACTOR * uncertain / volume
