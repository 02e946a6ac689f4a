"""The group level: from the derivatives of all subjects to tables, figures and one page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..bids.atomic import atomic_write
from ..bids.dataset import check_ours, ignore_own_files
from ..config import GroupSettings
from ..derivatives.files import write_table
from ..errors import InputError
from ..reports.cohort import Cohort, known_subjects, read_cohort
from ..reports.group_data import by_columns, synthseg_table
from ..reports.group_dictionary import TABLES
from ..reports.group_figures import NAMES
from ..reports.group_page import group_figures, group_page, group_tables, problems
from ..resources import check_room

FOLDER = "group"
PAGE = "group.html"


@dataclass(frozen=True)
class GroupOutcome:
    """Outcome of a run: the page, sentences on what is missing, and the incomplete subjects."""

    page: Path
    problems: tuple[str, ...]
    incomplete: tuple[str, ...]
    subjects: int

    @property
    def exit_code(self) -> int:
        """0 only if there are subjects and each is complete."""
        return 0 if self.subjects and not self.incomplete else 1


def chosen_subjects(settings: GroupSettings) -> list[str]:
    """The labels to report on, all of the derivative or those asked for; raise ``InputError`` for an unknown one."""
    if not settings.out_dir.is_dir():
        message = f"Expected a derivative at {settings.out_dir}, found no such folder; run the participant level first."
        raise InputError(message, code="no-derivative", path=settings.out_dir)
    check_ours(settings.out_dir)
    known = known_subjects(settings.out_dir)
    asked = [label.removeprefix("sub-") for label in settings.participant_label]
    if unknown := [label for label in asked if label not in known]:
        message = (
            f"Expected sub-{unknown[0]} in {settings.out_dir}, found no such subject; run the participant level on it "
            "first, or leave it out."
        )
        raise InputError(message, code="unknown-subject", subjects=unknown)
    return sorted(set(asked)) or known


def read_group(settings: GroupSettings) -> Cohort:
    """Everything that is reported on; raise ``InputError`` for a subject or session without outputs."""
    sessions = [label.removeprefix("ses-") for label in settings.session_label]
    cohort = read_cohort(settings.out_dir, settings.bids_dir, chosen_subjects(settings), sessions)
    if settings.participant_label and not cohort.subjects:
        message = (
            f"Expected {settings.participant_label[0]} in {settings.bids_dir}, found no such subject; leave it out."
        )
        raise InputError(message, code="unknown-subject", subjects=list(settings.participant_label))
    known = {row["session"] for row in cohort.quality}
    if unknown := [label for label in sessions if label not in known]:
        message = f"Expected low field of ses-{unknown[0]} in {settings.out_dir}, found none; ask for another session."
        raise InputError(message, code="unknown-session", sessions=unknown)
    if asked := _restriction(settings, cohort, sessions):
        cohort.notes.insert(0, asked)
    return cohort


def _restriction(settings: GroupSettings, cohort: Cohort, sessions: Sequence[str]) -> str:
    """What of the derivative was asked for, where not all: this report replaces the one on all of it."""
    known, chosen = len(known_subjects(settings.out_dir)), len(cohort.subjects)
    parts = [f"{chosen} of {known} subjects"] if settings.participant_label and chosen < known else []
    parts += [f"session{'s' * (len(sessions) != 1)} {', '.join(sessions)}"] if sessions else []
    return f"Only {' and '.join(parts)}, as asked for; without a restriction the report is on all." if parts else ""


def describe_group(settings: GroupSettings) -> str:
    """What would be read, without reading it: files by kind, and subject by subject."""
    subjects = chosen_subjects(settings)
    lines = [f"{len(subjects)} subject(s) of {settings.out_dir} would be read:"]
    for subject in subjects:
        folder = settings.out_dir / f"sub-{subject}"
        counts = {
            "metric tables": len(_files(folder, "*_qc.tsv")),
            "volume tables": len(_files(folder, "*_dseg.tsv")),
            "records": len(_files(folder, "*_desc-preproc_qc.json")),
            "images (header and sidecar)": len(_files(folder, "*.nii*")),
        }
        contents = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        lines.append(f"  sub-{subject}: {contents or 'nothing on disk'}")
    tables = [d / "participants.tsv" for d in (settings.bids_dir, settings.out_dir)]
    lines += [f"  {path}" for path in tables if path.is_file()]
    return "\n".join([*lines, f"Would be written: {settings.out_dir / PAGE}, {settings.out_dir / FOLDER}/"])


def _files(folder: Path, pattern: str) -> Sequence[Path]:
    return [*folder.glob(f"anat/sub-{pattern}"), *folder.glob(f"ses-*/anat/sub-{pattern}")]


def run_group(settings: GroupSettings) -> GroupOutcome:
    """The outcome of the run; tables and figures are written before the page that refers to them."""
    cohort = read_group(settings)
    out = settings.out_dir
    check_room(out, "OUT_DIR")
    ignore_own_files(out)
    tables = group_tables(cohort)
    figures = group_figures(cohort, tables)
    for name, columns in TABLES.items():
        rows = [by_columns(row, columns) for row in tables[name]]
        write_table(out / FOLDER / f"{name}.tsv", rows, columns)
    atomic_write(out / FOLDER / "volumes_synthseg.csv", synthseg_table(cohort))
    pictures = {out / FOLDER / "figures" / f"{figure.name}.svg": figure.svg for figure in figures}
    for path, content in pictures.items():
        atomic_write(path, content)
    for stale in {out / FOLDER / "figures" / f"{name}.svg" for name in NAMES} - set(pictures):
        stale.unlink(missing_ok=True)  # of an earlier run over other subjects: not what the page shows
    page = atomic_write(out / PAGE, group_page(cohort, tables, figures))
    incomplete = sorted({row["subject"] for row in cohort.incomplete})
    return GroupOutcome(page, tuple(problems(cohort)), tuple(incomplete), len(cohort.subjects))


def group_summary(outcome: GroupOutcome) -> str:
    """One screen: what was reported on, what is missing, where the page is."""
    lines = ["", f"{outcome.subjects} subject(s), {len(outcome.incomplete)} of them incomplete"]
    lines += [f"  {sentence}" for sentence in outcome.problems]
    if outcome.incomplete:
        some = ", ".join(f"sub-{name}" for name in outcome.incomplete[:10])
        lines.append(f"INCOMPLETE {some}{', …' if len(outcome.incomplete) > 10 else ''}")
    lines.append(f"Page: {outcome.page}")
    whole = outcome.exit_code == 0
    lines.append("Everything asked for is on disk." if whole else "Not everything asked for is on disk.")
    return "\n".join(lines)
