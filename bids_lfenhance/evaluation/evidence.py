"""The evidence on one contrast of one session, read from the derivative, by which ``usable.judge`` decides."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..config import CONTRASTS
from .metric_definitions import DICE, VOLUME_DIFFERENCE
from .protocols import PRIMARY
from .sharpness import BANDS, band_names
from .structures import is_structure

FINEST_BAND = 0.3
"""Spatial frequency, cycles/mm, up to which a spectrum counts: low field is not acquired beyond it."""

SINGLE = {"SSIM": "ssim", "PSNR": "psnr", "NCC": "ncc", "Edges": "edge_f1"}

Rows = Sequence[Mapping[str, Any]]


def evidence(
    session: Mapping[str, Any], contrast: str, label: str, metrics: Rows, sidecar: Mapping[str, Any]
) -> dict[str, Any]:
    """The record that ``judge`` reads.

    Parameters
    ----------
    session : content of ``desc-preproc_qc.json``
    contrast, label : of the image that is judged
    metrics : rows of ``desc-<label>_qc.tsv``; none without high field
    sidecar : of the image: ``Sloppy``, ``Enhanced``, ``Warnings``, ``CorrelationWithLowField``; ``ErrorStdPercent``,
        ``ErrorStdCalibrated`` where its method tells its error
    """
    scans = [scan for scan in _list(session.get("Scans")) if isinstance(scan, Mapping)]
    own = [scan for scan in scans if scan.get("Contrast", contrast) == contrast]
    anatomy = _mapping(session.get("Anatomy"))
    return {
        "Scans": own,
        "Session": {"CoarsestMm": coarsest(own)},
        "Coverage": _mapping(_mapping(session.get("Coverage")).get(contrast)),
        "Anatomy": anatomy,
        "Alignment": _mapping(_mapping(session.get("Alignment")).get(contrast)),
        "Risk": _mapping(_mapping(session.get("Risk")).get(contrast)),
        "Image": sidecar,
        "Fidelity": fidelity(metrics, contrast, label),
        "Warnings": of_contrast([*_list(session.get("Warnings")), *_list(sidecar.get("Warnings"))], contrast),
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def coarsest(scans: Sequence[Mapping[str, Any]]) -> float | None:
    """Voxel size (mm) along the axis of the head that none of the scans resolves better; None where it is unknown.

    A thick stack is thick along the axis that its plane leaves out, and as fine as its other voxel sizes elsewhere.

    >>> coarsest([{"Plane": "axi", "Zooms": [1.6, 1.6, 5.0]}, {"Plane": "sag", "Zooms": [5.0, 1.6, 1.6]}])
    1.6
    """
    axes = [math.inf] * 3
    for scan in scans:
        zooms = sorted(_list(scan.get("Zooms")))
        if len(zooms) != 3 or not all(isinstance(zoom, int | float) for zoom in zooms):
            continue
        thick = {"sag": 0, "cor": 1, "axi": 2}.get(str(scan.get("Plane")))
        for axis in range(3):
            axes[axis] = min(axes[axis], zooms[2] if thick in (axis, None) else zooms[1])
    return None if math.inf in axes else float(max(axes))


def of_contrast(warnings: Iterable[Any], contrast: str) -> list[str]:
    """The warnings, each once, but for those that name only other contrasts."""
    kept = []
    for warning in dict.fromkeys(map(str, warnings)):
        named = {name for name in CONTRASTS if name in warning}
        if not named or contrast in named:
            kept.append(warning)
    return kept


def fidelity(metrics: Rows, contrast: str, label: str) -> dict[str, tuple[float, float]]:
    """(Plain mean, enhanced) against high field by figure; empty where nothing was compared.

    ``Spectrum``: mean |ln| of the ratio of power over bands; ``Dice`` and ``VolumeError`` (%, absolute) means over the
    structures of the finest segmentation, both sides together, ``VolumeErrorP90`` (%, absolute) what nine in ten of
    them stay below.
    """
    pairs = [_figures(metrics, contrast, image) for image in ("preproc", label)]
    return {name: (low, pairs[1][name]) for name, low in pairs[0].items() if math.isfinite(low + pairs[1][name])}


def volume_errors(metrics: Rows, contrast: str, image: str) -> dict[str, float]:
    """By structure of the finest segmentation, both sides together: (volume − that of high field) / that, in %."""
    values = _values(metrics, contrast, image)
    finest = _finest(values)
    return {
        region: value
        for (seg, metric, region), value in values.items()
        if (seg, metric) == (finest, VOLUME_DIFFERENCE) and is_structure(region)
    }


Values = Mapping[tuple[str, str, str], float]
"""Figures of one image by protocol, metric and region."""


def _values(metrics: Rows, contrast: str, image: str) -> Values:
    return {
        (row["protocol"], row["metric"], row["region"]): float(row["value"])
        for row in metrics
        if (row.get("contrast"), row.get("image")) == (contrast, image)
        and isinstance(row.get("value"), int | float)
        and math.isfinite(row["value"])
    }


def _finest(values: Values) -> str:
    """The segmentation with the most structures that there is overlap of."""
    names = {protocol for protocol, metric, _ in values if metric == DICE}
    return max(names, key=lambda name: (name != "seg-tissue", name), default="")


def _figures(metrics: Rows, contrast: str, image: str) -> dict[str, float]:
    """The figures of one image, NaN where unknown."""
    values = _values(metrics, contrast, image)
    brain = {metric: value for (name, metric, where), value in values.items() if (name, where) == (PRIMARY, "brain")}
    finest = _finest(values)
    dice = [v for (seg, m, name), v in values.items() if (seg, m) == (finest, DICE) and is_structure(name)]
    errors = np.abs(list(volume_errors(metrics, contrast, image).values()))
    return {
        **{name: brain.get(metric, math.nan) for name, metric in SINGLE.items()},
        "Spectrum": _spectrum(brain),
        "Dice": float(np.mean(dice)) if dice else math.nan,
        "VolumeError": float(errors.mean()) if errors.size else math.nan,
        "VolumeErrorP90": float(np.percentile(errors, 90)) if errors.size else math.nan,
    }


def _spectrum(values: Mapping[str, float]) -> float:
    names = [name for name, (_, high) in zip(band_names(), BANDS, strict=True) if high <= FINEST_BAND]
    ratios = np.array([values.get(name, math.nan) for name in names])
    return float(np.mean(np.abs(np.log(ratios)))) if (ratios > 0).all() else math.nan
