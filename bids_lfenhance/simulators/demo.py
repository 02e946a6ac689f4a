"""The demo dataset: two synthetic people, one scanned at 3 T and 64 mT as in OpenNeuro ds006557, one in a single stack.

``python -m bids_lfenhance.simulators.demo OUT`` writes it. Anatomy comes from the MNI152 template that nilearn bundles
(``head``), the 64 mT scanner from ``presets`` and ``physics``, the sidecars from ``protocol``.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff

from .._version import __version__
from ..data import read_text
from ..errors import InputError
from ..imaging.grid import Grid
from ..imaging.nifti import encode_nifti
from .head import HEAD_GRID, SIGNALS, Head, make_head
from .physics import PhysicsSettings, add_rician, degrade, draw, level_outside
from .presets import ORIENTATION, get_preset, stack_geometry
from .protocol import LOW_FIELD, Protocol, high_field_sidecar, low_field_sidecar
from .session import POSE_DEGREES, POSE_MM
from .simulator import random_motion

NAME = "Simulated demo of bids_lfenhance: MNI152 anatomy in the layout of ds006557"
"""Name of the dataset, by which an older copy is recognised."""

SUBJECTS = {"01": (True, LOW_FIELD), "02": (False, LOW_FIELD[:1])}
"""Whether a subject has 3 T, and its 64 mT scans: the first a whole protocol, the second a single axial stack."""

FIELD_OF_VIEW = Grid(np.array([[1.0, 0, 0, -90], [0, 1, 0, -126], [0, 0, 1, -88], [0, 0, 0, 1]]), (180, 220, 200))
"""What the 64 mT stacks are centred on: the head without the neck, RAS+ mm."""

DEGRADATION = PhysicsSettings(
    motion_mm=0.8, motion_deg=0.8, bias=0.08, snr_jitter=0.0, contrast_jitter=0.0, fwhm_jitter=0.0
)
"""Settings of the 64 mT stacks, which differ in motion, bias and noise only."""

HIGH_FIELD_SHIFT = {"T1w": (0.6, -0.8, 0.5), "T2w": (0.0, 0.0, 0.0)}
"""How far the head had moved, mm, when each 3 T scan was made."""

HIGH_FIELD_SNR = 40.0
"""White-matter signal over noise at 3 T."""

STORED_WHITE = 1000
"""Stored value of 3 T white matter: scanners store integers."""


@dataclass(frozen=True)
class Image:
    """One image of the dataset: ``data`` (I, J, K) white matter about 1, ``affine`` (4, 4) voxel → scanner mm."""

    session: str
    name: str
    data: np.ndarray
    affine: np.ndarray
    sidecar: dict[str, Any]


def write_demo(out_dir: Path, seed: int = 0, report: Callable[[str], object] = lambda text: None) -> Path:
    """The folder written; the same seed gives the same bytes. ``report`` gets the name of each image written."""
    _refuse_foreign(out_dir)
    for name, text in dataset_files(seed).items():
        _write(out_dir / name, text.encode())
    for number, (subject, (high_field, scans)) in enumerate(SUBJECTS.items()):
        for image in scan_subject(np.random.default_rng([seed, number]), scans, high_field=high_field):
            name = f"sub-{subject}_ses-{image.session}_{image.name}"
            anat = out_dir / f"sub-{subject}" / f"ses-{image.session}" / "anat"
            _write(anat / f"{name}.json", _json(image.sidecar | {"Seed": seed}).encode())
            _write(anat / f"{name}.nii.gz", _nifti(image))
            report(name)
    return out_dir


def scan_subject(
    generator: np.random.Generator, scans: Sequence[Protocol] = LOW_FIELD, *, high_field: bool = False
) -> Iterator[Image]:
    """The images of one person drawn from the generator: 3 T if wanted, then the 64 mT ``scans``."""
    head = make_head(generator)
    signals = {contrast: head.signal(contrast) for contrast in ("T1w", "T2w")}
    if high_field:
        for contrast, signal in signals.items():
            yield _high_field(contrast, signal, generator)
    pose = random_motion(generator, POSE_MM, POSE_DEGREES, np.zeros(3))
    for scan in scans:
        yield _low_field(scan, head, signals[scan.contrast], pose, generator)


def _high_field(contrast: str, signal: np.ndarray, generator: np.random.Generator) -> Image:
    """The 3 T scan: the head's own voxels in sagittal order, so nothing is interpolated."""
    white = SIGNALS[contrast][2]
    noisy = add_rician(signal / np.float32(white), 1 / HIGH_FIELD_SNR, generator)
    # Of each axis of the head: which axis of the scan it becomes, and its direction.
    order = np.array(sorted((world, axis, sign) for axis, (world, sign) in enumerate(ORIENTATION["sag"])))[:, 1:]
    data, affine = apply_orientation(noisy, order), HEAD_GRID.affine @ inv_ornt_aff(order, noisy.shape)
    affine[:3, 3] += HIGH_FIELD_SHIFT[contrast]
    truth = {"Simulated": True, "SimulatedShift": HIGH_FIELD_SHIFT[contrast], "SimulatedSNR": HIGH_FIELD_SNR}
    name = "acq-MPRAGE_T1w" if contrast == "T1w" else "T2w"
    return Image("GE", name, data, affine, high_field_sidecar(contrast) | truth)


def _low_field(
    scan: Protocol, head: Head, signal: np.ndarray, pose: np.ndarray, generator: np.random.Generator
) -> Image:
    """One 64 mT stack, all that was drawn for it kept in its sidecar."""
    preset = get_preset(scan.contrast, scan.plane)
    means = np.array(SIGNALS[scan.contrast][:3])
    record = draw(preset, DEGRADATION, generator, means)
    motion = pose @ np.array(record.motion)
    record = dataclasses.replace(record, motion=tuple(tuple(row) for row in motion.tolist()))
    image = level_outside(signal, head.tissue, record.factor)
    stack = degrade(image, head.tissue, HEAD_GRID, stack_geometry(preset, FIELD_OF_VIEW), record)
    white = means[2] * record.factor[2]
    truth = {"Simulated": True, "SimulatedDegradation": dataclasses.asdict(record)}
    sidecar = low_field_sidecar(scan, preset) | truth
    return Image("HFC", scan.name, stack.data / np.float32(white), stack.native_affine, sidecar)


def _nifti(image: Image) -> bytes:
    """A gzipped NIfTI-1 file, int16."""
    stored = np.clip(np.rint(image.data * STORED_WHITE), 0, np.iinfo(np.int16).max).astype(np.int16)
    return encode_nifti(stored, image.affine, about=b"simulated")


def dataset_files(seed: int) -> dict[str, str]:
    """The text files at the root of the dataset, by name."""
    description = {
        "Name": NAME,
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "MNI152 template: see LICENSE; everything else CC0",
        "Authors": ["bids_lfenhance.simulators.demo (a program)"],
        "GeneratedBy": [
            {"Name": "bids_lfenhance.simulators.demo", "Version": __version__, "Description": f"seed {seed}"}
        ],
    }
    columns = {"participant_id": {"Description": "Simulated participant: a random deformation of the MNI152 template"}}
    return {
        "dataset_description.json": _json(description),
        "README.md": read_text("demo_readme.md").format(seed=seed, version=__version__),
        "LICENSE": read_text("mni152_license.txt"),
        "CHANGES": "1.0.0 2026-11-22\n  - Simulated\n",
        "participants.json": _json(columns),
        "participants.tsv": "\n".join(["participant_id", *(f"sub-{subject}" for subject in SUBJECTS)]) + "\n",
    }


def _json(entries: dict[str, Any]) -> str:
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def _refuse_foreign(out_dir: Path) -> None:
    """Raise InputError if the folder holds anything but an older copy of this dataset."""
    if not out_dir.exists() or (out_dir.is_dir() and not any(out_dir.iterdir())):
        return
    description = out_dir / "dataset_description.json"
    if not description.is_file() or json.loads(description.read_text(encoding="utf-8")).get("Name") != NAME:
        raise InputError(
            f"Expected an empty folder or an older demo at {out_dir}, found other files; name another folder."
        )


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code of ``python -m bids_lfenhance.simulators.demo``: 0, or 2 if the folder cannot be used."""
    from tqdm import tqdm

    parser = argparse.ArgumentParser(prog="python -m bids_lfenhance.simulators.demo", description=__doc__)
    parser.add_argument("out_dir", type=Path, metavar="OUT", help="folder of the dataset, new or an older demo")
    parser.add_argument("--seed", type=int, default=0, help="decides anatomy, motion and noise (default: 0)")
    given = parser.parse_args(argv)
    total = sum(len(scans) + 2 * high_field for high_field, scans in SUBJECTS.values())
    try:
        with tqdm(total=total, unit="image", desc="demo dataset") as bar:
            write_demo(given.out_dir, given.seed, lambda name: bar.update())
    except (InputError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{given.out_dir}\n")
    sys.stderr.write(f"Next: bids_lfenhance {given.out_dir} OUT_DIR participant\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
