"""A few sentences on each image: whether it is usable, what improved, where not to trust it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..evaluation.evidence import volume_errors
from ..evaluation.protocols import PRIMARY
from ..evaluation.thresholds import PURPOSES
from ..evaluation.usable import WORDS, YES, Usable
from .collect import Session
from .session_figures import SessionFigures
from .tables import MetricRow, metric_name, metric_rows, number, signed
from .usable import Judged

SUMMARY_METRICS = ("psnr", "ssim", "edge_f1", "mae", "ncc", "nmse")
"""Metrics in the order in which they are shown; the first four that are there stand open, the others are folded."""

IN_SENTENCE = ("psnr", "ssim", "edge_f1")
"""Metrics that the sentence names."""

NOTABLE_SHARE = 1e-4
"""Share of the brain that contradicts the scans from which the sentence speaks of it."""


@dataclass(frozen=True)
class ImageSummary:
    """An image and its verdict in sentences."""

    image: Judged
    usable: str
    improved: str
    doubt: str


def summary_of(session: Session, image: Judged, figures: SessionFigures) -> ImageSummary:
    """The sentences of an image."""
    sentences = (
        usable_sentence(image.usable),
        improved_sentence(session, image, figures),
        doubt_sentence(session, image, figures),
    )
    return ImageSummary(image, *sentences)


def usable_sentence(usable: Usable) -> str:
    """Purposes by verdict, and the gravest reason.

    >>> usable_sentence(Usable("yes", "yes", "check", ("check to measure volumes: mean volume error 10.4 %",)))
    'To look at and to segment: yes. To measure volumes: check first (mean volume error 10.4 %).'
    """
    purposes = {word: [PURPOSES[p] for p, verdict in usable.words.items() if verdict == word] for word in WORDS}
    reason = next((text.partition(": ")[2] for text in usable.reasons if text.startswith(("no", "check"))), "")
    parts = []
    for word in (word for word in WORDS if purposes[word]):
        who = _listed(purposes[word]) if len(purposes[word]) < len(PURPOSES) else "for every purpose"
        says = word if word != "check" else "check first"
        parts.append(f"{who[:1].upper()}{who[1:]}: {says}")
    parts[-1] += f" ({reason})" if reason and usable.overall != YES else ""
    hidden = [] if usable.verified else ["There is no high field to verify it with"]
    return ". ".join([*parts, *hidden]) + "."


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def shown_rows(session: Session) -> list[MetricRow]:
    """The four metrics of each contrast that stand open: inside the brain, by the primary protocol."""
    rows = [row for row in metric_rows(session, PRIMARY) if row.region == "brain" and row.metric in SUMMARY_METRICS]
    rows.sort(key=lambda row: SUMMARY_METRICS.index(row.metric))
    contrasts = dict.fromkeys(row.contrast for row in metric_rows(session, PRIMARY))
    return [row for contrast in contrasts for row in [one for one in rows if one.contrast == contrast][:4]]


def improved_sentence(session: Session, image: Judged, figures: SessionFigures) -> str:
    """The open metrics from the plain mean to the image; without high field how much was changed, and no more."""
    pairs = [
        (row, result)
        for row in shown_rows(session)
        if row.contrast == image.contrast and row.metric in IN_SENTENCE
        for result in row.results
        if result.label == image.label and result.judged
    ]
    if pairs:
        changes = [
            f"{metric_name(row.metric)} {_short(row.baseline)} → {_short(result.value)} {row.unit}".strip()
            for row, result in pairs
        ]
        tally = _tally([result.judged for _, result in pairs])
        return f"Against high field, from the plain mean of the scans to this: {', '.join(changes)}; {tally}."
    change = figures.scale(image.contrast, image.label, "Change")
    if not change:
        return "Not known: there is neither high field nor a map of what was changed."
    return (
        f"Not known without high field. Half of the brain was changed by more than {number(change['median'], 2)} % of "
        "the median brain intensity, beyond brightness and contrast."
    )


def doubt_sentence(session: Session, image: Judged, figures: SessionFigures) -> str:
    """Where the expected error is largest, which volumes are off, what the scans contradict or did not record."""
    error = figures.scale(image.contrast, image.label, "Error")
    weakest = figures.weakest.get((image.contrast, image.label), [])
    risk = figures.scale(image.contrast, image.label, "Risk").get("about", {})
    parts = []
    if weakest:
        named = ", ".join(f"{name} ({number(value, 2)} %)" for name, value in weakest)
        parts.append(
            f"Least sure, by expected error in % of the median brain intensity: {named}; median over the brain "
            f"{number(error['median'], 2)} %"
        )
    elif error:
        parts.append(
            f"Where the map of the expected error is bright; median over the brain {number(error['median'], 2)} %"
        )
    if off := largest_volume_errors(session, image):
        parts.append(f"Volumes farthest from high field: {off}")
    share = risk.get("FractionAbove")
    if isinstance(share, int | float) and math.isfinite(share):
        some = (
            f"{number(100 * share, 2)} % of the brain contradicts" if share > NOTABLE_SHARE else "Nothing contradicts"
        )
        parts.append(f"{some} the scans (risk map)")
    if finest := finest_detail(risk):
        parts.append(f"Detail finer than {finest} mm was not recorded")
    if not (weakest or error or risk):
        parts.append("There is no map that says it: do not trust detail anywhere")
    return ". ".join(parts) + "."


def largest_volume_errors(session: Session, image: Judged, count: int = 3) -> str:
    """The structures whose volumes are farthest from those of high field, the worst first; nothing without it."""
    errors = volume_errors(session.metrics, image.contrast, image.label)
    worst = sorted(errors.items(), key=lambda item: -abs(item[1]))[:count]
    return ", ".join(f"{name} ({signed(round(value), 2)} %)" for name, value in worst if round(value))


def _tally(words: list[str]) -> str:
    """What most metrics say, in a few words.

    >>> _tally(["better", "better", "better"]), _tally(["better", "worse", "better"]), _tally(["even"])
    ('all better', 'better in 2, worse in 1', 'even')
    """
    if len(set(words)) == 1:
        return {1: "", 2: "both "}.get(len(words), "all ") + words[0]
    return ", ".join(f"{word} in {words.count(word)}" for word in ("better", "even", "worse") if word in words)


def _short(figure: str) -> str:
    """A figure of a table in three digits behind the point at most.

    >>> _short("0.6597"), _short("22.88")
    ('0.660', '22.88')
    """
    return f"{float(figure):.3f}" if figure.startswith("0.") else figure


def finest_detail(risk: Mapping[str, Any]) -> str | None:
    """Width in mm of the finest structure that the scans recorded along their worst axis, as text.

    >>> finest_detail({"BandLimit": {"x": 0.25, "y": 0.25, "z": 0.2}})
    '2.5'
    """
    limits = risk.get("BandLimit")
    known = [f for f in limits.values() if isinstance(f, int | float) and f > 0] if isinstance(limits, Mapping) else []
    return f"{1 / (2 * min(known)):.1f}" if known else None
