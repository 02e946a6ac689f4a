"""Where the intermediate files of a run lie."""

import hashlib
import os
from pathlib import Path

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


def subject_folder(work: Path, subject: str) -> Path:
    """Where the intermediate files of one subject lie in the folder of a run."""
    return work / "lfenhance" / f"sub_{graph_label(subject)}_wf"
