"""The one table of thresholds by which ``usable.judge`` says what an image may be used for."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PURPOSES = {"look": "to look at", "segment": "to segment", "measure": "to measure volumes"}
"""What an image may be used for, from the least to the most demanding, and in words."""

Record = Mapping[str, Any]
Read = Callable[[Record], Iterator[tuple[str, Any]]]
Limits = tuple[float, float]


@dataclass(frozen=True)
class Threshold:
    """One row of the table.

    ``read(record)`` yields (of what, value or None where not measured); a value in the closed interval ``yes`` speaks
    for the ``purposes``, one in ``check`` asks for a look, beyond it is no. ``needed``: not measured is a ``check``.
    """

    quantity: str
    unit: str
    purposes: tuple[str, ...]
    yes: Limits
    check: Limits
    why: str
    read: Read
    needed: bool = True


def explained(reasons: Iterable[str]) -> list[tuple[str, str]]:
    """(Quantity, why its limits are what they are) of each threshold that the reasons of a verdict name."""
    text = list(reasons)
    return [(row.quantity, row.why) for row in THRESHOLDS if any(f": {row.quantity} " in reason for reason in text)]


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    return float(value) if known else None


def _of_scans(key: str, factor: float = 1) -> Read:
    def read(record: Record) -> Iterator[tuple[str, Any]]:
        for scan in record.get("Scans") or [{}]:
            value = _number(scan.get(key))
            yield str(scan.get("File", "")).split(".nii")[0], None if value is None else factor * value

    return read


def _voxel_of_scans(record: Record) -> Iterator[tuple[str, Any]]:
    for scan in record.get("Scans") or [{}]:
        zooms = [_number(zoom) for zoom in scan.get("Zooms") or ()]
        known = len(zooms) == 3 and None not in zooms
        yield str(scan.get("File", "")).split(".nii")[0], math.prod(zooms) if known else None


def _of(part: str, key: str, factor: float = 1) -> Read:
    def read(record: Record) -> Iterator[tuple[str, Any]]:
        value = _number((record.get(part) or {}).get(key))
        yield "", None if value is None else factor * value

    return read


def _loss(key: str, sign: int) -> Read:
    """How much worse the enhanced image is than the plain mean; ``sign`` 1 where more is better."""

    def read(record: Record) -> Iterator[tuple[str, Any]]:
        pair = (record.get("Fidelity") or {}).get(key) or (None, None)
        before, after = (_number(value) for value in pair)
        yield "", None if before is None or after is None else sign * (before - after)

    return read


def _enhanced(key: str, which: int = 1) -> Read:
    def read(record: Record) -> Iterator[tuple[str, Any]]:
        yield "", _number(((record.get("Fidelity") or {}).get(key) or (None, None))[which])

    return read


def _similarity(across: bool) -> Read:
    def read(record: Record) -> Iterator[tuple[str, Any]]:
        place = record.get("Alignment") or {}
        yield "", _number(place.get("Similarity")) if place.get("Across") is across else None

    return read


INF = float("inf")
ALL, LABELS, VOLUMES = tuple(PURPOSES), ("segment", "measure"), ("measure",)

_LIMITS: tuple[tuple[str, str, tuple[str, ...], Limits, Limits, Read, bool], ...] = (
    ("SNR", "", ALL, (8, 60), (3, INF), _of_scans("SNR"), True),
    ("rotation", "°", ALL, (0, 10), (0, 30), _of_scans("RotationDeg"), True),
    ("voxel", " mm³", ALL, (2.5, INF), (0, INF), _voxel_of_scans, False),
    ("head at the highest intensity", " %", ALL, (0, 0.5), (0, 40), _of_scans("Clipped", 100), False),
    ("ghosts", " %", ALL, (0, 3), (0, INF), _of_scans("Ghosts", 100), False),
    ("alternation of the slices", "", ALL, (0, 0.75), (0, INF), _of_scans("Alternation"), False),
    ("shift", " mm", ALL, (0, 10), (0, 30), _of_scans("TranslationMm"), True),
    ("agreement of the stacks", "", ALL, (0.5, 1), (0.1, 1), _of_scans("Similarity"), False),
    ("coverage by a scan", " %", ALL, (90, 100), (30, 100), _of_scans("Coverage", 100), True),
    ("brain in the field of view", " %", ALL, (98, 100), (50, 100), _of("Coverage", "Brain", 100), True),
    (
        "brain in the field of view, for volumes",
        " %",
        VOLUMES,
        (98, 100),
        (90, 100),
        _of("Coverage", "Brain", 100),
        True,
    ),
    ("brain on a face of the field of view", " cm²", ALL, (0, 2.5), (0, INF), _of("Coverage", "OnFaceCm2"), True),
    (
        "brain in the field of view of high field",
        " %",
        ALL,
        (98, 100),
        (50, 100),
        _of("Anatomy", "BrainShown", 100),
        False,
    ),
    ("coarsest direction", " mm", LABELS, (0, 4), (0, 10), _of("Session", "CoarsestMm"), True),
    ("brain mask", " mL", ALL, (900, 1900), (250, 2500), _of("Anatomy", "MaskVolumeMl"), True),
    ("fit of the template", "", ALL, (0.6, 1), (0.2, 1), _of("Anatomy", "TemplateCorrelation"), False),
    ("similarity to high field", "", ALL, (0.5, 1), (0.3, 1), _similarity(False), False),
    ("similarity to the other contrast", "", ALL, (0.3, 1), (0.05, 1), _similarity(True), False),
    ("correlation with high field", "", ALL, (0.5, 1), (0.2, 1), _enhanced("NCC", 0), False),
    ("correlation with the low field", "", ALL, (0.7, 1), (0.3, 1), _of("Image", "CorrelationWithLowField"), False),
    ("standard deviation of the error", " %", ALL, (0, 25), (0, 60), _of("Image", "ErrorStdPercent"), False),
    ("brain above the risk threshold", " %", ALL, (0, 2), (0, 25), _of("Risk", "FractionAbove", 100), True),
    ("brain that some scan saw", " %", ALL, (98, 100), (60, 100), _of("Risk", "FractionSeen", 100), True),
    ("loss of SSIM", "", ALL, (-INF, 0.005), (-INF, 0.1), _loss("SSIM", 1), False),
    ("loss of PSNR", " dB", ALL, (-INF, 0.1), (-INF, 3), _loss("PSNR", 1), False),
    ("loss of edges", "", ALL, (-INF, 0.02), (-INF, 0.4), _loss("Edges", 1), False),
    ("loss of detail", "", ALL, (-INF, 0.05), (-INF, 0.7), _loss("Spectrum", -1), False),
    ("loss of Dice", "", LABELS, (-INF, 0.005), (-INF, 0.05), _loss("Dice", 1), False),
    ("mean volume error", " %", VOLUMES, (0, 5), (0, 15), _enhanced("VolumeError"), False),
    ("90th percentile of the volume errors", " %", VOLUMES, (0, 8), (0, 30), _enhanced("VolumeErrorP90"), False),
    ("rise of the volume error", " points", VOLUMES, (-INF, 1), (-INF, 10), _loss("VolumeError", -1), False),
)
"""Quantity, unit, purposes, yes, check, how it is read, whether it is needed."""

_WHY = {
    "SNR": (
        "of each scan; 64 mT reaches 10 to 20; below 3 the Rician floor shifts every mean by more than 5 %, above 60 "
        "the noise was smoothed away before we saw it"
    ),
    "rotation": (
        "between stacks; registration is tested to 10°, beyond 30° it has more likely failed than the head turned"
    ),
    "voxel": (
        "of each scan; low field acquires 5 to 13; a smaller one was interpolated or enhanced, or is of high field"
    ),
    "head at the highest intensity": (
        "of each scan; voxels within 1 % of the largest; without clipping they are fewer than .01 %"
    ),
    "ghosts": "of each scan; signal in the air beside the head along one axis, over that of the head: the head moved",
    "alternation of the slices": (
        "of each thick stack; power of what alternates from slice to slice over that of what repeats every third: of "
        "anatomy .3 to .6, from .9 where the head moved by 4 mm and 5° between odd and even slices"
    ),
    "shift": "between stacks; the same to 10 mm",
    "agreement of the stacks": (
        "of each with the first of its contrast, share of variance explained; that of aligned stacks is above .9"
    ),
    "coverage by a scan": "of the brain that the template expects; what one scan misses is left to the others",
    "brain in the field of view": "of the brain that the template expects, all scans together",
    "brain in the field of view, for volumes": "volumes of what is cut are n/a",
    "brain on a face of the field of view": (
        "where the mask ends there, the brain most likely goes on: a vertex cut by 3 mm has 13, whole heads to 1.2"
    ),
    "brain in the field of view of high field": (
        "of the brain that the template expects; the brain mask is that of high field, and ends where it is cut"
    ),
    "coarsest direction": (
        "voxel size along the axis that no stack resolves better: with one thick stack deep structures were found with "
        "a Dice of .84 and .80 in the enhanced image, .84 and .83 at high field (docs/results.md)"
    ),
    "brain mask": "adult intracranial volume is 1000 to 1800 mL, 250 is a newborn's",
    "fit of the template": (
        "correlation; the mask is found by warping a template to the head, which may have gone wrong below .6"
    ),
    "similarity to high field": (
        "of the aligned low field of the same contrast, share of variance explained: .91 to .93 of the demo, .43 "
        "upside down"
    ),
    "similarity to the other contrast": "where it was aligned to an image of another contrast",
    "correlation with the low field": (
        "of the enhanced image, in the brain: .92 to .97 of the demo by several methods; a flat image has 0, one with "
        "inverted tissue contrast is below 0"
    ),
    "correlation with high field": (
        "of the plain mean, inside the brain: the same head, the right way up, in the same contrast; .15 upside down"
    ),
    "standard deviation of the error": (
        "median over the range of the brain, 5th to 95th percentile; good simulated sessions have 9 to 21 %; in FLAIR "
        "it is not calibrated"
    ),
    "brain above the risk threshold": (
        "well aligned simulated stacks stay below .5 %, stacks misaligned by 2 mm and 2° reach 5 %"
    ),
    "brain that some scan saw": "elsewhere nothing can be checked",
    "loss of SSIM": "against the plain mean",
    "loss of PSNR": "against the plain mean",
    "loss of edges": "F1 of the edges of high field, plain mean minus enhanced",
    "loss of detail": (
        "mean |ln| of the power over that of high field in the bands up to .3 /mm, enhanced minus plain mean"
    ),
    "loss of Dice": "mean over the structures, plain mean minus enhanced",
    "mean volume error": "over the structures, against high field",
    "90th percentile of the volume errors": (
        "nine in ten structures (left and right as one) stay below it, against high field"
    ),
    "rise of the volume error": "mean volume error, enhanced minus plain mean",
}
"""Why the limits of a quantity are what they are."""

THRESHOLDS: tuple[Threshold, ...] = tuple(
    Threshold(quantity, unit, purposes, yes, check, _WHY[quantity], read, needed)
    for quantity, unit, purposes, yes, check, read, needed in _LIMITS
)
"""The table of thresholds, printed in docs/metrics.md."""


def table() -> str:
    """The thresholds as a table of Markdown, as docs/metrics.md has it."""
    lines = ["| quantity | applies to | yes | check | why |", "|---|---|---|---|---|"]
    for row in THRESHOLDS:
        limits = " | ".join(_range(low, high, row.unit) for low, high in (row.yes, row.check))
        purposes = "all" if row.purposes == ALL else ", ".join(row.purposes)
        lines.append(f"| {row.quantity} | {purposes} | {limits} | {row.why} |")
    return "\n".join(lines)


def _range(low: float, high: float, unit: str) -> str:
    if high == INF:
        return f"from {low:g}{unit}"
    return f"to {high:g}{unit}" if low in (0, -INF) else f"{low:g} to {high:g}{unit}"
