"""The plan as text: one line a session, then warnings."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..config import CONTRASTS
from .field_strength import read_field_strength
from .scans import Scan, shorten

if TYPE_CHECKING:
    from .highfield import SimulationPlan
    from .sessions import LowFieldSession, Plan

_IDENTIFYING = re.compile(r"\S*sub-\S*|\d[\d.]*")
"""Parts of a sentence in which two sessions with the same trouble differ: file names and figures."""


def describe(plan: "Plan") -> str:
    """The text of ``--dry-run``: a table of sessions, the totals, what is skipped, or to be warned of."""
    parts = [_totals(plan)]
    if plan.sessions:
        parts.append(_table(plan.sessions))
    parts += [
        section(
            "No high-field reference",
            [(session.name, "no metrics.") for session in plan.sessions if not session.paired],
        ),
    ]
    return plan_text(plan, *parts)


def plan_text(plan: "Plan | SimulationPlan", *parts: str) -> str:
    """The text of a plan: the parts, then what is skipped, what cannot be processed, and warnings, where any."""
    ends = (
        section("Skipped", [(f"sub-{subject}", reason) for subject, reason in plan.skipped]),
        section("Cannot be processed", [(f"sub-{subject}", reason) for subject, reason in plan.failed]),
        section("Warnings", _warnings(plan)),
    )
    return "\n\n".join(part for part in (*parts, *ends) if part) + "\n"


def all_warnings(plan: "Plan") -> list[str]:
    """The warnings about the dataset and its sessions; similar sentences merged into one."""
    return alike(_warnings(plan))


def _warnings(plan: "Plan | SimulationPlan") -> list[tuple[str, str]]:
    of_sessions = [(session.name, sentence) for session in plan.sessions for sentence in session.warnings]
    return [*(("", sentence) for sentence in plan.warnings), *of_sessions]


def _totals(plan: "Plan") -> str:
    """One line of counts; what there is none of is not mentioned."""
    stacks = sum(len(session.stacks) for session in plan.sessions)
    references = {scan.path for session in plan.sessions for scan in session.reference}
    counts = [
        plural(len(plan.subjects), "subject"),
        plural(len(plan.sessions), "low-field session"),
        f"{sum(session.paired for session in plan.sessions)} paired with high field",
        plural(stacks, "low-field stack"),
        plural(len(references), "high-field image"),
    ]
    rest = ((plan.skipped, "skipped"), (plan.failed, "cannot be processed"))
    counts += [f"{plural(len(group), 'subject')} {word}" for group, word in rest if group]
    return "Plan: " + " · ".join(counts)


def plural(count: int, noun: str) -> str:
    """A number of things.

    >>> plural(1, "stack"), plural(2, "stack")
    ('1 stack', '2 stacks')
    """
    return f"{count} {noun}" + "s" * (count != 1)


def _table(sessions: Sequence["LowFieldSession"]) -> str:
    """One line a session: stacks per contrast, field, reference, what is missing."""
    contrasts = [name for name in CONTRASTS if any(name in session.contrasts for session in sessions)]
    with_sessions = any(session.session for session in sessions)
    missing = ["missing"] if any(session.missing for session in sessions) else []
    head = ["subject", *(["session"] if with_sessions else []), *contrasts, "field", "reference", *missing]
    rows, last = [head], None
    for session in sessions:
        row = ["" if session.subject == last else f"sub-{session.subject}"]
        row += [session.session or "-"] if with_sessions else []
        row += [_stacks([scan for scan in session.stacks if scan.contrast == name]) for name in contrasts]
        rows.append([*row, _field(session), _reference(session), *([shorten(session.missing, 6)] if missing else [])])
        last = session.subject
    return plain_table(rows)


def plain_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns, a rule under the first."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ruled = [rows[0], ["─" * width for width in widths], *rows[1:]]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in ruled
    )


def _stacks(scans: Sequence[Scan]) -> str:
    """Labels of the stacks of one contrast: ``axi cor sag iso``; a dash where there is none."""
    labels = []
    for scan in scans:
        rest = [value if key == "acq" else f"{key}-{value}" for key, value in scan.entities.items()]
        labels.append("_".join(rest[1 + ("ses" in scan.entities) :]) or "1")
    return " ".join(labels) or "-"


def _field(session: "LowFieldSession") -> str:
    """Field strength of the session, and what a sidecar says against it."""
    against = [reading.contradicted_by for scan in session.stacks if (reading := read_field_strength(scan.sidecar))]
    values = dict.fromkeys(f"{other[1]:.3g}" for other in against if other)
    used = f"{session.field_strength:.3g} T"
    return f"{used} (not {', '.join(values)})" if values else used


def _reference(session: "LowFieldSession") -> str:
    if not session.paired:
        return "-"
    contrasts = " ".join(scan.contrast for scan in session.reference)
    return f"{session.reference_session}: {contrasts}" if session.reference_session else contrasts


def section(title: str, entries: Sequence[tuple[str, str]]) -> str:
    """A titled list; sentences that differ only in names and figures are merged into one with all subjects."""
    lines = alike(entries)
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines)]) if lines else ""


def merged(sentences: Sequence[str]) -> list[str]:
    """Sentences, those that differ only in names and figures merged into one."""
    return alike([("", sentence) for sentence in sentences])


def alike(entries: Sequence[tuple[str, str]]) -> list[str]:
    """One line for each group of (whose, sentence) that differ in names and numbers only, with whose they are."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for owner, sentence in entries:
        groups.setdefault(_IDENTIFYING.sub("#", sentence), []).append((owner, sentence))
    return [_line(group) for group in groups.values()]


def _line(group: Sequence[tuple[str, str]]) -> str:
    owners = [owner for owner, _ in group]
    sentence = group[0][1]
    if len(group) == 1:
        return f"{owners[0]}: {sentence}" if owners[0] else sentence
    if not owners[0]:
        return f"{sentence} Likewise {plural(len(group) - 1, 'other')}."
    if len({text for _, text in group}) > 1:
        return f"{owners[0]}: {sentence} Likewise {plural(len(owners) - 1, 'other')}: {shorten(owners[1:], 3)}."
    return f"{sentence.rstrip('.')} - {len(owners)} in all: {shorten(owners, 4)}."
