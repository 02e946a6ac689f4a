"""Manual lesion masks: which of a dataset belong to a session."""

from collections.abc import Iterator
from pathlib import Path

from .scans import Entities, Scan, file_state
from .sessions import LowFieldSession
from .sidecars import split_name

LABELS = ("lesion", "lesions", "l", "wmh")
"""How a lesion mask is marked, in lower case: by ``label-`` (``L`` is BIDS' own abbreviation) or by ``desc-``."""


def lesion_masks(bids_dir: Path, session: LowFieldSession) -> tuple[Scan, ...]:
    """The lesion masks of a low-field session and of its high field, by name; no image is opened.

    ``sub-01[_ses-…]_label-lesion_mask.nii.gz`` in ``anat`` of the dataset or of a derivative under ``derivatives/``,
    in the coordinates of the scanner: those with a ``space-`` other than ``orig`` are left out.
    """
    labels = {session.session} | ({session.reference_session} if session.paired else set())
    masks = {path.name: scan for path in _paths(bids_dir, session.subject) if (scan := _mask(path, session.subject))}
    return tuple(scan for _, scan in sorted(masks.items()) if scan.session in labels)


def _paths(bids_dir: Path, subject: str) -> Iterator[Path]:
    for pattern in ("", "derivatives/*/"):
        for folder in ("anat", "ses-*/anat"):
            yield from sorted(bids_dir.glob(f"{pattern}sub-{subject}/{folder}/*_mask.nii*"))


def _mask(path: Path, subject: str) -> Scan | None:
    """The record of a lesion mask of a subject; None of any other file."""
    entities, _, extension = split_name(path.name)
    marks = {entities.get(key, "").lower() for key in ("label", "desc")}
    meant = extension in (".nii", ".nii.gz") and entities.get("sub") == subject and not marks.isdisjoint(LABELS)
    if not meant or entities.get("space", "orig") != "orig":
        return None
    return Scan(path, Entities(entities), "mask", state=file_state(path))
