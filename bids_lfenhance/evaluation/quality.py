"""A verdict on one session: pass, review (the software abstains: look at the images) or fail.

A session passes only if everything was measured and every figure is good. What was not measured, or lies where the
software was never tested, is for a person to judge; it fails only where the output can hardly mean anything.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Named = Iterator[tuple[str, float | None]]
PASS, REVIEW, FAIL = "pass", "review", "fail"


@dataclass(frozen=True)
class Check:
    """One row of the table of thresholds.

    ``read(record)`` yields (what, value or None where not measured); a value inside ``good`` passes, inside ``usable``
    is for review, beyond fails; both are closed intervals in ``unit``. ``needed``: if absent, the verdict is review.
    ``reason`` says where the limits come from.
    """

    name: str
    unit: str
    good: tuple[float, float]
    usable: tuple[float, float]
    reason: str
    read: Callable[[Mapping[str, Any]], Named]
    needed: bool = True


def _number(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    return float(value) if number else None


def _scans(key: str) -> Callable[[Mapping[str, Any]], Named]:
    def read(record: Mapping[str, Any]) -> Named:
        scans: Sequence[Mapping[str, Any]] = record.get("Scans") or [{}]
        for scan in scans:
            yield str(scan.get("File", "the session")), _number(scan.get(key))

    return read


def _risk(key: str) -> Callable[[Mapping[str, Any]], Named]:
    def read(record: Mapping[str, Any]) -> Named:
        risks: Mapping[str, Mapping[str, Any]] = record.get("Risk") or {"the session": {}}
        for contrast, risk in risks.items():
            yield contrast, _number(risk.get(key))

    return read


def _anatomy(key: str) -> Callable[[Mapping[str, Any]], Named]:
    def read(record: Mapping[str, Any]) -> Named:
        yield "the session", _number((record.get("Anatomy") or {}).get(key))

    return read


INF = float("inf")

CHECKS: tuple[Check, ...] = (
    Check(
        "signal-to-noise ratio",
        "",
        (8, 60),
        (3, INF),
        "64 mT scans reach 10 to 20; below 3 the Rician floor shifts every mean by more than 5 %, "
        "above 60 the noise was smoothed away before we saw it",
        _scans("SNR"),
    ),
    Check(
        "rotation between stacks",
        "°",
        (0, 10),
        (0, 30),
        "registration is tested to 10°; beyond 30° it has more likely failed than the head turned",
        _scans("RotationDeg"),
    ),
    Check(
        "shift between stacks",
        " mm",
        (0, 10),
        (0, 30),
        "registration is tested to 10 mm; beyond 30 mm it has more likely failed than the head moved",
        _scans("TranslationMm"),
    ),
    Check(
        "coverage of the brain",
        "",
        (0.9, 1),
        (0.5, 1),
        "what one stack misses is left to the others, and to nobody where they miss it too",
        _scans("Coverage"),
    ),
    Check(
        "similarity after alignment",
        "",
        (0.2, 1),
        (0.05, 1),
        "share of variance explained: aligned contrasts explain a fifth of one another, stacks of one contrast more",
        _scans("Similarity"),
        needed=False,
    ),
    Check(
        "volume of the brain mask",
        " mL",
        (900, 1900),
        (250, 2500),
        "adult intracranial volume is 1000 to 1800 mL; 250 is a newborn's, so small heads are for review",
        _anatomy("MaskVolumeMl"),
    ),
    Check(
        "correlation with the template",
        "",
        (0.6, 1),
        (0.2, 1),
        "the mask is found by warping a template to the head: below 0.6 that may have gone wrong",
        _anatomy("TemplateCorrelation"),
        needed=False,
    ),
    Check(
        "share of the brain above the risk threshold",
        "",
        (0, 0.02),
        (0, 0.25),
        "well aligned simulated stacks stay below 0.5 %; stacks misaligned by 2 mm and 2° reach 5 %",
        _risk("FractionAbove"),
    ),
    Check(
        "share of the brain that the risk map sees",
        "",
        (0.98, 1),
        (0.6, 1),
        "where no stack saw the brain, nothing can be checked",
        _risk("FractionSeen"),
    ),
)
"""The table of thresholds, printed in docs/metrics.md."""


def verdict(record: Mapping[str, Any], checks: Sequence[Check] = CHECKS) -> tuple[str, list[str]]:
    """("pass" | "review" | "fail", reasons: sentences, the gravest first; none for a pass).

    ``record`` is the session's QC record (``…_qc.json``): ``Scans``, ``Anatomy``, ``Risk``. Anything absent, null or
    NaN is "not measured".

    >>> verdict({})[0]
    'review'
    """
    failed, open_questions = [], []
    for check in checks:
        for what, value in check.read(record):
            if value is None:
                if check.needed:
                    open_questions.append(f"{check.name} of {what} was not measured")
            elif not _within(value, check.usable):
                failed.append(_sentence(check, what, value, check.usable))
            elif not _within(value, check.good):
                open_questions.append(_sentence(check, what, value, check.good))
    return (FAIL if failed else REVIEW if open_questions else PASS), failed + open_questions


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def _sentence(check: Check, what: str, value: float, limits: tuple[float, float]) -> str:
    low, high = limits
    wanted = f"at least {low:g}" if value < low else f"at most {high:g}"
    return f"{check.name} of {what} is {value:.3g}{check.unit}, {wanted}{check.unit} is wanted: {check.reason}"
