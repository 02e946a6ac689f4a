"""The whole app on four real inputs: a head with skull, a brain, a real 64 mT brain, three thick stacks on three grids.

python benchmarks/real_inputs.py ../shared/data OUT [--only otsu|brain|real64mt|openms] [options of the app ...]

- ``otsu``: a whole head at 1 mm is taken for the 3 T T1w of ses-GE. Its low field (ses-HFC) is **simulated** by the
  independent scanner of tests/oracle.py in ds006557's geometry: axial, coronal and sagittal T1w of 1.6 × 1.6 × 5 mm.
- ``brain``: the same of a person of ds002748 whom no training has seen; published without its skull.
- ``real64mt``: a real 64 mT T1w, brain only, resampled to 1 mm by those who published it: low field alone.
- ``openms``: FLAIR, T1w and T2w of one person on three grids, 3 and 4 mm slices, called low field by their sidecars
  alone: a test of geometry, not of field strength.

Datasets, derivatives and work folders: OUT/CASE/{bids,derivative,work}. Printed at the end, for each case: what every
step cost (logs/*/resources.tsv), every warning, and where the report and its comparison are.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# ITK reads this once; with more threads its sums, and so its answers, change from run to run.
os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nibabel as nib
import numpy as np

from bids_lfenhance.imaging.anatomy import find_anatomy
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.simulators.presets import get_preset
from bids_lfenhance.simulators.protocol import LOW_FIELD, low_field_sidecar
from tests import oracle

Sidecar = Mapping[str, Any]

ROOT = Path(__file__).resolve().parents[1]

SEED = 20261122
SESSION_POSE = (6.0, 5.0)
"""How far the head lies in the simulated 64 mT scanner from where it lay at 3 T: mm, degrees."""

STACK_MOTION = (2.0, 2.0)
"""How far it moves for each stack: mm, degrees."""

SNR, BIAS = 15.0, 0.10
"""White-matter signal over noise, and standard deviation of the log sensitivity, of the simulated stacks."""

WHITE = 1000
"""Stored value of simulated white matter: scanners store integers."""


@dataclass(frozen=True)
class Case:
    """One input: ``source`` below the data folder, ``origin`` and ``licence`` in words, ``write`` (source, dataset)."""

    source: str
    origin: str
    licence: str
    write: Callable[[Path, Path], None]


def write_head(source: Path, dataset: Path) -> None:
    """Nothing; the head as it was published for ses-GE, and three simulated stacks for ses-HFC."""
    about = {
        "MagneticFieldStrength": 3,
        "ImagingFrequency": 127.74,
        "Note": "Published without its field strength; 3 T is assumed.",
    }
    write_scan(dataset, "GE", "acq-MPRAGE_T1w", source, about)
    head, affine = oracle.load_head(source)
    grid = Grid(affine, head.shape)
    tissue = oracle.tissue_by_intensity(head, find_anatomy(head, grid, "T1w").mask)
    rng = np.random.default_rng(SEED)
    centre = oracle.head_centre(head, affine)
    pose = oracle.random_rigid(rng, *SESSION_POSE, centre)
    millimetres, degrees = STACK_MOTION
    session = oracle.acquire_session(
        head, pose @ affine, tissue, rng, motion_mm=millimetres, motion_deg=degrees, snr=SNR, bias=BIAS
    )
    protocols = {scan.name: scan for scan in LOW_FIELD}
    for scan in session:
        stored = np.clip(np.rint(scan.data / oracle.LF_MEANS["T1w"][2] * WHITE), 0, 32767).astype(np.int16)
        truth = {
            "Simulated": True,
            "SimulatedBy": "tests/oracle.py",
            "SimulatedMotion": (np.linalg.inv(pose) @ scan.motion).tolist(),
            "SimulatedSNR": SNR,
        }
        sidecar = low_field_sidecar(protocols[scan.name], get_preset("T1w", scan.plane)) | truth
        write_scan(dataset, "HFC", scan.name, nifti(stored, scan.native_affine), sidecar)


def write_real64mt(source: Path, dataset: Path) -> None:
    """Nothing; the 64 mT volume as it was published, with the least a sidecar must say."""
    about = {"ImagingFrequency": 2.7, "Note": "Published without a sidecar: 64 mT, brain only, resampled to 1 mm."}
    write_scan(dataset, "HFC", "T1w", source, about)


def write_openms(source: Path, dataset: Path) -> None:
    """Nothing; three contrasts as they were published, each on its own grid, declared to be low field."""
    for published, contrast in {"FLAIR": "FLAIR", "T1W": "T1w", "T2W": "T2w"}.items():
        image = source / f"study1_{published}.nii.gz"
        about = {
            "ImagingFrequency": 2.7,
            "SliceThickness": round(float(nib.Nifti1Image.from_filename(image).header.get_zooms()[2]), 2),
            "Note": "Not a low field at all: declared one to test thick stacks on several grids.",
        }
        write_scan(dataset, "HFC", contrast, image, about)


CASES = {
    "otsu": Case(
        "heads/otsu_T1_head.nii.gz", "whole head of the NiiVue demo images; low field simulated", "BSD-2", write_head
    ),
    "brain": Case(
        "ds002748/sub-54/anat/sub-54_T1w.nii.gz", "sub-54 of OpenNeuro ds002748; low field simulated", "CC0", write_head
    ),
    "real64mt": Case(
        "real_64mT/MRI_mT_sub2.nii.gz", "64 mT brain, Islam et al., ULF-MRI-Enhance", "MIT", write_real64mt
    ),
    "openms": Case(
        "open_ms/longitudinal/patient01", "patient01 of open_ms, Lesjak et al. 2016", "CC-BY 4.0", write_openms
    ),
}


def nifti(data: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    """The image with sform and qform alike."""
    image = nib.Nifti1Image(data, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    return image


def write_scan(dataset: Path, session: str, name: str, image: Path | nib.Nifti1Image, sidecar: Sidecar) -> None:
    """Nothing; the image of sub-01, byte for byte where it is a file, and its sidecar."""
    stem = dataset / "sub-01" / f"ses-{session}" / "anat" / f"sub-01_ses-{session}_{name}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    path = stem.with_name(f"{stem.name}.nii.gz")
    if isinstance(image, Path):
        shutil.copyfile(image, path)
    else:
        nib.save(image, path)
    stem.with_name(f"{stem.name}.json").write_text(json.dumps(dict(sidecar), indent=2) + "\n")


def write_dataset(case: Case, data: Path, dataset: Path) -> None:
    """Nothing; the dataset of one case, replaced if it is there."""
    shutil.rmtree(dataset, ignore_errors=True)
    dataset.mkdir(parents=True)
    about = {
        "Name": f"Real input: {case.origin}",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": case.licence,
        "Authors": ["benchmarks/real_inputs.py of bids_lfenhance (a program)"],
    }
    (dataset / "dataset_description.json").write_text(json.dumps(about, indent=2) + "\n")
    (dataset / "README").write_text(f"{case.origin}. Licence: {case.licence}.\nMade from {case.source}.\n")
    (dataset / "participants.tsv").write_text("participant_id\nsub-01\n")
    case.write(data / case.source, dataset)


def run_app(folder: Path, options: list[str]) -> int:
    """The app's exit code on OUT/CASE/bids."""
    places = [str(folder / "bids"), str(folder / "derivative"), "participant", "-w", str(folder / "work")]
    command = [sys.executable, "-m", "bids_lfenhance", *places, "--nprocs", "2", "--resource-monitor", *options]
    say("$ " + " ".join(["python", *command[1:]]))
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def tell(derivative: Path) -> None:
    """Nothing; cost, warnings and pictures of the latest run are printed."""
    logs = sorted(path for path in (derivative / "logs").glob("*/resources.tsv"))
    if logs:
        say(f"\n{logs[-1]}")
        with logs[-1].open() as lines:
            for node, *figures in csv.reader(lines, delimiter="\t"):
                step = " ".join(node.replace("_wf", "").split(".")[2:]) or node
                say(f"  {step:<32s}" + "".join(f"{figure:<18s}" for figure in figures))
    for path in sorted(derivative.glob("sub-*/**/*_qc.json")):
        for warning in json.loads(path.read_text()).get("Warnings", []):
            say(f"  warning: {warning}")
    for path in [*sorted(derivative.glob("sub-*.html")), *sorted(derivative.glob("sub-*/figures/*comparison*"))]:
        say(f"  {path}")


def say(text: str) -> None:
    """Nothing; one line on standard output, in order with what the app writes."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Exit code: that of the app where it was worst."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of real data, ../shared/data")
    parser.add_argument("out", type=Path, help="where datasets and derivatives go")
    parser.add_argument("--only", choices=tuple(CASES), help="one input alone")
    given, options = parser.parse_known_args()
    worst = 0
    for name in [given.only] if given.only else CASES:
        folder = (given.out / name).resolve()
        say(f"== {name}: {CASES[name].origin} ({CASES[name].licence})")
        write_dataset(CASES[name], given.data, folder / "bids")
        worst = max(worst, run_app(folder, options))
        tell(folder / "derivative")
    return worst


if __name__ == "__main__":
    sys.exit(main())
