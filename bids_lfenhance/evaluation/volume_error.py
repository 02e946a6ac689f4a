"""The expected error of a volume: how far it may lie from the one that high field would give."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

FACTORS: Mapping[str, float | Mapping[str, float]] = {
    "regions": 1.06,
    "tissue": {"CSF": 2.79, "GM": 0.66, "WM": 0.55},
}
"""By the ``seg-`` of the segmentation, of tissue by name: expected error over the uncertain volume Σ p (1 − p) and
over the voxel size (mm) along the axis that no stack resolves better: how far a border may be from its place.

Fitted by benchmarks/reliability.py volumes: docs/methods/uncertainty.md.
"""

TRIED = ("T1w",)
"""Contrasts that the factors were tried on."""

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "volume_error_mm3": {
        "Description": "Expected error: nine in ten differences between the volume in the enhanced image and in high "
        "field were smaller (simulated low field); n/a where no error is known, as of high field itself",
        "Units": "mm^3",
    },
    "volume_error_percent": {"Description": "The same in per cent of the volume", "Units": "%"},
}
"""What ``with_expected_error`` adds to a table of volumes."""


def with_expected_error(
    rows: Sequence[Mapping[str, Any]], segmentation: str, contrast: str, coarsest: float | None
) -> list[dict[str, Any]]:
    """The rows of a table of volumes in an image enhanced by the learned estimate, each with its expected error.

    ``uncertain_mm3`` of a row is Σ p (1 − p) over the posteriors p of its label; ``coarsest`` as ``evidence.coarsest``
    of the scans. None is said where one of them is not known, where there is no volume, of a ``segmentation`` without
    a factor, and of a contrast that it was not tried on.
    """
    known = coarsest if contrast in TRIED else None
    return [{**row, **dict(zip(COLUMNS, _error(row, segmentation, known), strict=True))} for row in rows]


def _error(row: Mapping[str, Any], segmentation: str, coarsest: float | None) -> tuple[float | None, float | None]:
    """mm³ and %."""
    volume, uncertain, found = row.get("volume_mm3"), row.get("uncertain_mm3"), FACTORS.get(segmentation)
    factor = found.get(str(row["name"])) if isinstance(found, Mapping) else found
    if factor is None or coarsest is None or not volume or uncertain is None or math.isnan(uncertain):
        return None, None
    error = factor * coarsest * uncertain
    return error, 100 * error / volume
