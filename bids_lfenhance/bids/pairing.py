"""Pairing: which high-field session a low-field one is compared with, and which of its images."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from ..config import CONTRASTS
from .scans import Scan, shorten
from .sidecars import session_name, split_name
from .tables import optional_table

Session = str | None


def choose_reference(
    stacks: Sequence[Scan], candidates: Mapping[Session, Sequence[Scan]]
) -> tuple[Session, tuple[Scan, ...], tuple[str, ...]]:
    """The reference session, its images (one per contrast) and sentences on each choice that was made.

    Order of preference: the session that low field was simulated from, most contrasts in common, the same session,
    nearest in time, first by label.
    """
    contrasts = {scan.contrast for scan in stacks}
    shared = {label: _in_common(contrasts, scans) for label, scans in candidates.items()}
    fitting = [label for label in candidates if any(shared[label])]
    if not fitting:
        return None, (), _no_pair(contrasts, candidates)
    own, source = stacks[0].session, simulated_from(stacks[0])
    chosen: Session
    no_notes: tuple[str, ...] = ()
    ranked = [label for label in fitting if shared[label] == max(shared.values())]
    if source is not None and source in fitting:
        chosen, notes = source, no_notes
    elif own in ranked:
        chosen, notes = own, no_notes
    else:
        chosen, notes = _nearest(stacks, {label: candidates[label] for label in ranked})
        if own in fitting:
            which = f"The reference{_of(chosen)} has more contrasts in common with low field"
            why = f"{which} than the high field of the same session{_of(own)}"
            notes += (f"{why}; choose another in a BIDS filter file, key reference.",)
    images, doubts = one_per_contrast(candidates[chosen])
    lacking = [name for name in CONTRASTS if name in contrasts - {scan.contrast for scan in images}]
    if lacking:
        doubts += (f"The high field{_of(chosen)} has no {' and no '.join(lacking)} to compare with.",)
    return chosen, images, notes + doubts


def _in_common(contrasts: set[str], scans: Sequence[Scan]) -> tuple[int, int]:
    """How many of the contrasts are among the scans without contrast agent, and among all."""
    plain = contrasts & {scan.contrast for scan in scans if not scan.contrast_agent}
    return len(plain), len(contrasts & {scan.contrast for scan in scans})


def simulated_from(scan: Scan) -> Session:
    """Label of the high-field session that a simulated scan was made from, as its sidecar has it, or None."""
    sources = scan.sidecar.get("Sources")
    if scan.sidecar.get("Simulated") is not True or not isinstance(sources, list) or not sources:
        return None
    return split_name(str(sources[0]).rpartition("/")[2])[0].get("ses")


def _no_pair(contrasts: set[str], candidates: Mapping[Session, Sequence[Scan]]) -> tuple[str, ...]:
    """A sentence where there is high field, but of other contrasts."""
    if not candidates:
        return ()
    available = sorted({scan.contrast for scans in candidates.values() for scan in scans})
    return (f"No reference: high field has {', '.join(available)}, low field {', '.join(sorted(contrasts))}.",)


def _nearest(stacks: Sequence[Scan], candidates: Mapping[Session, Sequence[Scan]]) -> tuple[Session, tuple[str, ...]]:
    """The candidate nearest in time to the stacks, else the first by label, and the sentence that says so."""
    labels = sorted(candidates, key=lambda label: label or "")
    if len(labels) == 1:
        return labels[0], ()
    when = session_time(stacks)
    days = {label: _days(when, session_time(candidates[label])) for label in labels}
    chosen = min(labels, key=lambda label: days[label])
    among = f"of {len(labels)} high-field sessions ({shorten((label or 'none' for label in labels), 4)})"
    if math.isinf(days[chosen]):
        why = f"is the first by label {among}, as there are no dates to compare"
    else:
        why = f"is the nearest in time {among}, {days[chosen]:.1f} days away"
    return chosen, (f"The reference{_of(chosen)} {why}; choose another in a BIDS filter file, key reference.",)


def _of(session: Session) -> str:
    return f" of ses-{session}" if session else ""


def _days(first: datetime | None, second: datetime | None) -> float:
    return abs((first - second).total_seconds()) / 86400 if first and second else math.inf


def one_per_contrast(scans: Sequence[Scan]) -> tuple[tuple[Scan, ...], tuple[str, ...]]:
    """One image per contrast: without contrast agent first, then the shortest name; sentences on the others."""
    chosen, notes = [], []
    for contrast in CONTRASTS:
        ranked = sorted(
            (scan for scan in scans if scan.contrast == contrast),
            key=lambda scan: (scan.contrast_agent, len(scan.entities), scan.name),
        )
        chosen += ranked[:1]
        if ranked and ranked[0].contrast_agent:
            notes.append(
                f"{ranked[0].path.name} was acquired with contrast agent, and no plain high-field {contrast} is there; "
                "check the comparison."
            )
        if len(ranked) > 1:
            notes.append(
                f"{ranked[0].path.name} is the reference of {len(ranked)} high-field {contrast} images "
                f"(not {shorten((scan.name for scan in ranked[1:]), 3)}); "
                "choose another in a BIDS filter file, key reference."
            )
    return tuple(chosen), tuple(notes)


def session_time(scans: Sequence[Scan]) -> datetime | None:
    """When the first of the scans was acquired, by scans.tsv, sidecars or sessions.tsv, or None where no date is."""
    listed = _scans_table(scans[0])
    times = [time for scan in scans if (time := _parse(listed.get(scan.stem, "")) or _sidecar_time(scan))]
    if times:
        return min(times)
    first = scans[0]
    return _sessions_time(first.path.parents[2 if first.session else 1], first.subject, first.session)


def listed_time(bids_dir: Path, subject: str, session: Session) -> datetime | None:
    """When a session was acquired, by its scans.tsv or the subject's sessions.tsv, or None where neither says it."""
    folder = bids_dir / f"sub-{subject}"
    scans = optional_table(
        folder / (f"ses-{session}" if session else "") / f"{session_name(subject, session)}_scans.tsv"
    )
    if times := [time for row in scans if (time := _parse(row.get("acq_time", "")))]:
        return min(times)
    return _sessions_time(folder, subject, session)


def _scans_table(scan: Scan) -> dict[str, str]:
    """``acq_time`` by file name without its extension, of the session's scans.tsv: .nii may be listed as .nii.gz."""
    folder = scan.path.parent.parent
    rows = optional_table(folder / f"{session_name(scan.subject, scan.session)}_scans.tsv")
    return {Path(row.get("filename", "")).name.partition(".")[0]: row.get("acq_time", "") for row in rows}


def _sessions_time(folder: Path, subject: str, session: Session) -> datetime | None:
    for row in optional_table(folder / f"sub-{subject}_sessions.tsv"):
        if row.get("session_id", "").removeprefix("ses-") == session:
            return _parse(row.get("acq_time", ""))
    return None


def _sidecar_time(scan: Scan) -> datetime | None:
    """Date and time of the sidecar; a time of day alone is no date."""
    sidecar = scan.sidecar
    if whole := _parse(str(sidecar.get("AcquisitionDateTime", ""))):
        return whole
    day, time = str(sidecar.get("AcquisitionDate", "")), str(sidecar.get("AcquisitionTime", ""))
    return _parse(f"{day}T{time}") or _parse(day) or (_parse(time) if len(time) > len("23:59:59.000000") else None)


def _parse(text: str) -> datetime | None:
    """A date and time, without its time zone (scanners rarely say it, and a day is what matters)."""
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=None)
    except ValueError:
        return None
