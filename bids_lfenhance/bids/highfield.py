"""The plan of a simulation: which high-field sessions low field is made from, and what it will be called."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..config import CONTRASTS
from ..errors import InputError
from .defects import readable_subjects
from .describe import plain_table, plan_text, plural
from .field_strength import HIGH_FIELD_FROM, field_kind, read_field_strength
from .filters import Filters, check_filters, passes
from .layout import list_images
from .pairing import one_per_contrast
from .plan import check_sessions
from .scans import Scan, choose_subjects, make_scans, shorten
from .sidecars import SidecarFinder, session_name
from .unread_files import odd_folders, unread_images, without_ignored

SIMULATED = "SIM"
"""Label of a simulated session; with the label of the high-field session before it where one would not be enough."""

HIGH = "HF"
"""Label of the high-field session of a dataset that has no sessions."""


@dataclass(frozen=True)
class HighFieldSession:
    """One high-field session: ``scans`` one per contrast, their field strength None where nothing tells it.

    ``stem`` is what the labels of the simulated sessions begin with; ``warnings`` sentences.
    """

    subject: str
    session: str | None
    scans: tuple[Scan, ...]
    stem: str = SIMULATED
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``sub-01_ses-A``, or ``sub-01`` where there are no sessions."""
        return session_name(self.subject, self.session)

    @property
    def label(self) -> str:
        """Label of the session that a copy of the high field goes to."""
        return self.session or HIGH

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Contrasts of the scans, in channel order."""
        return tuple(scan.contrast for scan in self.scans)

    def labels(self, draws: int) -> tuple[str, ...]:
        """Labels of the simulated sessions.

        >>> HighFieldSession("01", None, ()).labels(1), HighFieldSession("01", None, ()).labels(2)
        (('SIM',), ('SIM1', 'SIM2'))
        """
        return (self.stem,) if draws == 1 else tuple(f"{self.stem}{draw + 1}" for draw in range(draws))


@dataclass(frozen=True)
class SimulationPlan:
    """What would be simulated from: ``sessions``, and subjects ``skipped`` and ``failed``, each with a sentence.

    ``skipped`` has no high field of a contrast asked for; ``failed`` could not be read. ``unknown`` are the scans taken
    as high field though nothing tells their field strength, ``lower`` those that are none. ``warnings`` sentences.
    """

    sessions: tuple[HighFieldSession, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    unknown: tuple[Scan, ...] = ()
    lower: tuple[Scan, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Contrasts of all sessions, in channel order."""
        return tuple(name for name in CONTRASTS if any(name in one.contrasts for one in self.sessions))


def plan_simulation(
    bids_dir: str | Path,
    participants: Iterable[str] = (),
    sessions: Iterable[str] = (),
    *,
    contrasts: Sequence[str] = (),
    filters: Mapping[str, Any] | None = None,
    assume_field_strength: float | None = None,
    database_dir: str | Path | None = None,
) -> SimulationPlan:
    """The plan for the requested subjects (all where none is named); no image is opened.

    A scan whose sidecars say nothing of the field is taken as high field, unless ``assume_field_strength`` (tesla)
    says otherwise, and this is said once for the dataset; low and middle field is left out. ``contrasts`` are those
    wanted (all where none is named). Raise ``InputError`` if there is none.
    """
    root = Path(bids_dir).absolute()
    rules = check_filters(filters or {})
    subjects, failed = readable_subjects(root, choose_subjects(root, participants))
    images, notes = list_images(root, subjects, Path(database_dir).absolute() if database_dir else None)
    images, ignored = without_ignored(root, images)
    notes += ignored + odd_folders(root, subjects) + unread_images(root, subjects)
    finder = SidecarFinder(root)
    scans_of = {subject: make_scans(images[subject], finder) for subject in subjects}
    wanted = frozenset(label.removeprefix("ses-") for label in sessions)
    check_sessions(wanted, [scan for scans, _ in scans_of.values() for scan in scans])
    planned: list[HighFieldSession] = []
    skipped: list[tuple[str, str]] = []
    lower: list[Scan] = []
    for subject, (scans, _) in scans_of.items():
        try:
            passing = [scan for scan in scans if passes(scan, rules, scan.contrast.lower())]
            read = [_with_field(scan, assume_field_strength) for scan in passing]
            lower += [scan for scan in read if not _is_high(scan)]
            own = _sessions(subject, [scan for scan in read if _is_high(scan)], rules, tuple(contrasts), wanted)
        except InputError as error:
            failed.append((subject, str(error)))
            continue
        planned += own
        if not own:
            skipped.append((subject, _why_nothing(scans, read, contrasts, wanted)))
    if not planned and not failed:
        raise _none_found(root, contrasts, *skipped[0])
    unknown = tuple(scan for one in planned for scan in one.scans if scan.field_strength is None)
    notes += tuple(sentence for _, left_out in scans_of.values() for sentence in left_out)
    notes += _unknown_field(unknown)
    return SimulationPlan(tuple(planned), tuple(skipped), tuple(failed), unknown, tuple(lower), notes)


def _none_found(root: Path, contrasts: Sequence[str], subject: str, why: str) -> InputError:
    what = " or ".join(contrasts) or "T1w, T2w or FLAIR"
    message = f"Expected high-field {what} in {root}, found none: sub-{subject}: {why}"
    return InputError(message, code="no-high-field", path=root)


def _with_field(scan: Scan, assume: float | None) -> Scan:
    return replace(scan, field_strength=read_field_strength(scan.sidecar).tesla or assume)


def _is_high(scan: Scan) -> bool:
    return scan.field_strength is None or field_kind(scan.field_strength) == "high"


def _sessions(
    subject: str, scans: Sequence[Scan], filters: Filters, contrasts: tuple[str, ...], wanted: frozenset[str]
) -> list[HighFieldSession]:
    """The high-field sessions of one subject; their labels do not depend on which of them are asked for."""
    high = [scan for scan in scans if passes(scan, filters, "reference")]
    labels = sorted({scan.session or "" for scan in high})
    alone = len(labels) == 1 and not labels[0].startswith(SIMULATED)
    sessions = []
    for label in labels:
        candidates, notes = one_per_contrast([scan for scan in high if (scan.session or "") == label])
        chosen = tuple(scan for scan in candidates if not contrasts or scan.contrast in contrasts)
        lacking = [contrast for contrast in contrasts if contrast not in {scan.contrast for scan in chosen}]
        if not chosen or (wanted and label not in wanted):
            continue
        if lacking:
            notes += (f"There is no high-field {' and no '.join(lacking)}: none is simulated.",)
        stem = SIMULATED if alone else f"{label}{SIMULATED}"
        sessions.append(HighFieldSession(subject, label or None, chosen, stem, notes))
    return sessions


def _why_nothing(scans: Sequence[Scan], read: Sequence[Scan], contrasts: Sequence[str], wanted: frozenset[str]) -> str:
    if not scans:
        return "There is no T1w, T2w or FLAIR in anat."
    high = [scan for scan in read if _is_high(scan)]
    if high and contrasts and not {scan.contrast for scan in high} & set(contrasts):
        available = ", ".join(name for name in CONTRASTS if name in {scan.contrast for scan in high})
        return f"High field has {available}, and {', '.join(contrasts)} was asked for."
    if high and wanted:
        return f"No high-field session among the requested ones ({', '.join(sorted(wanted))})."
    return (
        "The filters leave no high-field image." if high or len(read) < len(scans) else "There is no high-field image."
    )


def _unknown_field(scans: Sequence[Scan]) -> tuple[str, ...]:
    """A sentence on all scans of unknown field."""
    if not scans:
        return ()
    return (
        f"{plural(len(scans), 'image')} (first: {scans[0].path.name}) without any field strength "
        f"{'is' if len(scans) == 1 else 'are'} taken as high field; --assume-field-strength puts it on record.",
    )


def lower_field_note(plan: SimulationPlan) -> tuple[str, ...]:
    """A sentence on all scans that are no high field, for a level that makes nothing else of them."""
    if not plan.lower:
        return ()
    return (
        f"{plural(len(plan.lower), 'image')} below {HIGH_FIELD_FROM:g} T (first: {plan.lower[0].path.name}) "
        f"{'was' if len(plan.lower) == 1 else 'were'} left out: low field is simulated from high field only.",
    )


def describe_simulation(plan: SimulationPlan, draws: int, stacks: int) -> str:
    """The text of ``--dry-run``: a line a high-field session, then what to know before starting."""
    counts = [
        plural(len({one.subject for one in plan.sessions}), "subject"),
        plural(len(plan.sessions), "high-field session"),
        plural(draws * len(plan.sessions), "simulated session"),
        plural(stacks, "low-field stack"),
    ]
    rows = [["subject", "from", "contrasts", "field", "to"]]
    for one in plan.sessions:
        fields = dict.fromkeys(f"{s.field_strength:.3g} T" if s.field_strength else "unknown" for s in one.scans)
        to = shorten((f"ses-{label}" for label in one.labels(draws)), 4)
        source = f"ses-{one.session}" if one.session else "-"
        rows.append([f"sub-{one.subject}", source, " ".join(one.contrasts), " ".join(fields), to])
    return plan_text(plan, "Plan: " + " · ".join(counts), plain_table(rows))
