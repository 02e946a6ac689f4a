"""The settings and versions that images were made with, and which images of a derivative differ in them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..bids.scans import shorten
from .collect import Output, Session, Subject

MOST_NAMED = 8
"""Sessions that a sentence names; of more it says how many."""


def named(subject: Subject, session: Session) -> str:
    """What a sentence calls a session."""
    return f"sub-{subject.name}" + (f"/ses-{session.name}" if session.name else "")


def make_of(output: Output) -> tuple[str, str]:
    """What tells images of other settings or another version apart."""
    return str(output.sidecar.get("SettingsHash", "")), version_of(output)


def version_of(output: Output) -> str:
    """The version of the app that made an image, or nothing."""
    return str(output.sidecar.get("GeneratedWith", "")).removeprefix("bids_lfenhance ")


def mixed_makes(pairs: Iterable[tuple[Subject, Session]]) -> Iterator[str]:
    """A sentence on each result (``desc-``) whose images were made with several settings or versions."""
    results: dict[str, dict[tuple[str, str], tuple[dict[str, None], dict[str, set[str]]]]] = {}
    for subject, session in pairs:
        for output in session.enhanced:
            names, facts = results.setdefault(output.desc, {}).setdefault(make_of(output), ({}, {}))
            names[named(subject, session)] = None
            for key, value in _facts(output).items():
                facts.setdefault(key, set()).add(value)
    for desc, makes in results.items():
        if len(makes) > 1:
            every = [facts for _, facts in makes.values()]
            other = [key for key in dict.fromkeys(key for facts in every for key in facts) if _differs(key, every)]
            parts = (
                f"{shorten(names, MOST_NAMED)} with {', '.join(_words(key, facts) for key in other if key in facts)}"
                for names, facts in makes.values()
            )
            yield (
                f"Images of {desc} were made with {len(makes)} different settings or versions, so they cannot be "
                f"compared: {'; '.join(parts)}. Run the participant level again with one of them for everybody."
            )


def _facts(output: Output) -> dict[str, str]:
    """What may tell two images apart, the hash last: some settings stand nowhere else in a sidecar."""
    about, settings = output.sidecar, output.sidecar.get("MethodSettings")
    known: dict[str, Any] = {"version": version_of(output), "method": about.get("Method")}
    known |= {key.lower(): about[key] for key in ("Budget", "Draws", "Seed", "Sloppy") if key in about}
    known |= dict(settings) if isinstance(settings, Mapping) else {}
    known.pop("device", None)  # on another device the same image, but for rounding
    return {key: str(value) for key, value in known.items()} | {"settings": str(about.get("SettingsHash", "unknown"))}


def _differs(key: str, every: Sequence[Mapping[str, set[str]]]) -> bool:
    return any(facts.get(key) != every[0].get(key) for facts in every)


def _words(key: str, facts: Mapping[str, set[str]]) -> str:
    return f"{key} {' or '.join(sorted(facts[key])) or 'unknown'}"
