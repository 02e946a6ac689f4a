"""What lies on disk for a cohort, as tidy rows: the group level knows nothing else."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ..bids.defects import closed_folder, file_defect, readable_subjects
from ..bids.pairing import listed_time
from ..bids.participants import age_and_sex, columns_of, given_rows, own_rows, participants_notes
from ..bids.scans import LABEL, shorten
from ..bids.sidecars import optional_json
from ..bids.unread_files import absent_participants
from ..config import TOTAL_INTRACRANIAL
from ..evaluation.cohort import BASELINE, METRIC_KEYS
from ..evaluation.metric_definitions import DICE, VOLUME_DIFFERENCE
from ..evaluation.structures import HIGH, OVERLAP_KEYS, VOLUME_KEYS
from ..evaluation.subject_values import SubjectValues
from .collect import REGION_SEGMENTATIONS, Channel, Output, SegmentationOutputs, Session, Subject, collect, read_run
from .made_with import mixed_makes
from .session_order import labels_in_time, orders_in_time
from .tables import lesion_contrast
from .usable import summed_up, usable_images

COMPLETE, MISSING, HALF = "complete", "missing", "half-written"
UNMEASURED, UNSEGMENTED = "no metrics", "no volumes"
"""What can be said of an image that should be there. ``UNMEASURED``: high field was there, but no metrics are;
``UNSEGMENTED``: others of the cohort have a segmentation that this one lacks."""

NO_SESSION = "n/a"
"""The session of a dataset without sessions, as BIDS writes what is not there."""

Rows = list[dict[str, Any]]


@dataclass
class Cohort:
    """What there is of all subjects (labels without ``sub-``): what ``evaluation.cohort`` makes tables from.

    ``metrics`` of intensities by ``METRIC_KEYS``, ``overlaps`` (Dice) and ``volumes`` in mm³ by ``OVERLAP_KEYS`` and
    ``VOLUME_KEYS``; ``images`` one row per image that should be there; ``quality`` one per session; ``people`` age and
    sex by subject; ``absent`` subjects of BIDS_DIR that the derivative does not know; ``notes`` on what was odd;
    ``dates`` of the sessions (subject, session) of those who have several;
    ``segmentations`` by file: of what (subject, session, contrast, image; of an enhanced image what it is usable for),
    and the segmentation.
    """

    out_dir: Path
    subjects: tuple[str, ...]
    methods: tuple[str, ...]
    metrics: SubjectValues
    overlaps: SubjectValues
    volumes: SubjectValues
    images: Rows = field(default_factory=list)
    quality: Rows = field(default_factory=list)
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    segmentations: dict[Path, tuple[dict[str, Any], SegmentationOutputs]] = field(default_factory=dict)
    dates: dict[tuple[str, str], datetime | None] = field(default_factory=dict)

    @property
    def incomplete(self) -> Rows:
        """The images that are not as they should be."""
        return [row for row in self.images if row["status"] != COMPLETE]

    @property
    def dataset(self) -> str:
        """The name of the derivative, or nothing."""
        return str(optional_json(self.out_dir / "dataset_description.json").get("Name") or "")

    @property
    def order(self) -> dict[str, list[str]]:
        """The low-field sessions, in time, of each subject who has several."""
        return orders_in_time(self.dates, self.volumes.sessions)

    def page(self, subject: str) -> str:
        """The file name of the page of a subject, or nothing where there is none."""
        name = f"sub-{subject}.html"
        return name if (self.out_dir / name).is_file() else ""


def known_subjects(out_dir: Path) -> list[str]:
    """Subjects that have a folder or a page in the derivative, or a row in its participants.tsv."""
    folders = {path.name for path in out_dir.glob("sub-*") if path.is_dir()}
    pages = {path.stem for path in out_dir.glob("sub-*.html")}  # all there is of a subject that could not be begun
    listed = {row["participant_id"] for row in given_rows(out_dir)}
    names = {name.removeprefix("sub-") for name in folders | pages | listed}
    return sorted(name for name in names if LABEL.fullmatch(name))


def left_dataset(out_dir: Path, bids_dir: Path) -> tuple[set[str], set[tuple[str, str | None]]]:
    """(Subjects, sessions of the others) of the derivative that were renamed in the dataset or taken out of it.

    Where the dataset has no subject, or a subject neither sessions nor images, nothing is: it may have been archived.
    Nor is what lies in folders that may not be read.
    """
    subjects: set[str] = set()
    sessions: set[tuple[str, str | None]] = set()
    any_there = any(bids_dir.glob("sub-*/"))
    for name in known_subjects(out_dir):
        raw, made = bids_dir / f"sub-{name}", out_dir / f"sub-{name}"
        if not raw.is_dir():
            subjects |= {name} if any_there else set()
            continue
        if closed_folder(raw) or closed_folder(made):
            continue
        there: set[str | None] = {path.name.removeprefix("ses-") for path in raw.glob("ses-*/")}
        there |= {None} if (raw / "anat").is_dir() else set()
        ours: set[str | None] = {path.name.removeprefix("ses-") for path in made.glob("ses-*/")}
        ours |= {None} if (made / "anat").is_dir() else set()
        sessions |= {(name, one) for one in ours - there} if there else set()
    return subjects, sessions


def read_cohort(out_dir: Path, bids_dir: Path, subjects: Iterable[str], sessions: Iterable[str] = ()) -> Cohort:
    """Everything there is of the subjects, and what should be and is not; ``sessions`` restricts the low-field ones."""
    left, gone = left_dataset(out_dir, bids_dir)
    wanted = tuple(name for name in subjects if name not in left)
    latest = read_run(out_dir, "")
    run_dir = out_dir / "logs" / latest.name if latest else None
    readable, closed = readable_subjects(out_dir, wanted)
    collected = {name: collect(out_dir, name, run_dir) for name in readable}
    labels = set(sessions)
    pairs = [
        (subject, session)
        for subject in collected.values()
        for session in subject.sessions
        if (not labels or (session.name or NO_SESSION) in labels) and (subject.name, session.name) not in gone
    ]
    recorded = {str(session.record.get("Method") or "") for _, session in pairs} - {""}  # some left no image
    methods = tuple(sorted({label for _, session in pairs for label in session.labels} | recorded))
    several = Counter(subject.name for subject, _ in pairs)
    places = [(subject.name, session.name) for subject, session in pairs if several[subject.name] > 1]
    dates = {(name, session or NO_SESSION): listed_time(bids_dir, name, session) for name, session in places}
    names = labels_in_time(dates, (session.name or NO_SESSION for _, session in pairs))
    metrics, overlaps, volumes = (
        SubjectValues(keys, wanted, names) for keys in (METRIC_KEYS, OVERLAP_KEYS, VOLUME_KEYS)
    )
    cohort = Cohort(out_dir, wanted, methods, metrics, overlaps, volumes)
    for subject, session in pairs:
        _add_session(cohort, subject, session)
    sloppy = {(subject.name, session.name or NO_SESSION) for subject, session in pairs if _is_sloppy(session)}
    _find_unsegmented(cohort, sloppy)
    _count_high_field_once(cohort)
    started = {subject.name for subject, _ in pairs}
    for name in wanted:
        if name not in started:
            why = dict(closed).get(name, "no low-field session on disk")
            cohort.images.append(_image_row(name, NO_SESSION, "n/a", "n/a", MISSING, why))
    cohort.dates = dates
    cohort.people = _people(out_dir, bids_dir, wanted)
    cohort.notes += [*dict(closed).values(), *participants_notes(bids_dir, wanted)]
    cohort.notes += _notes_on([*((name, None) for name in sorted(left)), *sorted(gone, key=str)], sloppy)
    cohort.notes += mixed_makes(pairs)
    absent, _ = absent_participants(bids_dir, [f"sub-{name}" for name in known_subjects(out_dir)])
    cohort.absent = tuple(sorted(name.removeprefix("sub-") for name in absent))
    return cohort


def _notes_on(gone: Collection[tuple[str, str | None]], sloppy: Collection[tuple[str, str]]) -> Iterable[str]:
    """Sentences on what was left out, and on what should have been."""
    if sloppy:
        some = shorten((f"sub-{name}" for name in sorted({subject for subject, _ in sloppy})), 8)
        yield (
            f"{len(sloppy)} session{'s' * (len(sloppy) != 1)} made with --sloppy, never for a study, in every table "
            f"and figure: {some}; run the participant level again without it."
        )
    if gone:
        names = [f"sub-{subject}{f'/ses-{session}' if session else ''}" for subject, session in gone]
        yield (
            f"{len(gone)} of the subjects and sessions in OUT_DIR are not in BIDS_DIR (renamed, or taken out) and were "
            f"left out: {shorten(names, 8)}; remove their folders and pages from OUT_DIR."
        )


def _add_session(cohort: Cohort, subject: Subject, session: Session) -> None:
    name = session.name or NO_SESSION
    where = subject.name, name
    outputs = [o for c in session.channels for o in (c.low, c.high, *c.enhanced.values()) if o]
    broken = {output.path.name: wrong for output in outputs if (wrong := file_defect(output.path))}
    images = usable_images(session, broken)
    cohort.quality.append({"subject": subject.name, "session": name} | _quality(session) | summed_up(images))
    words = {(one.contrast, one.label): one.usable.words for one in images}
    measured = set(zip(session.metric_columns["contrast"], session.metric_columns["image"], strict=True))
    counted = set()
    folder = cohort.out_dir / f"sub-{subject.name}" / (f"ses-{session.name}" if session.name else "") / "anat"
    for channel in session.channels:
        paired = bool(session.reference) and channel.high is not None
        for label in (BASELINE, *cohort.methods, *((HIGH,) if channel.high else ())):
            output = {BASELINE: channel.low, HIGH: channel.high}.get(label, channel.enhanced.get(label))
            status, detail = _status(output, folder, label, channel.contrast, broken)
            about = {"subject": subject.name, "session": name, "contrast": channel.contrast, "image": label}
            segmented = _segmented(channel, label) if status == COMPLETE else []
            if status == COMPLETE:
                counted.add((channel.contrast, label))
                for tissue in segmented:
                    _add_volumes(cohort, where, channel.contrast, label, tissue)
                    _add_segmentation(cohort, about | words.get((channel.contrast, label), {}), tissue)
                if label in cohort.methods and paired and (channel.contrast, label) not in measured:
                    status, detail = UNMEASURED, f"no row of {label} in its desc-{label}_qc.tsv"
            row = _image_row(subject.name, name, channel.contrast, label, status, detail)
            with_volumes = sorted(tissue.segmentation for tissue in segmented if tissue.volumes is not None)
            row |= _risk(channel, label, session) | {"segmentations": " ".join(with_volumes)}
            row |= words.get((channel.contrast, label), {}) | _lesions(channel, label)
            own = {"own_session": output.entities.get("ses", NO_SESSION)} if output and label == HIGH else {}
            cohort.images.append(row | own | {"high_field": "yes" if paired else "no"})
    _add_metrics(cohort, where, session, counted)
    if not session.channels:
        cohort.images.append(_image_row(*where, "n/a", "n/a", MISSING, "no image on disk"))
    elif not session.record:
        cohort.images.append(
            _image_row(*where, "n/a", "n/a", MISSING, f"no readable {session.missing[0]}")  # its name comes first
        )


def _segmented(channel: Channel, label: str) -> list[SegmentationOutputs]:
    """The segmentations of an image: of its tissue, of its regions."""
    if label == HIGH:
        return [tissue for tissue in (channel.tissue_high, channel.regions_high) if tissue]
    return [tissue for tissue in (channel.tissue.get(label), channel.regions.get(label)) if tissue]


def _add_volumes(
    cohort: Cohort, where: tuple[str, str], contrast: str, label: str, tissue: SegmentationOutputs
) -> None:
    for measure, volumes in (("volume_mm3", tissue.volumes or {}), ("volume_soft_mm3", tissue.soft)):
        for name, volume in volumes.items():
            cohort.volumes.add((contrast, label, tissue.segmentation, name, measure), where, volume)


def _add_segmentation(cohort: Cohort, about: dict[str, Any], tissue: SegmentationOutputs) -> None:
    """High field comes with each low-field session it is compared with, and is one image of its own session."""
    own = {"session": tissue.output.entities.get("ses", NO_SESSION)} if about["image"] == HIGH else {}
    cohort.segmentations[tissue.output.path] = about | own, tissue


def _is_sloppy(session: Session) -> bool:
    return any(output.sidecar.get("Sloppy") is True for output in session.enhanced)


def _find_unsegmented(cohort: Cohort, sloppy: Collection[tuple[str, str]]) -> None:
    """Mark complete images that lack a segmentation which others have.

    Regions of low field itself are found only beside high field, and none in a ``sloppy`` session.
    """
    wanted = {seg for row in cohort.images for seg in str(row["segmentations"]).split()}
    for row in cohort.images:
        alone = row["image"] == BASELINE and row["high_field"] == "no"
        optional = REGION_SEGMENTATIONS if alone or (row["subject"], row["session"]) in sloppy else ()
        lacking = sorted(wanted.difference(str(row["segmentations"]).split(), optional))
        if row["status"] == COMPLETE and lacking:
            listed = ", ".join(f"seg-{seg}" for seg in lacking)
            row |= {"status": UNSEGMENTED, "detail": f"no table of volumes of {listed}, which other images have"}


def _count_high_field_once(cohort: Cohort) -> None:
    """High field is an image of its own session, one, with however many low-field sessions it is compared."""
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in cohort.images:
        row["session"] = row.pop("own_session", row["session"])
        rows.setdefault(tuple(row[key] for key in ("subject", "session", "contrast", "image")), row)
    cohort.images[:] = rows.values()


def _image_row(subject: str, session: str, contrast: str, image: str, status: str, detail: str) -> dict[str, Any]:
    where = {"subject": subject, "session": session, "contrast": contrast, "image": image}
    return where | {"status": status, "detail": detail, "high_field": "n/a", "segmentations": ""}


def _status(
    output: Output | None, folder: Path, label: str, contrast: str, broken: Mapping[str, str]
) -> tuple[str, str]:
    """What can be said of an image, and why; ``broken``: what is wrong with files, by name."""
    if output is None:
        names = [path.name for path in folder.glob(f"*res-?mm_desc-{label}_{contrast}.json")]
        return (HALF, f"{names[0]} has no image") if names else (MISSING, "no such image")
    if not output.sidecar:
        return HALF, f"{output.path.name} has no readable sidecar"
    wrong = broken.get(output.path.name)
    return (HALF, f"{output.path.name}: {wrong}") if wrong else (COMPLETE, "")


def _risk(channel: Channel, label: str, session: Session) -> dict[str, Any]:
    """What the sidecar of an image's risk map says: shares of the brain, and the volume above the threshold in mL."""
    about: Mapping[str, Any] = channel.risk[label].sidecar if label in channel.risk else {}
    above, seen = _figure(about.get("FractionAbove")), _figure(about.get("FractionSeen"))
    brain = _figure(_mapping(session.record.get("Anatomy")).get("MaskVolumeMl"))
    volume = above * brain if above is not None and brain is not None else None
    return {"risk_fraction": above, "risk_ml": volume, "risk_seen": seen}


def _lesions(channel: Channel, label: str) -> dict[str, Any]:
    """Volume of the outlined lesions, and their contrast in an image: the sidecars of enhanced images tell both."""
    own = [channel.enhanced[label]] if label in channel.enhanced else list(channel.enhanced.values())
    about = next((output.sidecar for output in own if output.sidecar.get("Lesions")), {})
    volume = _figure(_mapping(about.get("Lesions")).get("VolumeMl"))
    return {"lesion_ml": volume, "lesion_contrast": lesion_contrast(about, label)}


_WORST = {
    "snr_min": ("SNR", min),
    "rotation_max_deg": ("RotationDeg", max),
    "translation_max_mm": ("TranslationMm", max),
    "coverage_min": ("Coverage", min),
    "similarity_min": ("Similarity", min),
}


def _quality(session: Session) -> dict[str, Any]:
    """The worst figure of a session's scans, and how well the template fitted."""
    row: dict[str, Any] = {"scans": len(session.scans)}
    for column, (key, worst) in _WORST.items():
        figures = [value for scan in session.scans if (value := _figure(scan.get(key))) is not None]
        row[column] = worst(figures) if figures else None
    anatomy = _mapping(session.record.get("Anatomy"))
    row |= {"mask_ml": _figure(anatomy.get("MaskVolumeMl"))}
    row |= {"template_correlation": _figure(anatomy.get("TemplateCorrelation"))}
    sure = [t.confidence.get(TOTAL_INTRACRANIAL) for channel in session.channels for t in channel.regions.values()]
    row |= {"confidence_min": min((value for value in sure if value is not None), default=None)}
    reference = session.reference
    return row | {"high_field": str(reference.get("Session") or "same session") if reference else None}


def _add_metrics(cohort: Cohort, where: tuple[str, str], session: Session, counted: set[tuple[str, str]]) -> None:
    """The figures of images that are on disk; the baseline stands in the table of every method, and counts once."""
    keys = zip(*(map(str, session.metric_columns[name]) for name in METRIC_KEYS), strict=True)
    for key, value in zip(keys, session.metric_columns["value"], strict=True):
        contrast, image, protocol, region, metric = key
        if (contrast, image) not in counted:
            continue
        if metric == VOLUME_DIFFERENCE:  # volumes are read from their own tables, each image once
            continue
        if metric == DICE:
            before = cohort.overlaps.add((contrast, image, protocol.removeprefix("seg-"), region), where, value)
        else:
            before = cohort.metrics.add(key, where, value)
        if before is not None and isinstance(value, float) and abs(before - value) > 1e-4 * abs(value):
            note = (
                f"sub-{where[0]} session {where[1]}: {image} has different figures in the tables of "
                "two methods, so they were not run on the same images; the last table counts."
            )
            cohort.notes += [note] if note not in cohort.notes else []


def _people(out_dir: Path, bids_dir: Path, subjects: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Age in years and sex of each subject, from the dataset's participants.tsv, else from the derivative's copy."""
    people: dict[str, dict[str, Any]] = {}
    for folder in (out_dir, bids_dir):
        columns = columns_of(folder)
        for label, row in own_rows(given_rows(folder), [f"sub-{subject}" for subject in subjects]).items():
            known = {key: value for key, value in age_and_sex(row, columns).items() if value is not None}
            people.setdefault(label.removeprefix("sub-"), {"age": None, "sex": None}).update(known)
    return people


def _figure(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
