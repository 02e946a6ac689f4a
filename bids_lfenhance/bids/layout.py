"""The tree of a dataset, listed by pybids: requested subjects, ``anat`` only, no metadata."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import CONTRASTS
from ..errors import InputError

if TYPE_CHECKING:
    from bids.layout import BIDSLayout

DATABASE = "layout_index.sqlite"
"""Name pybids gives to the file inside a database folder."""


def list_images(
    bids_dir: Path, subjects: Iterable[str], database_dir: Path | None = None
) -> tuple[dict[str, list[Path]], tuple[str, ...]]:
    """Images (T1w, T2w, FLAIR) of each subject, and sentences on what was odd.

    With ``database_dir`` the index there is used, and made first, for all subjects, where there is none. It is built
    in a folder beside it and moved into place whole, so runs that start together can share it. A subject of whom the
    index does not know every image is listed from its folder.
    """
    subjects = tuple(subjects)
    if database_dir is None:
        return images_of(index_tree(bids_dir, subjects), subjects), ()
    images = images_of(open_database(bids_dir, database_dir), subjects)
    warnings = []
    if gone := [path for paths in images.values() for path in paths if not os.path.lexists(path)]:
        warnings.append(
            f"The database in {database_dir} lists {len(gone)} images that are gone (first: {gone[0].name}); "
            "delete it to have it made anew."
        )
        images = {subject: [path for path in paths if path not in gone] for subject, paths in images.items()}
    if unknown := [subject for subject in subjects if _names_in(bids_dir, subject) - _names(images[subject])]:
        fresh = images_of(index_tree(bids_dir, unknown), unknown)
        if stale := [subject for subject in unknown if _names(fresh[subject]) != _names(images[subject])]:
            warnings.append(
                f"The database in {database_dir} does not know all images of sub-{', sub-'.join(stale)}, listed from "
                "the folder instead; delete it to have it made anew."
            )
        images |= fresh
    return images, tuple(warnings)


def _names(paths: Iterable[Path]) -> set[str]:
    return {path.name for path in paths}


def _names_in(bids_dir: Path, subject: str) -> set[str]:
    """Names of what may be images of a subject, by its folders alone."""
    own = bids_dir / f"sub-{subject}"
    return _names(
        path
        for folder in (own, *own.glob("ses-*"))
        for contrast in CONTRASTS
        for path in folder.glob(f"anat/*_{contrast}.nii*")
    )


def index_tree(bids_dir: Path, subjects: Iterable[str] | None, database_dir: Path | None = None) -> "BIDSLayout":
    """A pybids layout that holds the ``anat`` folders of the subjects (of all where None) and nothing else."""
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    chosen = "[^/]+" if subjects is None else f"(?:{'|'.join(re.escape(subject) for subject in subjects)})"
    # pybids walks a folder unless a pattern refuses it, so everything off the way to anat is refused
    elsewhere = re.compile(rf"^(?!/sub-{chosen}(?:/ses-[^/]+)?(?:/anat(?:/[^/]+)?)?$)", re.DOTALL)
    indexer = BIDSLayoutIndexer(validate=False, ignore=[elsewhere], index_metadata=False)
    try:
        return BIDSLayout(bids_dir, validate=False, indexer=indexer, database_path=database_dir)
    except PermissionError as error:
        message = (
            f"Expected to be able to read {error.filename}, found {error.strerror}; change the permissions of its "
            "folder."
        )
        raise InputError(message, code="not-readable", path=bids_dir) from error
    except (OSError, TypeError, AttributeError, ValueError, KeyError) as error:  # of its dataset_description.json
        message = (
            f"Expected a dataset in {bids_dir} that pybids can list, found one that it cannot "
            f"({type(error).__name__}: {error}); look at its dataset_description.json."
        )
        raise InputError(message, code="not-bids", path=bids_dir) from error


def images_of(layout: "BIDSLayout", subjects: Iterable[str]) -> dict[str, list[Path]]:
    """Images (T1w, T2w, FLAIR) of each subject in a layout."""
    images: dict[str, list[Path]] = {subject: [] for subject in subjects}
    # subject and datatype are read below the root only: pybids takes them from the whole path, so that a folder
    # above the dataset named func, or sub-01, would decide for all files
    paths = layout.get(suffix=list(CONTRASTS), extension=[".nii", ".nii.gz"], return_type="file")
    for path in map(Path, paths):
        *folders, _ = path.relative_to(layout.root).parts
        # by folder: a file may be named after another subject than its folder is
        subject = folders[0].removeprefix("sub-") if len(folders) in (2, 3) and folders[-1] == "anat" else ""
        if subject in images:
            images[subject].append(path)
    return images


def open_database(bids_dir: Path, database_dir: Path) -> "BIDSLayout":
    """The layout kept in a database folder, made first where there is none."""
    from bids.layout import BIDSLayout

    try:
        if not (database_dir / DATABASE).exists():
            _build_database(bids_dir, database_dir)
        layout = BIDSLayout(bids_dir, validate=False, database_path=database_dir)
    except InputError:
        raise
    except OSError as error:
        message = (
            f"Expected to keep the index of the dataset in {database_dir}, found {error.strerror}; "
            "give another folder to --bids-database-dir."
        )
        raise InputError(message, code="bad-index", path=database_dir) from error
    except Exception as error:  # sqlite, SQLAlchemy and pybids each raise their own
        message = (
            f"Expected a pybids index in {database_dir / DATABASE}, found one that cannot be read "
            f"({type(error).__name__}); delete it or give another folder to --bids-database-dir."
        )
        raise InputError(message, code="bad-index", path=database_dir) from error
    if Path(layout.root).resolve() != bids_dir.resolve():
        message = (
            f"Expected the index of {bids_dir} in {database_dir}, found that of {layout.root}; "
            "give another folder to --bids-database-dir."
        )
        raise InputError(message, code="bad-index", path=database_dir)
    return layout


def _build_database(bids_dir: Path, database_dir: Path) -> None:
    """Index every subject's anat in a folder of this process's own, then move the file into place."""
    database_dir.mkdir(parents=True, exist_ok=True)
    own = Path(tempfile.mkdtemp(prefix=".building-", dir=database_dir))
    try:
        layout = index_tree(bids_dir, None, own)
        layout.session.close()
        (own / DATABASE).replace(database_dir / DATABASE)
    finally:
        shutil.rmtree(own, ignore_errors=True)
