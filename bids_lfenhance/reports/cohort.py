"""What lies on disk for a cohort, as tidy rows: the group level knows nothing else."""

import gzip
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..bids.dataset import read_table as read_words
from ..evaluation.cohort import BASELINE, HIGH
from .collect import Channel, Output, Session, Subject, collect, read_json, read_run, read_table
from .verdict import verdict_of

COMPLETE, MISSING, HALF, UNMEASURED = "complete", "missing", "half-written", "no metrics"
"""What can be said of an image that should be there; ``UNMEASURED``: high field was there, but no metrics are."""

NO_SESSION = "n/a"
"""The session of a dataset without sessions, as BIDS writes what is not there."""

Rows = list[dict[str, Any]]


@dataclass
class Cohort:
    """Tidy rows of all subjects (labels without ``sub-``): what ``evaluation.cohort`` makes tables from.

    ``images`` one row per image that should be there; ``quality`` one per session; ``people`` age and sex by subject;
    ``absent`` subjects of BIDS_DIR that the derivative does not know; ``notes`` sentences on what was odd.
    """

    out_dir: Path
    subjects: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    images: Rows = field(default_factory=list)
    metrics: Rows = field(default_factory=list)
    volumes: Rows = field(default_factory=list)
    quality: Rows = field(default_factory=list)
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def incomplete(self) -> Rows:
        """The images that are not as they should be."""
        return [row for row in self.images if row["status"] != COMPLETE]

    @property
    def dataset(self) -> str:
        """The name of the derivative, or nothing."""
        return str(read_json(self.out_dir / "dataset_description.json").get("Name") or "")


def known_subjects(out_dir: Path) -> list[str]:
    """Subjects that have a folder in the derivative, or a row in its participants.tsv."""
    folders = {path.name for path in out_dir.glob("sub-*") if path.is_dir()}
    return sorted({name.removeprefix("sub-") for name in folders} | _listed(out_dir))


def read_cohort(out_dir: Path, bids_dir: Path, subjects: Iterable[str], sessions: Iterable[str] = ()) -> Cohort:
    """Everything there is of the subjects, and what should be and is not; ``sessions`` restricts the low-field ones."""
    wanted = tuple(subjects)
    cohort = Cohort(out_dir, wanted)
    latest = read_run(out_dir, "")
    run_dir = out_dir / "logs" / latest.name if latest else None
    found = {name: collect(out_dir, name, run_dir) for name in wanted}
    labels = set(sessions)
    pairs = [
        (subject, session)
        for subject in found.values()
        for session in subject.sessions
        if not labels or (session.name or NO_SESSION) in labels
    ]
    cohort.methods = tuple(sorted({label for _, session in pairs for label in session.labels}))
    for subject, session in pairs:
        _add_session(cohort, subject, session)
    started = {subject.name for subject, _ in pairs}
    for name in wanted:
        if name not in started:
            cohort.images.append(_image_row(name, NO_SESSION, "n/a", "n/a", MISSING, "no low-field session on disk"))
    cohort.people = _people(out_dir, bids_dir, wanted)
    cohort.absent = tuple(sorted(_listed(bids_dir) - set(known_subjects(out_dir))))
    return cohort


def _add_session(cohort: Cohort, subject: Subject, session: Session) -> None:
    name = session.name or NO_SESSION
    where = {"subject": subject.name, "session": name}
    verdict = verdict_of(session, subject.run, ())
    cohort.quality.append(where | _quality(session) | {"verdict": verdict.word, "reasons": " ".join(verdict.reasons)})
    measured = {(str(row.get("contrast")), str(row.get("image"))) for row in session.metrics}
    counted = set()
    folder = cohort.out_dir / f"sub-{subject.name}" / (f"ses-{session.name}" if session.name else "") / "anat"
    for channel in session.channels:
        for label in (BASELINE, *cohort.methods):
            output = channel.low if label == BASELINE else channel.enhanced.get(label)
            status, detail = _status(output, folder, label, channel.contrast)
            paired = bool(session.reference) and channel.high is not None
            if status == COMPLETE:
                counted.add((channel.contrast, label))
                if label != BASELINE and paired and (channel.contrast, label) not in measured:
                    status, detail = UNMEASURED, f"no row of {label} in its desc-{label}_qc.tsv"
            row = _image_row(subject.name, name, channel.contrast, label, status, detail)
            cohort.images.append(row | _risk(channel, label, session) | {"high_field": "yes" if paired else "no"})
        if channel.high is not None:
            status, detail = _status(channel.high, folder, HIGH, channel.contrast)
            if status == COMPLETE:
                counted.add((channel.contrast, HIGH))
            else:
                cohort.images.append(_image_row(subject.name, name, channel.contrast, HIGH, status, detail))
        cohort.volumes += [where | row for row in _volumes(channel, counted)]
    _add_metrics(cohort, where, session, counted)
    if not session.channels:
        cohort.images.append(_image_row(subject.name, name, "n/a", "n/a", MISSING, "no image on disk"))


def _image_row(subject: str, session: str, contrast: str, image: str, status: str, detail: str) -> dict[str, Any]:
    where = {"subject": subject, "session": session, "contrast": contrast, "image": image}
    return where | {"status": status, "detail": detail, "high_field": "n/a"}


def _status(output: Output | None, folder: Path, label: str, contrast: str) -> tuple[str, str]:
    """What can be said of an image, and why."""
    if output is None:
        names = [path.name for path in folder.glob(f"*res-?mm_desc-{label}_{contrast}.json")]
        return (HALF, f"{names[0]} has no image") if names else (MISSING, "no such image")
    if not output.sidecar:
        return HALF, f"{output.path.name} has no readable sidecar"
    wrong = damage(output.path)
    return (HALF, f"{output.path.name}: {wrong}") if wrong else (COMPLETE, "")


def damage(path: Path) -> str:
    """What is wrong with a NIfTI file, or nothing: told from its header and its end, without reading the image.

    The last four bytes of a gzip file are the length of its content modulo 2³² (RFC 1952), which the header implies.
    """
    import nibabel as nib

    try:
        size = path.stat().st_size
        if not size:
            return "empty file"
        packed = path.name.endswith(".gz")
        with gzip.open(path) if packed else path.open("rb") as file:
            header = nib.Nifti1Header.from_fileobj(file, check=False)
        expected = (
            int(header.get_data_offset()) + int(np.prod(header.get_data_shape())) * header.get_data_dtype().itemsize
        )
        if packed:
            with path.open("rb") as file:
                file.seek(-4, 2)
                return "" if int.from_bytes(file.read(4), "little") == expected % 2**32 else "cut short"
        return "" if size >= expected else "cut short"
    except (OSError, EOFError, ValueError, nib.spatialimages.HeaderDataError, nib.wrapstruct.WrapStructError):
        return "not a readable NIfTI file"


def _risk(channel: Channel, label: str, session: Session) -> dict[str, Any]:
    """What the sidecar of an image's risk map says: shares of the brain, and the volume above the threshold in mL."""
    about: Mapping[str, Any] = channel.risk[label].sidecar if label in channel.risk else {}
    above, seen = _figure(about.get("FractionAbove")), _figure(about.get("FractionSeen"))
    brain = _figure(_mapping(session.record.get("Anatomy")).get("MaskVolumeMl"))
    volume = above * brain if above is not None and brain is not None else None
    return {"risk_fraction": above, "risk_ml": volume, "risk_seen": seen}


_WORST = {
    "snr_min": ("SNR", min),
    "rotation_max_deg": ("RotationDeg", max),
    "translation_max_mm": ("TranslationMm", max),
    "coverage_min": ("Coverage", min),
    "similarity_min": ("Similarity", min),
}


def _quality(session: Session) -> dict[str, Any]:
    """The worst figure of a session's scans, and how well the template fitted."""
    listed = session.record.get("Scans")
    scans = [scan for scan in listed if isinstance(scan, Mapping)] if isinstance(listed, list) else []
    row: dict[str, Any] = {"scans": len(scans)}
    for column, (key, worst) in _WORST.items():
        figures = [value for scan in scans if (value := _figure(scan.get(key))) is not None]
        row[column] = worst(figures) if figures else None
    anatomy = _mapping(session.record.get("Anatomy"))
    row |= {"mask_ml": _figure(anatomy.get("MaskVolumeMl"))}
    row |= {"template_correlation": _figure(anatomy.get("TemplateCorrelation"))}
    reference = session.reference
    return row | {"high_field": str(reference.get("Session") or "same session") if reference else None}


def _volumes(channel: Channel, counted: set[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """One row per image and label of its segmentation; high field first."""
    high = channel.tissue_high if (channel.contrast, HIGH) in counted else None
    tissues = [(HIGH, high)] if high else []
    tissues += [(label, t) for label, t in channel.tissue.items() if (channel.contrast, label) in counted]
    for image, tissue in tissues:
        for row in read_table(tissue.output.path.with_name(tissue.output.path.name.split(".nii")[0] + ".tsv")):
            if row.get("name") is not None:
                figures = {key: _figure(row.get(key)) for key in ("volume_mm3", "volume_soft_mm3")}
                yield {"contrast": channel.contrast, "image": image, "name": str(row["name"])} | figures


def _add_metrics(cohort: Cohort, where: dict[str, str], session: Session, counted: set[tuple[str, str]]) -> None:
    """The figures of images that are on disk; the baseline stands in the table of every method, and counts once."""
    keys = ("contrast", "image", "protocol", "region", "metric")
    seen: dict[tuple, float] = {}
    for row in session.metrics:
        value, key = row.get("value"), tuple(str(row.get(name)) for name in keys)
        if not isinstance(value, float) or math.isnan(value) or key[:2] not in counted:
            continue
        if key not in seen:
            seen[key] = value
            cohort.metrics.append(where | dict(zip(keys, key, strict=True)) | {"value": value})
        elif abs(seen[key] - value) > 1e-4 * abs(value):
            note = (
                f"sub-{where['subject']} session {where['session']}: {key[1]} has different figures in the tables of "
                "two methods, so they were not run on the same images; the first table counts."
            )
            cohort.notes += [note] if note not in cohort.notes else []


def _people_rows(folder: Path) -> dict[str, dict[str, str]]:
    rows = read_words(folder / "participants.tsv")
    return {row["participant_id"].removeprefix("sub-"): row for row in rows if row.get("participant_id")}


def _listed(folder: Path) -> set[str]:
    return {name for name in _people_rows(folder) if name.replace("+", "").isalnum()}


_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}


def _people(out_dir: Path, bids_dir: Path, subjects: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Age in years and sex of each subject, from the derivative's participants.tsv, else from the dataset's."""
    rows: dict[str, dict[str, str]] = {}
    for folder in (bids_dir, out_dir):
        for name, row in _people_rows(folder).items():
            known = {key.lower(): value for key, value in row.items() if value not in ("", "n/a")}
            rows.setdefault(name, {}).update(known)
    found = {}
    for name in (subject for subject in subjects if subject in rows):
        sex = rows[name].get("sex", rows[name].get("gender"))
        found[name] = {"age": _years(rows[name].get("age")), "sex": _SEXES.get(sex.lower(), sex) if sex else None}
    return found


def _years(text: str | None) -> float | None:
    try:
        return _figure(float(text)) if text else None
    except ValueError:  # "89+", as ages are hidden
        return None


def _figure(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
