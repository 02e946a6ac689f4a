"""The scans of one run without a BIDS dataset: files, folders, patterns or images in memory; and their contrast."""

import gzip
import re
import zlib
from collections.abc import Callable, Sequence
from glob import glob
from pathlib import Path
from typing import Any

import nibabel as nib

from ..config import CONTRASTS, ENDINGS
from ..errors import InputError, usable_paths
from .guess import contrast_of_name
from .headers import check_scan, copies, open_scan
from .nifti import MADE_HERE

LABELS = r"_(mask|roi|dseg|probseg)\.nii(\.gz)?$"
"""How names of masks and labels end in BIDS."""

Found = tuple[str, Path | nib.Nifti1Image]
"""The name of a scan, and its file or its image."""

Opened = tuple[str, nib.Nifti1Image]
"""The name of a scan, and its image after the check of its header."""


def find_scans(scans: Sequence[str | Path | nib.Nifti1Image]) -> list[Found]:
    """Every scan by name, unopened; ``scans`` are paths, folders, patterns or images.

    Raises ``InputError`` where there is none.
    """
    found: list[Found] = []
    for number, scan in enumerate(scans, start=1):
        if isinstance(scan, str | Path):
            named: list[Found] = [(path.name, path) for path in scan_files(str(scan))]
        else:
            named = [(Path(_file_of(scan) or f"scan {number}").name, scan)]
        for name, one in named:
            found.append((_unique_name(name, found), one))
    if not found:
        raise InputError("Expected at least one scan, found none; give the path of a NIfTI image.", code="no-scans")
    return found


def read_scans(scans: Sequence[Found], progress: Callable[[str], None]) -> tuple[list[Opened], list[str]]:
    """The scans after the check of their headers, and the warnings of these checks; ``progress`` is called once a scan.

    Raises ``InputError`` for one that is no NIfTI image of a head.
    """
    images: list[Opened] = []
    warnings: list[str] = []
    for name, scan in scans:
        image, notes = open_scan(scan) if isinstance(scan, Path) else check_scan(Path(_file_of(scan) or name), scan)
        progress(f"read {name}, {' × '.join(map(str, image.shape))} voxels")
        images.append((name, image))
        warnings += notes
    return images, warnings + copies(dict(images))


@usable_paths()
def files_of(scans: Sequence[str | Path | nib.Nifti1Image]) -> frozenset[Path]:
    """The files that scans were read from, resolved."""
    files: list[Path] = []
    for scan in scans:
        if isinstance(scan, str | Path):
            files += scan_files(str(scan))
        elif name := _file_of(scan):
            files.append(Path(name))
    return frozenset(path.resolve() for path in files)


def _unique_name(name: str, others: Sequence[Found]) -> str:
    """The name, with a number where another scan has the same."""
    same = sum(other == name or other.startswith(f"{name} (") for other, _ in others)
    return f"{name} ({same + 1})" if same else name


def _file_of(image: Any) -> str | None:
    """The file an image was read from; raises ``InputError`` for what is no NIfTI image."""
    if not isinstance(image, nib.Nifti1Image):
        message = f"Expected a path or a NIfTI image of nibabel, found {type(image).__name__}; convert it first."
        raise InputError(message, code="bad-image")
    name: str | None = image.get_filename()
    return name


@usable_paths()
def scan_files(word: str) -> list[Path]:
    """The image files that a path, a folder or a pattern stands for, sorted; a single path is returned unchecked.

    From a folder or pattern, images that ``enhance`` made are left out, and what BIDS names a mask or labels.
    Raises ``InputError`` where nothing is left.
    """
    if not word:
        raise InputError(
            "Expected a scan, found an empty string (a variable that is not set?); name a file.", code="missing-file"
        )
    path = Path(word)
    if path.is_dir():
        found = sorted(one for one in path.iterdir() if one.name.endswith(ENDINGS) and not one.name.startswith("."))
        expected = f"images ({' or '.join(ENDINGS)}) in the folder {word}"
    elif path.exists() or path.is_symlink() or not any(letter in word for letter in "*?["):
        return [path]
    else:
        found = sorted(Path(one) for one in glob(word, recursive=True) if one.endswith(ENDINGS))  # noqa: PTH207  (patterns may be absolute)
        expected = f"images ({' or '.join(ENDINGS)}) that match {word}"
    scans = [one for one in found if not (_made_here(one) or re.search(LABELS, one.name))]
    if not scans:
        what = "only masks, labels and images that bids_lfenhance made" if found else "none"
        raise InputError(f"Expected {expected}, found {what}; check the path.", code="missing-file", path=path)
    return scans


def _made_here(path: Path) -> bool:
    """Whether the header of an image says that ``enhance`` wrote it; False for files that cannot be read."""
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            return MADE_HERE in file.read(348)
    except (OSError, EOFError, zlib.error):
        return False


def of_one_contrast(scans: Sequence[Found], suffix: str | None) -> tuple[Sequence[Found], str | None, list[str]]:
    """The scans of the one contrast; that contrast, None where no name says it; warnings on scans left out.

    ``suffix`` is the contrast that was asked for, or None. Raises ``InputError`` where scans of several are left.
    """
    if suffix is not None and suffix not in CONTRASTS:
        message = f"Expected one of {', '.join(CONTRASTS)} for the contrast, found {suffix!r}; choose one of these."
        raise InputError(message, code="unknown-contrast")
    contrasts = {name: contrast_of_name(name) for name, _ in scans}
    if suffix is None:
        kinds = dict.fromkeys(contrasts.values())
        if len(kinds) > 1:
            listed = "; ".join(f"{name}: {contrast or 'not said'}" for name, contrast in contrasts.items())
            message = (
                f"Expected scans of one contrast, as one run makes one image, found by their names {listed}; choose "
                "one with --suffix (suffix=) and run again for the others, or enhance a BIDS dataset, which takes all "
                "contrasts at once."
            )
            raise InputError(message, code="several-contrasts", contrasts=tuple(kinds))
        return scans, next(iter(kinds)), []
    kept = [(name, scan) for name, scan in scans if contrasts[name] in (None, suffix)]
    if not kept:
        raise InputError(
            f"Expected a scan of contrast {suffix}, found by their names {', '.join(map(str, contrasts.values()))}; "
            "correct the contrast or rename the files.",
            code="several-contrasts",
        )
    others = [name for name, _ in scans if contrasts[name] not in (None, suffix)]
    return kept, suffix, [f"{name} was left out: its name says {contrasts[name]}, not {suffix}." for name in others]
