"""What a dataset holds that no run reads: folders that are no label, people without data, ignored files."""

import fnmatch
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from .participants import given_rows, own_rows
from .scans import LABEL, shorten, why_no_label

IGNORED = ".bidsignore"

READ = re.compile(r"[^.].*_(?:T1w|T2w|FLAIR)\.nii(?:\.gz)?")
"""Names of images that are read, or left out with a reason of their own."""

ALIKE = re.compile(r"[^.].*_(?:t1w?|t2w?|flair)(?:[^a-z].*)?\.(?:nii|mgz|mgh|img|nrrd|mha|mnc)(?:\.gz)?", re.IGNORECASE)
"""Names by which people, or their converters, mean such an image."""


def odd_folders(root: Path, subjects: Iterable[str]) -> tuple[str, ...]:
    """Sentences on the folders ``sub-…``, and ``ses-…`` and ``anat`` of the subjects, that were not read."""
    odd = [name for name in _folders(root, "sub-*") if not _is_label(name)]
    other = [name for name in _folders(root, "[sS][uU][bB][-_ ]*") if not name.startswith("sub-")]
    for subject in subjects:
        top = f"sub-{subject}"
        sessions = _folders(root / top, "ses-*")
        odd += [f"{top}/{name}" for name in sessions if not _is_label(name)]
        for place in (top, *(f"{top}/{name}" for name in sessions)):
            other += [f"{place}/{name}" for name in _folders(root / place, "[aA][nN][aA][tT]") if name != "anat"]
            other += [f"{place}/anat/{name}" for name in _folders(root / place / "anat", "*") if name[0] != "."]
    spelled = (
        f"{shorten(other, 3)} {'was' if len(other) == 1 else 'were'} left out: folders are named sub-<label>, "
        "ses-<label> and anat, in small letters, and images lie in anat itself."
    )
    return (
        *(f"{name} was left out: {why_no_label(name.rpartition('/')[2])}." for name in odd),
        *[spelled] * bool(other),
    )


def _folders(folder: Path, pattern: str) -> list[str]:
    with suppress(OSError):
        return sorted(path.name for path in folder.glob(pattern) if path.is_dir())
    return []


def _is_label(name: str) -> bool:
    return LABEL.fullmatch(name.partition("-")[2]) is not None


def absent_participants(root: Path, folders: Iterable[str]) -> tuple[list[str], list[str]]:
    """(Those of participants.tsv, ``sub-01`` …, who have none of these ``folders``; all who are listed)."""
    rows = given_rows(root)
    with_data = {row["participant_id"] for row in own_rows(rows, folders).values()}
    listed = list(dict.fromkeys(row["participant_id"] for row in rows))
    return [label for label in listed if label not in with_data], listed


def participants_without_data(root: Path) -> tuple[str, ...]:
    """A sentence that counts the people of participants.tsv who have no folder; none where all have."""
    absent, listed = absent_participants(root, _folders(root, "sub-*"))
    if not absent:
        return ()
    are = "is" if len(absent) == 1 else "are"
    return (f"{len(absent)} of {len(listed)} people of participants.tsv {are} without data: {shorten(absent, 4)}.",)


def unread_images(root: Path, subjects: Iterable[str]) -> tuple[str, ...]:
    """Sentences on images that are not read: those of an MP2RAGE, and those whose names only look like a scan's."""
    patterns = _patterns(root / IGNORED)
    names = [
        path.name
        for subject in subjects
        for folder in ("anat", "ses-*/anat")
        for path in sorted((root / f"sub-{subject}").glob(f"{folder}/*"))
        if not READ.fullmatch(path.name) and not is_ignored(path.relative_to(root).as_posix(), patterns)
    ]
    alike = [name for name in names if ALIKE.fullmatch(name) and "mask." not in name]
    mp2rage = [name for name in names if re.search(r"_(?:UNIT1|MP2RAGE)\.nii", name)]
    sentences = (
        f"{shorten(alike, 3)} {'was' if len(alike) == 1 else 'were'} left out: a scan's name ends in _T1w, _T2w or "
        "_FLAIR, so spelled, and .nii.gz or .nii, all entities before it; rename what is one.",
        f"{len(mp2rage)} images of an MP2RAGE ({shorten(mp2rage, 3)}) were left out: only T1w, T2w and FLAIR are read; "
        "to use the uniform image as reference, name it acq-UNI_T1w (a background of noise is taken away).",
    )
    return tuple(sentence for sentence, some in zip(sentences, (alike, mp2rage), strict=True) if some)


def without_ignored(root: Path, images: Mapping[str, list[Path]]) -> tuple[dict[str, list[Path]], tuple[str, ...]]:
    """The images that .bidsignore does not list, and a sentence on those that it does."""
    patterns = _patterns(root / IGNORED)
    kept = {
        subject: [path for path in paths if not is_ignored(path.relative_to(root).as_posix(), patterns)]
        for subject, paths in images.items()
    }
    gone = sorted(
        {path.name for paths in images.values() for path in paths} - {p.name for k in kept.values() for p in k}
    )
    if not gone:
        return kept, ()
    count = f"{len(gone)} image{'s' * (len(gone) > 1)} ({shorten(gone, 3)})"
    return kept, (f"{count} left out, as {IGNORED} lists {'them' if len(gone) > 1 else 'it'}.",)


def _patterns(path: Path) -> tuple[str, ...]:
    with suppress(OSError):
        lines = (line.strip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines())
        return tuple(line for line in lines if line and not line.startswith("#"))
    return ()


def is_ignored(path: str, patterns: Iterable[str]) -> bool:
    """Whether patterns in the manner of .gitignore list a path below the root; the last that speaks of it counts.

    >>> is_ignored("sub-01/anat/sub-01_T1w.nii.gz", ["sub-01/"]), is_ignored("sub-01/anat/a.nii", ["/anat"])
    (True, False)
    >>> is_ignored("sub-01/anat/a.nii", ["**/*.nii", "!a.nii"])
    False
    """
    parts = path.split("/")
    ignored = False
    for line in patterns:
        pattern = line.removeprefix("!").rstrip("/")
        folders = parts[:-1] if line.endswith("/") else parts
        wanted = pattern.removeprefix("/").split("/") if "/" in pattern else ["**", pattern]
        if any(_match(folders[:end], wanted) for end in range(1, len(folders) + 1)):
            ignored = not line.startswith("!")
    return ignored


def _match(parts: list[str], wanted: list[str]) -> bool:
    """Whether the parts of a path are those wanted, where ``**`` stands for any number of them."""
    if not wanted:
        return not parts
    if wanted[0] == "**":
        return any(_match(parts[start:], wanted[1:]) for start in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], wanted[0]) and _match(parts[1:], wanted[1:])
