"""Sessions of a simulated dataset: each lands whole, by the renaming of its folder."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bids.atomic import atomic_folder, remove_drafts
from ..bids.defects import file_defect
from ..bids.names import derivative_name, sidecar_path, source_entities
from ..bids.scans import Scan, file_state
from ..bids.sidecars import read_json
from ..errors import InputError
from ..imaging.grid import Grid
from ..imaging.volume import Stack
from .files import write_image, write_json

HASH = "SimulationHash"
"""Key of a sidecar: it changes whenever the image would."""


@dataclass(frozen=True)
class SimulatedScan:
    """One scan to be written: its stack, its ``acq-`` label and its sidecar."""

    stack: Stack
    acq: str
    sidecar: Mapping[str, Any]


def scan_path(out_dir: Path, subject: str, session: str, acq: str, contrast: str) -> Path:
    """Where a simulated scan lies.

    >>> scan_path(Path("out"), "01", "SIM", "axi", "T1w").as_posix()
    'out/sub-01/ses-SIM/anat/sub-01_ses-SIM_acq-axi_T1w.nii.gz'
    """
    return derivative_name(out_dir, (subject, session), contrast, ".nii.gz", acq=acq)


def write_session(out_dir: Path, subject: str, session: str, scans: Sequence[SimulatedScan]) -> None:
    """Write the session's folder: all scans on their own voxels, float32, with their sidecars."""

    def fill(folder: Path) -> None:
        for scan in scans:
            path = folder / "anat" / scan_path(out_dir, subject, session, scan.acq, scan.stack.contrast).name
            stack = scan.stack
            write_image(path, stack.data, Grid(stack.native_affine, stack.data.shape), 1, scan.sidecar)

    _write_folder(out_dir / f"sub-{subject}" / f"ses-{session}", fill)


def _write_folder(folder: Path, fill: Callable[[Path], object]) -> None:
    """A session's folder as ``fill`` makes it, and what else lay there: lesion masks and notes are their owner's."""

    def fill_and_keep(draft: Path) -> None:
        fill(draft)
        for path in folder.rglob("*"):
            kept = draft / path.relative_to(folder)
            if not path.is_dir() and not os.path.lexists(kept):
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, kept, follow_symlinks=False)

    remove_drafts(folder.parent, folder.name)
    atomic_folder(folder, fill_and_keep)


def session_exists(out_dir: Path, subject: str, session: str, names: Sequence[tuple[str, str]], digest: str) -> bool:
    """Whether a session was written with this hash; raise ``InputError`` if it was made of something else.

    ``names`` (acq, contrast) of every scan.
    """
    if not (out_dir / f"sub-{subject}" / f"ses-{session}").exists():
        return False
    for acq, contrast in names:
        path = scan_path(out_dir, subject, session, acq, contrast)
        known = None if file_defect(sidecar_path(path)) else read_json(sidecar_path(path)).get(HASH)
        if known is not None and known != digest:
            message = (
                f"Expected {path.name} made from the same source file with the same settings, found another image; "
                f"remove {path.parents[1]} to have it made again, or give another OUT_DIR."
            )
            raise InputError(message, code="other-settings", path=path)
        if known is None or file_defect(path):
            return False
    return True


def high_field_path(out_dir: Path, scan: Scan, session: str) -> Path:
    """Where the high field of a scan is put: its own name, with the session it goes to."""
    extension = ".nii.gz" if scan.path.name.endswith(".gz") else ".nii"
    return derivative_name(out_dir, (scan.subject, session), scan.contrast, extension, **source_entities(scan))


def has_high_field(out_dir: Path, scan: Scan, session: str) -> bool:
    """Whether the high field of a scan is there and whole, with its sidecar; it may have been defaced since.

    As large as the source it is a copy of it, whatever may be odd about that (bytes behind the end of a gzip file).
    """
    path = high_field_path(out_dir, scan, session)
    whole = (bool(scan.state) and file_state(path)[:1] == scan.state[:1]) or not file_defect(path)
    return whole and not file_defect(sidecar_path(path))


def add_high_field(
    out_dir: Path, scans: Sequence[Scan], session: str, how: str, about: Mapping[Path, Mapping[str, Any]]
) -> None:
    """Put the scans into the session of that label, as copies or links, ``about`` in their sidecars.

    What is there already, and whole, stays.
    """
    folder = out_dir / f"sub-{scans[0].subject}" / f"ses-{session}"
    if all(has_high_field(out_dir, scan, session) for scan in scans):
        return

    def fill(draft: Path) -> None:
        (draft / "anat").mkdir()
        for scan in (scan for scan in scans if not has_high_field(out_dir, scan, session)):
            path = draft / "anat" / high_field_path(out_dir, scan, session).name
            write_json(sidecar_path(path), {**scan.sidecar, **about[scan.path]})
            if how == "link":
                path.symlink_to(_link_from(folder.resolve() / "anat", Path(os.path.realpath(scan.path))))
            else:
                shutil.copyfile(scan.path, path)

    _write_folder(folder, fill)


def _link_from(folder: Path, target: Path) -> str:
    """What a link in a folder says: the way there, where both lie below one folder and may be moved together."""
    common = os.path.commonpath([folder, target])
    return str(target) if common == "/" else os.path.relpath(target, folder)
