"""Risk, metrics and overlap of every contrast of one session."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..config import CONTRASTS, PROTOCOLS
from ..imaging.field_of_view import cut_labels
from ..imaging.volume import Volume
from .expected_error import expected_error
from .image_metrics import image_metrics
from .label_overlap import agreements, structures
from .metric_definitions import DICE, VOLUME_DIFFERENCE
from .risk import risk_map


def compute_risk(enhanced: Volume, acquired: Volume) -> tuple[Volume, dict[str, Any]]:
    """The risk maps as the image of a volume, in noise units, and one record per contrast (docs/methods/metrics.md).

    Parameters
    ----------
    enhanced : the output that is checked
    acquired : the low-field session with stacks, mask and tissue
    """
    if acquired.tissue is None or acquired.mask is None:
        raise ValueError("a risk map needs the mask and tissue posteriors of the acquired session")
    image, records = np.zeros_like(enhanced.image), {}
    for contrast in acquired.contrasts:
        risk, records[contrast] = risk_map(
            enhanced.channel(contrast), acquired.stacks_of(contrast), acquired.tissue, acquired.mask, acquired.grid
        )
        image[CONTRASTS.index(contrast)] = risk
    return replace(enhanced, image=image), records


def compute_expected_error(std: Volume, risk: Volume, records: Mapping[str, Any], mask: np.ndarray) -> Volume:
    """The expected absolute error of every contrast, in the units of the image, as the image of a volume.

    ``std`` is the calibrated standard deviation of the error, ``risk`` and ``records`` as of ``compute_risk``; ``mask``
    (X, Y, Z) bool, brain.
    """
    image = np.zeros_like(std.image)
    for contrast, record in records.items():
        unit = float(np.mean([stack["NoiseUnit"] for stack in record["Stacks"]] or [0.0]))
        cycle = unit * risk.channel(contrast)
        image[CONTRASTS.index(contrast)] = expected_error(std.channel(contrast), cycle, mask, std.grid)
    return replace(std, image=image)


def evaluate_session(
    images: Mapping[str, Volume], reference: Volume, mask: np.ndarray, protocols: Sequence[str] = tuple(PROTOCOLS)
) -> list[dict[str, Any]]:
    """Rows (contrast, image, region, protocol, metric, value) of every image against high field, the baseline first.

    Parameters
    ----------
    images : name of each image ("preproc", then the method's) → its volume
    reference : the high field on the same grid; contrasts it lacks are not evaluated
    mask : (X, Y, Z) bool, brain
    protocols : those wanted
    """
    zooms = reference.grid.zooms
    return [
        {"contrast": contrast, "image": name, **row}
        for contrast in reference.contrasts
        for name, volume in images.items()
        if contrast in volume.contrasts
        for row in image_metrics(volume.channel(contrast), reference.channel(contrast), mask, zooms, protocols)
    ]


Labels = Mapping[str, np.ndarray]
"""Label image (X, Y, Z) uint8 by contrast."""


def compute_overlap(
    images: Mapping[str, Labels],
    reference: Labels,
    rows: Mapping[str, list[dict[str, Any]]],
    seg: str,
    seen: Mapping[str, np.ndarray] | None = None,
) -> list[dict[str, Any]]:
    """Rows as those of ``evaluate_session``: agreement of every structure of one segmentation with that of high field.

    Parameters
    ----------
    images : name of each image → its labels, all on the grid of ``reference``
    reference : labels of the high field; contrasts it lacks are not evaluated
    rows : a table of volumes by contrast, from which labels have their names
    seg : what the segmentation is called in file names
    seen : by contrast where the scans of the session saw anything, (X, Y, Z) bool; what they cut has no agreement
    """
    return [
        {"contrast": contrast, "image": name, "protocol": f"seg-{seg}", **row}
        for contrast, truth in reference.items()
        for name, labels in images.items()
        if contrast in labels
        for row in _rows(labels[contrast], truth, rows[contrast], (seen or {}).get(contrast))
    ]


def _rows(
    labels: np.ndarray, truth: np.ndarray, rows: list[dict[str, Any]], seen: np.ndarray | None
) -> Iterator[dict[str, Any]]:
    cut = () if seen is None else cut_labels(truth, seen)
    for region, found in agreements(labels, truth, _structures(rows), cut).items():
        yield {"region": region, "metric": DICE, "value": found.dice}
        yield {"region": region, "metric": VOLUME_DIFFERENCE, "value": found.volume_difference}


def _structures(rows: list[dict[str, Any]]) -> dict[str, tuple[int, ...]]:
    return structures({int(row["index"]): str(row["name"]) for row in rows if row["index"] is not None})
