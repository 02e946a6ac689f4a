"""A small high-field dataset, and workers that need no registration: what is tested is the level, not the head."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import nibabel as nib

from bids_lfenhance.config import SimulateSettings
from bids_lfenhance.workflows import high_field, simulate
from bids_lfenhance.workflows.simulation import Task
from tests.simulators.sources import phantom_source

HIGH = {"MagneticFieldStrength": 3}
LOW = {"ImagingFrequency": 2.7, "Manufacturer": "Hyperfine"}


def write_dataset(root: Path) -> Path:
    """sub-01 T1w and T2w without sessions or field strength; sub-02 two high-field sessions and a low-field one;
    sub-03 low field alone."""
    root.mkdir(parents=True)
    description = {"Name": "Phantoms", "BIDSVersion": "1.10.0", "License": "CC0", "Authors": ["A. Phantom"]}
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "participants.tsv").write_text("participant_id\tsex\nsub-01\tf\nsub-02\tM\nsub-03\tM\n")
    (root / "participants.json").write_text('{"sex": {"Levels": {"M": "male", "F": "female"}}}')
    (root / "README").write_text("Phantoms.\n")
    for contrast in ("T1w", "T2w"):
        write_scan(root, "sub-01", contrast)
    for session, about in (("A", HIGH), ("B", HIGH), ("LF", LOW)):
        write_scan(root, f"sub-02/ses-{session}", "T1w", about)
    write_scan(root, "sub-03/ses-LF", "T1w", LOW)
    return root


def write_scan(root: Path, folder: str, contrast: str, about: dict | None = None) -> Path:
    """The path of one phantom scan; a sidecar only where there is something to say."""
    path = root / folder / "anat" / f"{folder.replace('/', '_')}_{contrast}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    head = phantom_source(contrast, size=32)
    nib.save(nib.Nifti1Image(head.image, head.grid.affine), path)
    if about:
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(about))
    return path


def phantom_high_field(scans):
    """What ``load_high_field`` returns, without looking for a brain."""
    return [phantom_source(contrast, size=32) for _, contrast, _ in scans], ("a warning",)


def one(task: Task) -> simulate.WorkerResult:
    """``simulate_one`` on phantoms, in whatever process this runs."""
    high_field.load_high_field = phantom_high_field
    return simulate.simulate_one(task)


def one_killed(task: Task) -> simulate.WorkerResult:
    """The same, but the worker of sub-01 is killed, as by the kernel for want of memory."""
    if task.source.subject == "01":
        os.kill(os.getpid(), signal.SIGKILL)
    return one(task)


def one_slow(task: Task) -> simulate.WorkerResult:
    """The same, but sub-02 would take for ever."""
    if task.source.subject == "02":
        Path(task.settings.out_dir, "begun").touch()
        time.sleep(600)
    return one(task)


def settings(root: Path, out: Path, **given) -> SimulateSettings:
    """Two stacks of each contrast: one of the scanner's size, one as small as the phantom."""
    chosen = {"presets": ("hyperfine-axi", "iqt-hcp"), "nprocs": 1, "mem_gb": 8.0} | given
    return SimulateSettings(root, out, **chosen)


if __name__ == "__main__":  # a whole run from outside, its workers slow
    from bids_lfenhance.cli.run import main

    simulate.simulate_one = one_slow
    sys.exit(main(sys.argv[1:]))
