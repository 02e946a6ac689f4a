"""The verdict at the top of the page: what a reader should do with a session before looking further."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .collect import Run, Session
from .tables import comparisons


@dataclass(frozen=True)
class Verdict:
    """``word`` is pass, review or fail; ``reasons`` are sentences, gravest first."""

    word: str
    reasons: tuple[str, ...]


def verdict_of(session: Session, run: Run | None, problems: Sequence[str]) -> Verdict:
    """The gravest of three: what is missing or crashed (fail), a lost comparison (review), ``evaluation.quality``.

    Warnings do not change it: each is shown beside it, and what weighs is a figure in the table of thresholds.
    """
    from ..evaluation.quality import verdict

    missing = [f"Missing: {sentence}." for sentence in session.missing] + list(problems)
    if run and run.crashes:
        missing.insert(0, "A step of this subject failed; its text is at the top of the page.")
    losses = comparisons(session)["worse"]
    word, quality = verdict(_judgeable(session.record)) if session.record else ("fail", [])
    if any(o.sidecar.get("Sloppy") is True for c in session.channels for o in c.enhanced.values()):
        losses = [*losses, "Made with --sloppy: for trying the app out, never for a study."]
    words = {word, "fail" if missing else "pass", "review" if losses else "pass"}
    gravest = next(one for one in ("fail", "review", "pass") if one in words)
    reasons = [*missing, *losses, *(_sentence(reason) for reason in _gathered(quality))]
    reasons = reasons or [
        "Every file is here and no figure crosses its threshold. Look at the images before you use them."
    ]
    if session.record and not session.reference:
        reasons.append("There is no high field beside it, so fidelity was not measured.")
    return Verdict(gravest, tuple(reasons))


def _judgeable(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record without parts of another shape than expected: what is odd counts as not measured."""
    scans = [scan for scan in record.get("Scans") or [] if isinstance(scan, Mapping)]
    risk = record.get("Risk") if isinstance(record.get("Risk"), Mapping) else {}
    anatomy = record.get("Anatomy") if isinstance(record.get("Anatomy"), Mapping) else {}
    return {
        "Scans": scans,
        "Anatomy": anatomy,
        "Risk": {k: r for k, r in (risk or {}).items() if isinstance(r, Mapping)},
    }


_ENTITIES = re.compile(r"^(?:sub|ses)-[^_]+_(?:ses-[^_]+_)?")
_OF_A_SCAN = re.compile(
    r"(?P<name>.+?) of (?P<scan>\S+\.nii(?:\.gz)?) (?:is (?P<value>[^,]+)(?P<rest>, .+)|(?P<none>was not measured))"
)


def _gathered(reasons: Sequence[str]) -> list[str]:
    """The reasons, those that say the same of several scans as one that names them all."""
    groups: dict[tuple[str, str], list[str]] = {}
    for reason in reasons:
        match = _OF_A_SCAN.fullmatch(reason)
        key = (match["name"], match["rest"] or "") if match else (reason, "")
        scan = _ENTITIES.sub("", match["scan"]).split(".nii")[0] if match else ""
        groups.setdefault(key, []).append(f"{scan} {match['value'] or 'not measured'}" if match else "")
    sentences = []
    for (name, rest), members in groups.items():
        several = f"{name} of {len(members)} scan{'s' if len(members) > 1 else ''} ({'; '.join(members)}){rest}"
        sentences.append(several if members[0] else name)
    return sentences


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def warnings_of(session: Session) -> list[str]:
    """The warnings recorded with the session and its images, each once: a run tells the same beside every contrast."""
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
    return list(dict.fromkeys(sentences))
