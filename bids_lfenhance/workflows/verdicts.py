"""What a run says of its images: what each is usable for, and why a session has none."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..bids.names import sidecar_path
from ..bids.sessions import LowFieldSession
from ..bids.sidecars import optional_json
from ..config import RunSpec
from ..derivatives.files import write_json
from ..derivatives.layout import contrasts, session_layout
from ..errors import InputError
from ..evaluation.thresholds import PURPOSES
from ..evaluation.usable import NO, WORDS, Usable, brief, from_sidecar, judge
from .inputs import graph_label, reference_key, session_key

MOST_LISTED = 12
"""Images that are listed one by one on the terminal, and those named as of no use; group/images.tsv has them all."""

MOST_LETTERS = 70
"""Length to which a reason is cut on the terminal; the page has all of it."""


@dataclass(frozen=True)
class ImageVerdict:
    """An image that was asked for, ``sub-01_ses-HFC T1w``, and what it is usable for."""

    subject: str
    name: str
    usable: Usable


def record_failures(sessions: Iterable[LowFieldSession], spec: RunSpec, failures: Sequence[Any]) -> None:
    """Leave a record that says why in place of those of the sessions that have none: pages and tables then show them.

    ``failures`` of steps. What an earlier run left whole stays: its images are there to be shown.
    """
    for session in sessions:
        files = session_layout(session, spec)
        record = optional_json(files["qc"])
        if all(files[f"enhanced/{contrast}"].is_file() for contrast in contrasts(session.stacks)):
            continue
        if not record or record.get("Failure"):
            with suppress(OSError, InputError):  # a full disk is reported elsewhere
                write_json(files["qc"], failure_record(session, spec, _why(session, failures)))


def _why(session: LowFieldSession, failures: Sequence[Any]) -> str:
    """The sentence of the first failed step of the session or of its reference, else of the subject."""
    graphs = {f"session_{session_key(session)}_wf", f"reference_{reference_key(session)}_wf"}
    own = [f for f in failures if f"sub_{graph_label(session.subject)}_wf" in f.node.split(".")]
    first = next((f for f in own if graphs & set(f.node.split("."))), own[0] if own else None)
    return str(first.sentence).rstrip(".") if first else "no image was made"


def failure_record(session: LowFieldSession, spec: RunSpec, why: str) -> dict[str, Any]:
    """The record of a session of which no image could be made."""
    scans = [
        {"File": scan.path.name, "Contrast": scan.contrast, "Plane": scan.plane, "FieldStrength": scan.tesla}
        for scan in session.stacks
    ]
    files = [scan.path.name for scan in session.reference]
    return {
        "Failure": why,
        "Scans": scans,
        "Missing": list(session.missing),
        "Reference": {"Session": session.reference_session, "Files": files} if session.paired else None,
        "Method": spec.label,
        "Warnings": list(session.warnings),
    }


def image_verdicts(
    sessions: Iterable[LowFieldSession], spec: RunSpec, failed: Mapping[str, Sequence[str]]
) -> tuple[ImageVerdict, ...]:
    """One per image that was asked for, and one per subject of ``failed`` (sentences) that has no session."""
    verdicts, planned = [], set()
    for session in sessions:
        planned.add(session.subject)
        files = session_layout(session, spec)
        for contrast in contrasts(session.stacks):
            image = files[f"enhanced/{contrast}"]
            if os.path.isfile(image):  # noqa: PTH113  (False too where its folder may not be read)
                usable = from_sidecar(optional_json(sidecar_path(image)))
            else:
                usable = judge({"Failure": optional_json(files["qc"]).get("Failure") or "no image was made"})
            verdicts.append(ImageVerdict(session.subject, f"{session.name} {contrast}", usable))
    for subject, sentences in failed.items():
        if subject not in planned:
            verdicts.append(ImageVerdict(subject, f"sub-{subject}", judge({"Failure": sentences[0]})))
    return tuple(verdicts)


def unusable_images(verdicts: Iterable[ImageVerdict]) -> dict[str, list[str]]:
    """Sentences by subject on the images that are not usable for any purpose: what ``--strict`` takes for failures."""
    sentences: dict[str, list[str]] = {}
    for one in verdicts:
        if one.usable.overall == NO:
            sentences.setdefault(one.subject, []).append(f"{one.name} is usable for nothing: {_brief(one.usable)}")
    return sentences


def verdict_lines(verdicts: Sequence[ImageVerdict]) -> list[str]:
    """A line for each image, and one that sums up each purpose."""
    lines = []
    for one in verdicts[:MOST_LISTED]:
        words = ", ".join(f"{purpose} {word}" for purpose, word in one.usable.words.items())
        why = _brief(one.usable)
        lines.append(f"{one.name}: {words}{f' ({why})' if why else ''}")
    if len(verdicts) > MOST_LISTED:
        lines.append(f"… and {len(verdicts) - MOST_LISTED} more images")
    named: set[str] = set()
    for purpose, words in PURPOSES.items() if verdicts else ():
        counts = Counter(one.usable.words[purpose] for one in verdicts)
        bad = [one for one in verdicts if one.usable.words[purpose] == NO and one.name not in named]
        named |= {one.name for one in bad}  # an image of no use for one purpose is of none for the next
        listed = ", ".join(f"{one.name} ({_brief(one.usable)})" for one in bad[:MOST_LISTED])
        end = (f": {listed}" if listed else "") + (", …" if len(bad) > MOST_LISTED else "")
        lines.append(f"Usable {words}: {', '.join(f'{counts[word]} {word}' for word in WORDS)}{end}")
    return lines


def _brief(usable: Usable) -> str:
    text = brief(usable.reasons[0]) if usable.reasons else ""
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"
