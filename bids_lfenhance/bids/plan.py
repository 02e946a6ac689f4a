"""The plan: which low-field sessions are enhanced, beside which high field, and what is missing or left out."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ..errors import InputError
from .defects import readable_subjects
from .describe import describe
from .field_strength import HIGH_FIELD_FROM, LOW_FIELD_BELOW, field_kind, read_field_strength, session_warnings
from .filters import Filters, check_filters, passes
from .layout import list_images
from .lesions import lesion_masks
from .pairing import choose_reference
from .participants import participants_notes
from .scans import PLANES, Scan, choose_subjects, make_scans, shorten
from .sessions import LowFieldSession, Plan
from .sidecars import SidecarFinder, read_json
from .stack_choice import choose_stacks
from .unread_files import odd_folders, participants_without_data, unread_images, without_ignored

__all__ = ["LowFieldSession", "Plan", "describe", "make_plan", "why_nothing"]

PROCESSED = ("SkullStripped", "SpatialReference", "Enhanced", "Usable")
"""Keys of the sidecars of derivatives, BIDS' and our own, that no raw image has."""

Sessions = dict[str | None, list[Scan]]
Label = TypeVar("Label")


class NoFieldStrengthError(InputError):
    """No field strength in the sidecars of ``scans``."""

    def __init__(self, scans: Sequence[Scan]) -> None:
        self.scans = tuple(scans)
        files = shorten((scan.path.name for scan in scans), 3)
        entries = dict.fromkeys(word for scan in scans for word in read_field_strength(scan.sidecar).unusable)
        value = f"{shorten(entries, 3)}, which is no field strength" if entries else "none"
        super().__init__(
            f"Expected ImagingFrequency, MagneticFieldStrength or a known Manufacturer in the sidecars of "
            f"{len(scans)} image{'s' * (len(scans) > 1)} ({files}), found {value}; "
            "add one, or say it with --assume-field-strength TESLA.",
            code="no-field-strength",
        )


def make_plan(
    bids_dir: str | Path,
    participants: Iterable[str] = (),
    sessions: Iterable[str] = (),
    *,
    filters: Mapping[str, Any] | None = None,
    assume_field_strength: float | None = None,
    database_dir: str | Path | None = None,
) -> Plan:
    """The plan for the requested subjects (all where none is named); no image is opened.

    ``sessions`` limits the low-field sessions; high-field ones stay available as references unless one of them
    is named too. ``filters`` as ``filters.py`` documents. ``assume_field_strength`` (tesla) serves only the scans
    whose sidecars say nothing. A subject that cannot be planned is in ``Plan.failed`` and stops no other; where
    no subject at all has a field strength, that is an ``InputError``.
    """
    root = Path(bids_dir).absolute()
    rules = check_filters(filters or {})
    _check_assumed(assume_field_strength)
    asked = tuple(participants)
    every = choose_subjects(root, asked)
    subjects, failed = readable_subjects(root, every)
    images, warnings = list_images(root, subjects, Path(database_dir).absolute() if database_dir else None)
    images, ignored = without_ignored(root, images)
    finder = SidecarFinder(root)
    wanted = frozenset(label.removeprefix("ses-") for label in sessions)
    scans_of = {subject: make_scans(images[subject], finder) for subject in subjects}
    warnings += ignored + _dataset_warnings(root, subjects) + (() if asked else participants_without_data(root))
    warnings += participants_notes(root, subjects)
    warnings += tuple(sentence for _, left_out in scans_of.values() for sentence in left_out)
    check_sessions(wanted, [scan for scans, _ in scans_of.values() for scan in scans])
    planned: list[LowFieldSession] = []
    skipped: list[tuple[str, str]] = []
    unknown: list[Scan] = []
    for subject, (scans, _) in scans_of.items():
        try:
            own, notes = plan_subject(scans, rules, wanted, assume_field_strength)
        except InputError as error:
            unknown += error.scans if isinstance(error, NoFieldStrengthError) else ()
            failed.append((subject, str(error)))
        else:
            planned += (replace(session, lesions=lesion_masks(root, session)) for session in own)
            warnings += notes if own else ()
            if not own:
                skipped.append((subject, " ".join(notes)))
    if unknown and len(failed) == len(every):
        raise NoFieldStrengthError(unknown)
    warnings += _content_notes(planned)
    return Plan(name_missing(planned), tuple(skipped), tuple(failed), warnings)


def why_nothing(plan: Plan) -> str:
    """A sentence on why a plan has no session: the reasons of the subjects, the commonest first."""
    if not plan.skipped:
        return "no subject was found."
    count, reasons = len(plan.skipped), Counter(reason for _, reason in plan.skipped)
    common = reasons.most_common(3)
    sentences = [f"{times} of {count} subjects: {reason}" if count > 1 else reason for reason, times in common]
    return f"no low-field session matches. {' '.join(sentences)}{' …' if len(reasons) > 3 else ''}"


def _content_notes(planned: Iterable[LowFieldSession]) -> tuple[str, ...]:
    """A sentence on the images of a plan whose content was not fetched from an annex."""
    scans = {scan.path for session in planned for scan in (*session.stacks, *session.reference)}
    gone = sorted(path.name for path in scans if path.is_symlink() and not path.exists())
    if not gone:
        return ()
    return (
        f"Expected the content of every image, found {len(gone)} of {len(scans)} to be links to files that are not "
        f"there: {shorten(gone, 3)}; get them first (datalad get).",
    )


def _check_assumed(assume_field_strength: float | None) -> None:
    if assume_field_strength is not None and not 0 < assume_field_strength < 25:
        message = f"Expected --assume-field-strength in tesla, found {assume_field_strength}; give one such as 0.064."
        raise InputError(message, code="bad-option", option="assume_field_strength")


def _dataset_warnings(root: Path, subjects: Iterable[str]) -> tuple[str, ...]:
    subjects = tuple(subjects)
    unread = odd_folders(root, subjects) + unread_images(root, subjects)
    try:
        read_json(root / "dataset_description.json")
    except InputError as error:
        return (f"Not a valid BIDS dataset: {error}", *unread)
    return unread


def check_sessions(wanted: frozenset[str], scans: Sequence[Scan]) -> None:
    """Raise ``InputError`` if a requested session has no scan."""
    available = {scan.session for scan in scans if scan.session}
    if unknown := sorted(wanted - available):
        message = (
            f"Expected sessions of the requested participants, found no ses-{', ses-'.join(unknown)}; "
            f"there {'is' if len(available) == 1 else 'are'} {shorten(sorted(available), 12) or 'none at all'}."
        )
        raise InputError(message, code="unknown-session", sessions=unknown)


def plan_subject(
    scans: Sequence[Scan], filters: Filters, wanted: frozenset[str], assume: float | None
) -> tuple[tuple[LowFieldSession, ...], tuple[str, ...]]:
    """The low-field sessions of one subject, and sentences: on scans left out, or why there is none."""
    if not scans:
        return (), ("There is no T1w, T2w or FLAIR in anat.",)
    kept = [scan for scan in scans if passes(scan, filters, scan.contrast.lower())]
    kept = [scan for scan in kept if passes(scan, filters, "lf") or passes(scan, filters, "reference")]
    read, unread = with_field_strength(kept, assume, wanted)
    all_low, mid, all_high = split_by_field(read)
    low, high = _select(all_low, filters, "lf"), _select(all_high, filters, "reference")
    notes = tuple(
        f"{scan.path.name} was left out: {scan.field_strength:.3g} T is neither low "
        f"(below {LOW_FIELD_BELOW} T) nor high field (from {HIGH_FIELD_FROM:g} T)."
        for scans_of in mid.values()
        for scan in scans_of
    )
    notes += tuple(f"{scan.path.name} was left out: {why}" for scan, why in unread)
    if all_high and not high:
        names = shorten(sorted(scan.path.name for images in all_high.values() for scan in images), 3)
        notes += (f"The filter (key reference) leaves none of the high field of sub-{scans[0].subject}: {names}.",)
    high = {label: images for label, images in high.items() if label in wanted} or high
    if not low:
        filtered = len(kept) < len(scans) or bool(all_low)
        return (), (*notes, _why_nothing(filtered, high))
    if wanted:
        low = {label: stacks for label, stacks in low.items() if label in wanted}
    if not low:
        return (), (f"No low-field session among the requested ones ({', '.join(sorted(wanted))}).",)
    return tuple(make_session(label, stacks, high, label in all_high) for label, stacks in low.items()), notes


def _why_nothing(filtered: bool, high: Sessions) -> str:
    if filtered:
        return "The filters leave no low-field image."
    if not high:
        return "There is no low-field image."
    files = sum(len(scans) for scans in high.values())
    return f"There is only high field ({files} image{'s' * (files > 1)}), nothing to enhance."


def _select(sessions: Sessions, filters: Filters, key: str) -> Sessions:
    """The sessions with the scans that pass a filter; sessions left without scans are gone."""
    passing = {label: [scan for scan in scans if passes(scan, filters, key)] for label, scans in sessions.items()}
    return {label: scans for label, scans in passing.items() if scans}


def with_field_strength(
    scans: Sequence[Scan], assume: float | None, wanted: frozenset[str]
) -> tuple[list[Scan], list[tuple[Scan, str]]]:
    """The scans with their field strength read, or assumed where their sidecars say nothing; and others, with why.

    What cannot be read of the ``wanted`` sessions (none: of all) is an ``InputError``; others could only be references.
    """
    read, unread, unknown = [], [], []
    for scan in scans:
        needed = not wanted or scan.session in wanted
        try:
            tesla = read_field_strength(scan.sidecar).tesla or assume
        except InputError as error:
            if needed:
                raise
            unread.append((scan, str(error)))
            continue
        if tesla is not None:
            read.append(replace(scan, field_strength=tesla))
        elif needed:
            unknown.append(scan)
        else:
            unread.append((scan, "its sidecar says no field strength."))
    if unknown:
        raise NoFieldStrengthError(unknown)
    return read, unread


def split_by_field(scans: Sequence[Scan]) -> tuple[Sessions, Sessions, Sessions]:
    """Low-, mid- and high-field scans, each by session; one session may hold both."""
    groups: dict[str, Sessions] = {kind: defaultdict(list) for kind in ("low", "mid", "high")}
    for scan in scans:
        groups[field_kind(scan.field_strength or 0.0)][scan.session].append(scan)
    return dict(groups["low"]), dict(groups["mid"]), dict(groups["high"])


def make_session(
    label: str | None, stacks: Sequence[Scan], high: Mapping[str | None, Sequence[Scan]], beside: bool
) -> LowFieldSession:
    """One low-field session: its stacks, its reference, and warnings; ``beside`` any high field, chosen or not."""
    warnings = [*session_warnings(stacks), *processed_notes(stacks)]
    used, choices = choose_stacks(stacks)
    warnings += choices
    session, reference, notes = choose_reference(used, high)
    where = f"ses-{session}: " if session else "Reference: "
    warnings += [*notes, *(where + sentence for sentence in session_warnings(reference))]
    place, pair = (used[0].subject, label), (reference, session)
    return LowFieldSession(*place, used, *pair, warnings=tuple(warnings), beside_high_field=beside)


def processed_notes(stacks: Sequence[Scan]) -> list[str]:
    """A sentence where sidecars hold what only those of processed images do."""
    processed = [(scan, key) for scan in stacks for key in PROCESSED if key in scan.sidecar]
    if not processed:
        return []
    scan, key = processed[0]
    return [
        f"{scan.path.name} has {key} in its sidecar, as derivatives have: what was processed already is not what was "
        "acquired; check where it comes from."
    ]


def stack_kind(scan: Scan) -> str:
    """What a stack is called when it is missing: ``acq-sag_T1w``."""
    acq = acquisition(scan)
    return f"acq-{acq}_{scan.contrast}" if acq else scan.contrast


def acquisition(scan: Scan) -> str | None:
    """The ``acq-`` of a scan; of one that is nothing but a plane, however spelt (``AXI``, ``axial``), the plane."""
    acq = scan.entities.get("acq")
    planes = (plane for plane, spellings in PLANES.items() if acq and acq.lower() in spellings)
    return next(planes, acq)


def name_missing(sessions: Sequence[LowFieldSession]) -> tuple[LowFieldSession, ...]:
    """The sessions, each with what it lacks: by its own other planes, the subject's other sessions, the other subjects.

    A contrast acquired in more than half of a session's ``acq-`` labels is expected in all of them; a stack that
    more than half of the subject's other low-field sessions have, or of the other subjects' sessions of the same
    label, is expected too.
    """
    kinds = [{stack_kind(scan) for scan in session.stacks} for session in sessions]
    of_label: dict[str | None, list[set[str]]] = defaultdict(list)
    of_subject: dict[str, list[set[str]]] = defaultdict(list)
    for session, own in zip(sessions, kinds, strict=True):
        of_label[session.session].append(own)
        of_subject[session.subject].append(own)
    by_label, by_subject = _count(of_label), _count(of_subject)
    complete = []
    for session, own in zip(sessions, kinds, strict=True):
        expected = _own_product(session)
        expected |= _majority(by_label[session.session], len(of_label[session.session]), own)
        expected |= _majority(by_subject[session.subject], len(of_subject[session.subject]), own)
        complete.append(replace(session, missing=tuple(sorted(expected - own))))
    return tuple(complete)


def _own_product(session: LowFieldSession) -> set[str]:
    """Every ``acq-`` of the session with every contrast that more than half of them have."""
    acquired = {(acq, scan.contrast) for scan in session.stacks if (acq := acquisition(scan))}
    labels = {acq for acq, _ in acquired}
    counts = Counter(contrast for _, contrast in acquired)
    usual = [contrast for contrast, count in counts.items() if 2 * count > len(labels)]
    return {f"acq-{acq}_{contrast}" for acq in labels for contrast in usual}


def _count(groups: Mapping[Label, Sequence[set[str]]]) -> dict[Label, Counter[str]]:
    return {label: Counter(kind for kinds in group for kind in kinds) for label, group in groups.items()}


def _majority(counts: Counter[str], size: int, own: set[str]) -> set[str]:
    """What more than half of a group of sessions have, one of its own members not counted."""
    return {kind for kind, count in counts.items() if 2 * (count - (kind in own)) > size - 1}
