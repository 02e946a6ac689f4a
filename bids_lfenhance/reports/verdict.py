"""The verdict at the top of the page: what a reader should do with a session before looking further."""

from collections.abc import Sequence
from dataclasses import dataclass

from .collect import Run, Session
from .tables import comparisons


@dataclass(frozen=True)
class Verdict:
    """``word`` is pass, review or fail; ``reasons`` are sentences, gravest first."""

    word: str
    reasons: tuple[str, ...]


def verdict_of(session: Session, run: Run | None, problems: Sequence[str]) -> Verdict:
    """Fail where something is missing, broken or crashed; review where a figure or warning asks for eyes; else pass."""
    failures = [f"Missing: {sentence}." for sentence in session.missing] + list(problems)
    if run and run.crashes:
        failures.insert(0, f"{len(run.crashes)} step(s) of this subject failed; the crash text is below.")
    if failures:
        return Verdict("fail", tuple(failures))
    losses, _ = comparisons(session)
    reasons = [*losses, *warnings_of(session)]
    if reasons:
        return Verdict("review", tuple(reasons))
    return Verdict("pass", ("Every expected file is here, and nothing asked for attention.",))


def warnings_of(session: Session) -> list[str]:
    """The warnings recorded with the session and its images, each once."""
    found = session.record.get("Warnings")
    sentences = [str(item) for item in found] if isinstance(found, list) else []
    for channel in session.channels:
        for label, output in [*channel.enhanced.items(), *channel.risk.items()]:
            extra = output.sidecar.get("Warnings")
            sentences += [f"{channel.contrast} {label}: {item}" for item in extra] if isinstance(extra, list) else []
    return list(dict.fromkeys(sentences))
