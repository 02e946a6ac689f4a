"""What is wrong with a file that should hold the output of a step (missing, empty, cut short), or with a folder."""

import gzip
import json
import math
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

NIFTI2 = 540
"""Size of the header of a NIfTI-2 file, its first four bytes."""

UNREADABLE = (OSError, EOFError, ValueError, OverflowError, zlib.error)
"""What reading damaged bytes may raise."""


def closed_folder(subject: Path) -> str:
    """A sentence on the first folder of a subject that is there but may not be read; "" where there is none."""
    inner = (path for name in ("anat", "figures", "ses-*", "ses-*/anat") for path in subject.glob(name))
    for folder in (subject, *inner):
        if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
            return f"Expected to be able to read {folder}, found no permission to; change it, and run again."
    return ""


def readable_subjects(root: Path, subjects: Iterable[str]) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """(The subjects whose folders may be read; the others, each with the sentence that says why not)."""
    found = {subject: closed_folder(root / f"sub-{subject}") for subject in subjects}
    return tuple(name for name, why in found.items() if not why), [(name, why) for name, why in found.items() if why]


def file_defect(path: Path) -> str:
    """What is wrong with a file, "" if nothing: "missing", "empty file", "cut short", or that it is not readable.

    The last two are found in NIfTI and JSON files and in tables (.tsv).
    """
    try:
        size = path.stat().st_size
    except OSError:
        return "missing"
    if not size:
        return "empty file"
    if path.name.endswith((".nii", ".nii.gz")):
        return _image_defect(path, size)
    if path.suffix == ".json":
        return _json_defect(path)
    return _ends_without_newline(path) if path.suffix == ".tsv" else ""


def _image_defect(path: Path, size: int) -> str:
    """From header and end, without reading the image.

    The last four bytes of a gzip file are the length of its content modulo 2³² (RFC 1952), which the header implies.
    """
    import nibabel as nib

    try:
        packed = path.name.endswith(".gz")
        with gzip.open(path) if packed else path.open("rb") as file:
            start = file.read(4)
            second = NIFTI2 in (int.from_bytes(start, "little"), int.from_bytes(start, "big"))
            file.seek(0)
            header = (nib.Nifti2Header if second else nib.Nifti1Header).from_fileobj(file, check=False)
        expected = int(header.get_data_offset()) + math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
        if packed:
            with path.open("rb") as file:
                file.seek(-4, 2)
                return "" if int.from_bytes(file.read(4), "little") == expected % 2**32 else "cut short"
        return "" if size >= expected else "cut short"
    except (*UNREADABLE, nib.spatialimages.HeaderDataError, nib.wrapstruct.WrapStructError):
        return "not a readable NIfTI file"


def _json_defect(path: Path) -> str:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "not a readable JSON file"
    return "" if isinstance(content, dict) else "a JSON file without entries"


def _ends_without_newline(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(-1, 2)
            return "" if file.read(1) == b"\n" else "cut short"
    except OSError:
        return "not a readable table"
