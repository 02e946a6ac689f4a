"""Where the intermediate files of a run lie."""

import gzip
import hashlib
import os
import pickle
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..config import RunSpec, Settings
from ..resources import temporary_folder
from .inputs import graph_label


def work_folder(settings: Settings, spec: RunSpec) -> Path:
    """The folder of intermediate files: the same for the same work, so that a rerun goes on where it stopped.

    OUT_DIR is known by its inode too: in a container every one is called /out.
    """
    inode = settings.out_dir.stat().st_ino if settings.out_dir.exists() else 0
    words = (settings.bids_dir, settings.out_dir, inode, spec.settings_hash)
    key = hashlib.sha256("\n".join(map(str, words)).encode()).hexdigest()[:12]
    base = settings.work_dir or temporary_folder() / f"bids_lfenhance-{os.getuid()}"
    return base / f"run-{key}"


@contextmanager
def working_in(work: Path) -> Iterator[None]:
    """A block in which ``work`` is the current folder of this process and its workers, and of matplotlib if need be.

    The folder that a run was started from may vanish while it lasts, and nipype goes back to it after each step.
    """
    work.mkdir(parents=True, exist_ok=True)
    if not _matplotlib_has_a_folder():  # it would say so in each worker, and leave one in TMPDIR
        os.environ.setdefault("MPLCONFIGDIR", str(work / "matplotlib"))
    if "TMPDIR" in os.environ:  # a relative one would mean another folder from there
        os.environ["TMPDIR"] = str(temporary_folder())
    before = work
    with suppress(OSError):
        before = Path.cwd()
    os.chdir(work)
    try:
        yield
    finally:
        with suppress(OSError):
            os.chdir(before)


def _matplotlib_has_a_folder() -> bool:
    """Whether it can keep settings and fonts where it does by default; made as it makes them."""
    for name, default in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache")):
        folder = Path(os.environ.get(name) or Path.home() / default, "matplotlib")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return False
        if not os.access(folder, os.W_OK):
            return False
    return True


def subject_folder(work: Path, subject: str) -> Path:
    """Where the intermediate files of one subject lie in the folder of a run."""
    return work / "lfenhance" / f"sub_{graph_label(subject)}_wf"


def remove_damaged(folder: Path) -> None:
    """Remove below ``folder`` the steps whose results cannot be read, so that they are made again.

    A run that was killed, or a disk that was full or tidied up, leaves such; nipype takes them for done.
    """
    for result in list(folder.rglob("result_*.pklz")):
        if not _is_readable(result):
            shutil.rmtree(result.parent, ignore_errors=True)


def _is_readable(result: Path) -> bool:
    """Whether a step's results (nipype's file of them) and all arrays that they name can be read."""
    try:
        with gzip.open(result) as file:
            outputs = pickle.load(file).outputs.get()
        return not any(zipfile.ZipFile(result.parent / path).testzip() for path in _arrays(outputs))
    except Exception:  # unpickling damaged bytes may raise anything
        return False


def _arrays(value: Any) -> Iterator[str]:
    """The paths of arrays among outputs, also in lists and dicts."""
    if isinstance(value, str) and value.endswith(".npz"):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _arrays(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _arrays(inner)
