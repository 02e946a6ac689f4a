"""What the images of a session are usable for, as their sidecars say it, and what is wrong with what lies there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..evaluation.thresholds import PURPOSES
from ..evaluation.usable import Usable, asks_for_action, from_sidecar, judge, worst
from .collect import Output, Run, Session


@dataclass(frozen=True)
class Judged:
    """An enhanced image that is there or should be: its contrast, its label (``fusionnet``), what it is usable for."""

    contrast: str
    label: str
    usable: Usable

    @property
    def name(self) -> str:
        """What it is called on the page."""
        return " ".join(word for word in (self.contrast, f"({self.label})" if self.label else "") if word) or "Image"


def usable_images(session: Session, broken: Mapping[str, str] | None = None) -> list[Judged]:
    """One per enhanced image that is there or should be.

    ``broken``: names of files that are there and cannot be used, each with a sentence; they are usable for nothing, as
    is what is not there.
    """
    labels = session.labels or (str(session.record.get("Method") or ""),)
    found = [
        Judged(channel.contrast, label, _usable(channel.enhanced.get(label), session.record, broken or {}))
        for channel in session.channels
        for label in labels
    ]
    return found or [Judged("", labels[0], _usable(None, session.record, {}))]


def _usable(output: Output | None, record: Mapping[str, Any], broken: Mapping[str, str]) -> Usable:
    if output is None:
        return judge({"Failure": record.get("Failure") or "there is no enhanced image"})
    if sentence := broken.get(output.path.name):
        return judge({"Failure": sentence})
    return from_sidecar(output.sidecar)


def summed_up(images: Sequence[Judged]) -> dict[str, str]:
    """The worst word by purpose, and all ``reasons``, those of several images once, as one row of a table."""
    words = {purpose: worst(one.usable.words[purpose] for one in images) for purpose in PURPOSES}
    whose: dict[str, list[str]] = {}
    for one in images:
        for reason in one.usable.reasons:
            whose.setdefault(reason, []).append(one.name)
    listed = [reason if len(of) == len(images) else f"{', '.join(of)}: {reason}" for reason, of in whose.items()]
    return words | {"reasons": "; ".join(listed)}


def missing_outputs(session: Session, run: Run | None, problems: Iterable[str]) -> list[str]:
    """Sentences on what should be here and is not, or cannot be read."""
    sentences = [f"Missing: {sentence}." for sentence in session.missing] + list(problems)
    if run and run.crashes:
        sentences.insert(0, "A step of this subject failed; its text is at the top of the page.")
    return sentences


def warnings_of(session: Session) -> tuple[list[str], list[str]]:
    """The warnings recorded with the session and its images: those that ask for something, and those for information.

    Each once: a run tells the same beside every contrast.
    """
    warnings = session.record.get("Warnings")
    sentences = [str(item) for item in warnings] if isinstance(warnings, list) else []
    known = set(sentences)
    for channel in session.channels:
        outputs = list(channel.enhanced.items())
        outputs += [(f"{channel.contrast} {label}", output) for label, output in channel.risk.items()]
        for owner, output in outputs:
            extra = output.sidecar.get("Warnings")
            items = [str(item) for item in extra] if isinstance(extra, list) else []
            sentences += [f"{owner}: {item}" for item in items if item not in known]
    act = [sentence for sentence in dict.fromkeys(sentences) if asks_for_action(sentence)]
    return act, [sentence for sentence in dict.fromkeys(sentences) if sentence not in act]
