"""All volumes of one subject in one tidy table, read from the tables beside the segmentations."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..bids.names import sidecar_path
from ..bids.sidecars import optional_json, split_name
from ..bids.tables import read_table
from ..config import CONTRASTS, WHOLE
from .files import REGION_COLUMNS, write_table

COLUMNS = {
    "participant_id": {"Description": "Subject"},
    "session_id": {"Description": "Session of the image, n/a where the dataset has none"},
    "contrast": {"Description": "Contrast of the image", "Levels": {name: f"BIDS suffix {name}" for name in CONTRASTS}},
    "image": {"Description": "desc- of the image: preproc as acquired (low field: fused), else the enhancement"},
    "field_strength": {"Description": "Field strength at which the image was acquired", "Units": "tesla"},
    "seg": {"Description": "seg- of the segmentation"},
    "grid_space": {"Description": "space- of the grid: the high-field session's; n/a for an image in its own frame"},
    "grid_res": {"Description": "res- of the grid: tells a --sloppy run from another"},
    **REGION_COLUMNS,
    "name": {"Description": "Region; 'total intracranial': all of them"},
}
"""The data dictionary: one row per image, segmentation and region. No name is that of an entity (group_dictionary)."""

_NAME = re.compile(
    rf"seg-(?P<seg>[0-9a-zA-Z+]+)_.*desc-(?P<image>[0-9a-zA-Z+]+?)(?P<contrast>{'|'.join(CONTRASTS)})_dseg"
)


def volumes_path(out_dir: Path, subject: str) -> Path:
    """Where the table of a subject lies."""
    return out_dir / f"sub-{subject}" / f"sub-{subject}_desc-volumes_morph.tsv"


def write_volumes(out_dir: Path, subject: str) -> Path:
    """The table of a subject (label without ``sub-``), which is on disk when this returns, and its data dictionary.

    Every segmentation that lies in the derivative is in it, those of other methods and earlier runs too.
    """
    folder = out_dir / f"sub-{subject}"
    tables = sorted([*folder.glob("anat/sub-*_dseg.tsv"), *folder.glob("ses-*/anat/sub-*_dseg.tsv")])
    path = volumes_path(out_dir, subject)
    write_table(path, [row for table in tables for row in _rows(out_dir, subject, table)], COLUMNS)
    return path


def _rows(out_dir: Path, subject: str, table: Path) -> Iterator[dict[str, Any]]:
    name = _NAME.search(table.name)
    if name is None:
        return
    entities, _, _ = split_name(table.name)
    about = {
        "participant_id": f"sub-{subject}",
        "session_id": f"ses-{entities['ses']}" if "ses" in entities else None,
        "contrast": name["contrast"],
        "image": name["image"],
        "field_strength": _field_strength(out_dir, table),
        "seg": name["seg"],
        "grid_space": entities.get("space"),
        "grid_res": entities.get("res"),
    }
    whole = optional_json(sidecar_path(table)).get(WHOLE)
    for row in [*read_table(table), *([whole] if isinstance(whole, dict) else [])]:
        yield about | {key: row.get(key) for key in REGION_COLUMNS}


def _field_strength(out_dir: Path, table: Path) -> float | None:
    """Tesla, as the sidecar of the segmented image says, which that of the segmentation names."""
    try:
        sources = optional_json(sidecar_path(table))["Sources"]
        image = out_dir / sources[0].removeprefix("bids::")
        return float(optional_json(sidecar_path(image))["MagneticFieldStrength"])
    except (ValueError, KeyError, IndexError, TypeError):
        return None
