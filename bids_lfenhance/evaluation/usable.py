"""Whether an image may be used, for what, and why: the one function that judges, by the table of thresholds."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .thresholds import ALL, LABELS, PURPOSES, THRESHOLDS, VOLUMES, Record

YES, CHECK, NO = WORDS = ("yes", "check", "no")
"""The words, from good to bad. ``check``: a person must look before the image is used for this."""

NOT_VERIFIABLE = "not verifiable here: there is no high field of this contrast to compare with"

ASKS_FOR_ACTION = ("check", "look at", "do not trust", "misplaced", "incomplete", "cannot be known", "failed")
"""Words of warnings that ask for an action: an image with such a warning is to be checked."""


@dataclass(frozen=True)
class Usable:
    """The words for ``look``, ``segment`` and ``measure``; ``reasons`` sentences, the gravest first.

    ``verified``: whether the image was compared with high field.
    """

    look: str
    segment: str
    measure: str
    reasons: tuple[str, ...] = ()
    verified: bool = True

    @property
    def words(self) -> dict[str, str]:
        """The word by purpose."""
        return {purpose: getattr(self, purpose) for purpose in PURPOSES}

    @property
    def overall(self) -> str:
        """In one word: yes for every purpose, no for none, else to be checked."""
        return NO if self.look == NO else worst(YES if word == YES else CHECK for word in self.words.values())

    def sidecar(self) -> dict[str, Any]:
        """What the sidecar of an image says of it."""
        return {"Usable": self.words, "UsableVerified": self.verified, "UsableReasons": list(self.reasons)}


def from_sidecar(sidecar: Mapping[str, Any]) -> Usable:
    """What ``Usable.sidecar`` wrote; to be checked where a sidecar does not say it, or oddly."""
    words, reasons = sidecar.get("Usable"), sidecar.get("UsableReasons")
    if not isinstance(words, Mapping) or any(words.get(purpose) not in WORDS for purpose in PURPOSES):
        return Usable(CHECK, CHECK, CHECK, ("check: its sidecar does not say what it is usable for",), False)
    sentences = tuple(map(str, reasons)) if isinstance(reasons, list) else ()
    look, segment, measure = (str(words[purpose]) for purpose in PURPOSES)
    return Usable(look, segment, measure, sentences, sidecar.get("UsableVerified") is True)


def worst(words: Iterable[str]) -> str:
    """The worst of some words; yes for none."""
    return max(words, key=WORDS.index, default=YES)


def brief(reason: str) -> str:
    """A reason in a few words.

    >>> brief("no: SNR 2.4, expected at least 3 (acq-axi_T1w)")
    'SNR 2.4'
    """
    return reason.partition(": ")[2].partition(", expected ")[0].partition(";")[0]


Finding = tuple[str, tuple[str, ...], str]
"""A word, the purposes it is said of, and the sentence."""


def judge(record: Record) -> Usable:
    """What an image of one contrast of one session is usable for.

    ``record`` as ``evidence.evidence`` makes it; what is absent, null or NaN counts as not measured. ``Failure``: a
    sentence, where no image could be made. A purpose is never judged better than a less demanding one. The thresholds,
    and the rules beside them: docs/metrics.md.

    >>> judge({"Failure": "no head was found"}).words
    {'look': 'no', 'segment': 'no', 'measure': 'no'}
    """
    if record.get("Failure"):
        return Usable(NO, NO, NO, (f"no: {record['Failure']}",), verified=False)
    findings = [*_by_rules(record), *_by_thresholds(record)]
    findings.sort(key=lambda found: (-WORDS.index(found[0]), -len(found[1])))  # the worst first, then the widest
    words = [worst(word for word, purposes, _ in findings if purpose in purposes) for purpose in PURPOSES]
    look, segment, measure = (worst(words[: place + 1]) for place in range(len(words)))
    verified = bool(record.get("Fidelity"))
    reasons = [_sentence(*found) for found in findings] + ([] if verified else [NOT_VERIFIABLE])
    return Usable(look, segment, measure, tuple(dict.fromkeys(reasons)), verified)


def _by_rules(record: Record) -> Iterator[Finding]:
    """Findings by rules that are no thresholds."""
    if turned := (record.get("Anatomy") or {}).get("Turned"):
        yield NO, ALL, f"the head fits the template better {turned}"
    if any(one.get("Mirrored") is True for one in (*(record.get("Scans") or ()), record.get("Alignment") or {})):
        yield NO, ALL, "left and right are exchanged between its scans, or between them and high field"
    image = record.get("Image") or {}
    if image.get("Sloppy") is True:
        yield CHECK, ALL, "made with --sloppy, for trying the app out"
        yield NO, LABELS, "made with --sloppy, never for a study"
    if image.get("Enhanced") is False:
        yield CHECK, ALL, "the low field as it was fused: its method does not know this contrast"
    if image.get("ErrorStdCalibrated") is False:
        yield CHECK, VOLUMES, "the standard deviation of its error is not calibrated in this contrast"
    for warning in record.get("Warnings") or ():
        if asks_for_action(str(warning)):
            yield CHECK, ALL, str(warning).rstrip(".")


def asks_for_action(warning: str) -> bool:
    """Whether a warning asks for an action.

    >>> asks_for_action("a_T1w.nii.gz may be misplaced on b_T1w.nii.gz; check orientation.")
    True
    """
    return any(word in warning.lower() for word in ASKS_FOR_ACTION)


def _by_thresholds(record: Record) -> Iterator[Finding]:
    for row in THRESHOLDS:
        for of, value in row.read(record):
            where = f" ({of})" if of else ""
            if value is None:
                if row.needed:
                    yield CHECK, row.purposes, f"{row.quantity} was not measured{where}"
                continue
            for word, limits in ((NO, row.check), (CHECK, row.yes)):
                if not limits[0] <= value <= limits[1]:
                    bound = f"at least {limits[0]:g}" if value < limits[0] else f"at most {limits[1]:g}"
                    wanted = f"{row.quantity} {_figure(value)}{row.unit}, expected {bound}{row.unit}{where}"
                    yield word, row.purposes, wanted
                    break


def _figure(value: float) -> str:
    """Three significant digits, whole where there are more: 1830, not 1.83e+03."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _sentence(word: str, purposes: tuple[str, ...], text: str) -> str:
    scope = "" if purposes == ALL else " " + " and ".join(PURPOSES[purpose] for purpose in purposes)
    return f"{word}{scope}: {text}"
