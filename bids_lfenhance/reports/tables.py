"""Rows of the page's tables: figures as they stand in the derivative, beside the baseline, judged in words."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..config import TISSUES
from ..evaluation.metric_definitions import DICE, METRICS
from ..evaluation.protocols import PRIMARY
from .collect import Channel, SegmentationOutputs, Session

HEADLINE = ("psnr", "ssim")
"""Metrics whose loss against the plain mean is reported at the top."""

_PLANES = {"axi": "axial", "cor": "coronal", "sag": "sagittal", "iso": "isotropic"}
_EVEN = 0.002
"""A change below this share of the baseline is called even."""


@dataclass(frozen=True)
class Compared:
    """One figure of one result beside the baseline; ``judged``: better, worse, even, or nothing (no score)."""

    label: str
    value: str
    change: str
    judged: str


@dataclass(frozen=True)
class MetricRow:
    """One metric in one region: the baseline, then every result."""

    contrast: str
    region: str
    metric: str
    unit: str
    sense: str
    baseline: str
    results: tuple[Compared, ...]


def number(value: Any, digits: int = 3) -> str:
    """A figure as it is printed: ``digits`` significant digits (whole numbers kept whole), a dash for none.

    >>> [number(v) for v in (22.531, 0.0501, 1502.3, 99.99, -0.0000251, None, float("inf"))]
    ['22.5', '0.0501', '1502', '100', '−0.0000251', '–', '∞']
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
        return "–" if value is None or isinstance(value, float) else str(value)
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) >= 10 ** (digits - 1) or value == int(value):
        return f"{value:.0f}".replace("-", "−")
    if abs(value) < 1e-4:
        return f"{value:.{digits - 1 - math.floor(math.log10(abs(value)))}f}".replace("-", "−")
    return f"{value:#.{digits}g}".removesuffix(".").replace("-", "−")  # 99.99 is rounded to "100."


def percent(fraction: float) -> str:
    """A share of the brain in %, with a sensible number of digits.

    >>> percent(6.2e-7), percent(0.0137), percent(0.0)
    ('less than 0.01', '1.4', '0')
    """
    return "less than 0.01" if 0 < fraction < 1e-4 else number(100 * fraction, 2)


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign."""
    return "±0" if value == 0 else number(value, digits) if value < 0 else f"+{number(value, digits)}"


def scan_rows(session: Session) -> list[dict[str, str]]:
    """One row per scan that was found."""
    return [_scan_row(scan) for scan in session.scans]


def _scan_row(scan: Mapping[str, Any]) -> dict[str, str]:
    """What the page says of one scan, as text."""
    zooms = scan.get("Zooms")
    size = " × ".join(number(z, 2) for z in zooms) if isinstance(zooms, Sequence) and zooms else "–"
    coverage = scan.get("Coverage")
    return {
        "file": str(scan.get("File", "–")).rsplit("/", 1)[-1],
        "contrast": str(scan.get("Contrast", "–")),
        "plane": plane_name(scan.get("Plane")),
        "zooms": size,
        "field": field_strength(scan.get("FieldStrength")),
        "snr": number(scan.get("SNR")),
        "rotation": number(scan.get("RotationDeg"), 2),
        "translation": number(scan.get("TranslationMm"), 2),
        "coverage": f"{100 * coverage:.0f} %" if isinstance(coverage, int | float) else "–",
    }


def plane_name(plane: Any) -> str:
    """The plane of a scan as text.

    >>> plane_name("axi"), plane_name(None)
    ('axial', '–')
    """
    return _PLANES.get(str(plane), str(plane or "–"))


def field_strength(tesla: Any) -> str:
    """Field strength as text.

    >>> field_strength(0.0635), field_strength(3.0)
    ('64 mT', '3 T')
    """
    if not isinstance(tesla, int | float):
        return "–"
    return f"{1000 * tesla:.0f} mT" if tesla < 1 else f"{tesla:g} T"


def volume_rows(channel: Channel, session: Session) -> list[dict[str, Any]]:
    """One row per tissue: mL in every image; difference from high field in per cent and Dice with it, where known."""
    return _rows_of(channel.tissue, channel.tissue_high, session, channel.contrast)


def region_rows(channel: Channel, session: Session) -> list[dict[str, Any]]:
    """The same for the anatomical regions, in the order of the table; ``cells`` also have their confidence."""
    return _rows_of(channel.regions, channel.regions_high, session, channel.contrast, digits=2)


def _rows_of(
    segmented: Mapping[str, SegmentationOutputs],
    high: SegmentationOutputs | None,
    session: Session,
    contrast: str,
    digits: int = 1,
) -> list[dict[str, Any]]:
    keys = (*(key for key in ("preproc",) if key in segmented), *session.labels)
    columns: list[SegmentationOutputs | None] = [segmented.get(key) for key in keys]
    reference = high.volumes if high else None
    segs = {f"seg-{tissue.segmentation}" for tissue in segmented.values()}
    dice = {
        (row["image"], row["region"]): row["value"]
        for row in session.metrics
        if row.get("metric") == DICE and row.get("contrast") == contrast and row.get("protocol") in segs
    }
    overlap = [{name: value for (image, name), value in dice.items() if image == key} for key in keys]
    listed = [name for tissue in columns if tissue for name in (*(tissue.volumes or {}), *tissue.cut)]
    names, extra = [n for n in TISSUES if n in listed], [n for n in listed if n not in TISSUES]
    pairs = list(zip(columns, overlap, strict=True))
    return [_volume_row(name, pairs, reference, digits) for name in dict.fromkeys([*names, *extra])]


def _volume_row(
    name: str,
    columns: Iterable[tuple[SegmentationOutputs | None, Mapping[str, Any]]],
    reference: Mapping[str, float] | None,
    most: int,
) -> dict[str, Any]:
    """Volumes in mL with up to ``most`` decimals, those with an error to its second digit."""
    truth = reference.get(name) if reference else None
    cells = []
    for tissue, overlap in columns:
        value = tissue.volumes.get(name) if tissue and tissue.volumes else None
        change = 100 * (value - truth) / truth if value is not None and truth else None
        dice = overlap.get(name)
        error = tissue.error.get(name) if tissue else None
        cut = tissue is not None and name in tissue.cut
        digits = min(most, max(0, 1 - math.floor(math.log10(error[0] / 1000)))) if error and error[0] > 0 else most
        parts = [f"{signed(round(change, 1), 2)} %"] if change is not None else []
        parts += [f"Dice {dice:.2f}"] if isinstance(dice, float) and math.isfinite(dice) else []
        cells.append(
            {
                "ml": "n/a" if cut else millilitres(value, digits),
                "change": ", ".join(parts),
                "error": f"± {millilitres(error[0], digits)}, {number(error[1], 2)} %" if error else "",
                "sure": number(tissue.confidence.get(name), 2) if tissue and not cut else "–",
            }
        )
    return {"name": name, "cells": cells, "high": millilitres(truth, most) if reference else None}


def lesion_rows(session: Session) -> list[dict[str, str]]:
    """One row per image with masks of lesions: their volume, and their contrast to the white matter around, in %."""
    images = [(c.contrast, label, output.sidecar) for c in session.channels for label, output in c.enhanced.items()]
    return [_lesion_row(*image) for image in images if isinstance(image[2].get("Lesions"), Mapping)]


def _lesion_row(contrast: str, label: str, sidecar: Mapping[str, Any]) -> dict[str, str]:
    found = sidecar["Lesions"]
    contrasts = {name: lesion_contrast(sidecar, name) for name in ("preproc", label, "high")}
    shares = ["–" if value is None else f"{signed(100 * value, 2)} %" for value in contrasts.values()]
    return {
        "contrast": contrast,
        "label": label,
        "masks": ", ".join(map(str, found.get("Masks") or ())),
        "ml": number(found.get("VolumeMl")),
        "count": number(found.get("Count")),
    } | dict(zip(("low", "enhanced", "high"), shares, strict=True))


def lesion_contrast(sidecar: Mapping[str, Any], image: str) -> float | None:
    """(lesions − white matter around) / white matter around, in an image, as the sidecar of the enhanced one has it."""
    found = sidecar.get("Lesions")
    contrasts = found.get("Contrast") if isinstance(found, Mapping) else None
    value = contrasts.get(image) if isinstance(contrasts, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def millilitres(cubic_mm: float | None, digits: int = 1) -> str:
    """A volume in mL, with so many decimals.

    >>> millilitres(12345.6)
    '12.3'
    """
    return "–" if cubic_mm is None else f"{cubic_mm / 1000:.{digits}f}"


def region_colour(name: str) -> str | None:
    """The colour of a region on the page's pictures, ``#rrggbb``; none of a tissue or a sum of regions."""
    from ..segmentation.regions import regions

    return next((region.colour for region in regions() if region.name == name), None)


def metric_rows(session: Session, protocol: str) -> list[MetricRow]:
    """The metrics of one protocol, in the order of the file."""
    table = {_key(row): row for row in session.metrics if row.get("protocol") == protocol}
    wanted = dict.fromkeys((c, r, m) for c, r, m, _ in table)
    return [_metric_row(table, *key, session.labels) for key in wanted]


def _key(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    contrast, region, metric, image = (str(row.get(k, "")) for k in ("contrast", "region", "metric", "image"))
    return contrast, region, metric, image


def _metric_row(table: Mapping, contrast: str, region: str, metric: str, labels: Sequence[str]) -> MetricRow:
    unit, sense = _about(metric)
    baseline = _value(table, contrast, region, metric, "preproc")
    results = []
    for label in labels:
        value = _value(table, contrast, region, metric, label)
        known = baseline is not None and value is not None and math.isfinite(baseline) and math.isfinite(value)
        change = signed(value - baseline) if known else ""  # type: ignore[operator]
        judged = verdict_of_change(metric, baseline, value) if known else ""
        results.append(Compared(label, number(value, 4), change, judged))
    return MetricRow(contrast, region, metric, unit, sense, number(baseline, 4), tuple(results))


def _value(table: Mapping, contrast: str, region: str, metric: str, image: str) -> float | None:
    value = table.get((contrast, region, metric, image), {}).get("value")
    return value if isinstance(value, float) and not math.isnan(value) else None


def _about(metric: str) -> tuple[str, str]:
    known = METRICS.get(metric)
    return (known.unit if known.unit != "1" else "", known.better) if known else ("", "none")


def verdict_of_change(metric: str, baseline: float | None, value: float | None) -> str:
    """What a change from the baseline is: "better", "worse", "even", or nothing where the metric is no score."""
    sense = _about(metric)[1]
    if sense == "none" or baseline is None or value is None:
        return ""
    if sense == "one":
        gain = abs(baseline - 1) - abs(value - 1)
    else:
        gain = (value - baseline) * (1 if sense == "higher" else -1)
    if abs(gain) <= _EVEN * abs(baseline):
        return "even"
    return "better" if gain > 0 else "worse"


def protocols(session: Session) -> list[str]:
    """The protocols there are figures of intensities for, the primary one first."""
    names = [name for row in session.metrics if not (name := str(row.get("protocol"))).startswith("seg-")]
    names = list(dict.fromkeys(names))
    return sorted(names, key=lambda name: name != PRIMARY)


_METRIC_NAMES = {
    "psnr_voxel": "PSNR per voxel",
    "edge_f1": "Edge F1",
    "wass": "Wasserstein",
    "hncc": "NCC of histograms",
    "bhat": "Bhattacharyya",
    "js": "Jensen–Shannon",
    "empty": "Empty voxels",
} | {name: name.upper() for name in ("psnr", "ssim", "mae", "nmse", "ncc", "lpips")}


def metric_name(metric: str) -> str:
    """A metric as it is written in a paper.

    >>> metric_name("psnr"), metric_name("spectrum_0.05_0.10"), metric_name("new_one")
    ('PSNR', 'Spectrum 0.05–0.10 /mm', 'New one')
    """
    if metric in _METRIC_NAMES:
        return _METRIC_NAMES[metric]
    if band := re.fullmatch(r"spectrum_([\d.]+)_([\d.]+)", metric):
        return f"Spectrum {band[1]}–{band[2]} /mm"
    words = metric.replace("_", " ")
    return f"{words[:1].upper()}{words[1:]}"


def metric_description(metric: str) -> str:
    """What a metric is, in the words of the evaluation; nothing for one it does not know."""
    return METRICS[metric].description if metric in METRICS else ""


def regressions(session: Session) -> list[str]:
    """A sentence for each headline metric, inside the brain and by the primary protocol, that is worse than before."""
    sentences = []
    for row in metric_rows(session, PRIMARY):
        if row.metric not in HEADLINE or row.region != "brain":
            continue
        unit = f" {row.unit}" if row.unit else ""
        for result in row.results:
            if result.judged == "worse":
                sentences.append(
                    f"{row.contrast}: the enhanced image ({result.label}) is worse than the plain mean, "
                    f"{metric_name(row.metric)} {result.value}{unit} against {row.baseline}{unit}."
                )
    return sentences


def band_limit(sidecar: Mapping[str, Any]) -> str | None:
    """The sentence about the detail a risk map cannot judge, from its sidecar; None where it does not say.

    ``BandLimit`` is, along each axis, the frequency f (1/mm) of which the best stack keeps half; the finest structure
    that such a wave can draw is 1/(2f) wide.
    """
    limits = sidecar.get("BandLimit")
    if not isinstance(limits, Mapping):
        return None
    words = {"x": "left–right", "y": "front–back", "z": "foot–head"}
    known = {axis: f for axis in words if isinstance(f := limits.get(axis), int | float) and f > 0}
    parts = {axis: f"{1 / (2 * f):.1f} mm ({f:.2f} cycles/mm)" for axis, f in known.items()}
    if len(parts) == 3 and len(set(parts.values())) == 1:
        return f"blind to detail finer than about {parts['x']} along every axis"
    listed = ", ".join(f"{part} along {words[axis]}" for axis, part in parts.items())
    return f"blind to detail finer than about {listed}" if listed else None
