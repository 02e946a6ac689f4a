"""``fusionnet`` fine-tuned on five pairs of a scanner it does not know: better there, no worse elsewhere? SIMULATED.

python benchmarks/own_pairs.py write PAIRS            # the dataset of pairs, and the command to fine-tune on it
python benchmarks/own_pairs.py test OUT/weights       # PSNR and coverage, there and elsewhere

The scanner is that of tests/oracle.py with another protocol. The test people have trained neither weights; ``norm`` is
of another high-field scanner. 150 CPU-s a session of the test.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.estimate import scores
from benchmarks.fidelity import SHARED, Case, high_field, make_case
from benchmarks.reliability import keep
from benchmarks.trust_cases import SCANNER
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.enhance import enhance
from tests import oracle

NAME = "simulated-pairs"

PEOPLE = {
    "train": ("sub-01", "sub-03", "sub-04", "sub-05", "sub-06"),
    "validation": ("sub-11",),
    "test": ("sub-02", "sub-53"),
}
"""Of ds002748; the bundled weights have seen the high field of the first five, and low field simulated from it."""

PROTOCOL: dict[str, Any] = {"means": (0.55, 0.88, 1.0), "zooms": (2.0, 2.0, 6.0)}
"""Intensity of CSF, GM, WM: less contrast of grey and white matter than the training simulates; voxels, mm."""

PLANES = ["axi", "sag"]

SNR = 10.0

WHITE = 1000
"""Stored value of white matter."""


def write(folder: Path, data: Path) -> None:
    """The pairs as a BIDS dataset."""
    folder.mkdir(parents=True)
    about: dict[str, Any] = {"Name": NAME, "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (folder / "dataset_description.json").write_text(json.dumps(about))
    for seed, person in enumerate(one for part in PEOPLE.values() for one in part):
        real, grid, brain = high_field(data, person)
        image = real["T1w"]
        tissue = oracle.tissue_by_intensity(image, brain)
        rng = np.random.default_rng(100 + seed)
        for scan in oracle.acquire_session(image, grid.affine, tissue, rng, planes=PLANES, snr=SNR, **PROTOCOL):
            about = {"MagneticFieldStrength": 0.064, "SliceThickness": scan.fwhm[2]}
            save(folder, person, "LF", scan.name, scan.data * WHITE, scan.native_affine, about)
        level = WHITE / np.percentile(image[brain], 90)
        save(folder, person, "HF", "T1w", image * level, grid.affine, {"MagneticFieldStrength": 3.0})
    split = folder.parent / "split.json"
    split.write_text(json.dumps({part: [f"{NAME}/{one[4:]}" for one in people] for part, people in PEOPLE.items()}))
    command = f"train --method fusionnet --preset finetune --init-weights fusionnet --split {split}"
    print(f"bids_lfenhance {folder} OUT {command}")


def save(
    folder: Path, person: str, session: str, name: str, data: np.ndarray, affine: np.ndarray, about: dict[str, Any]
) -> None:
    """One scan and its sidecar."""
    anat = folder / person / f"ses-{session}" / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    stored = nib.Nifti1Image(np.clip(np.rint(data), 0, 32767).astype(np.int16), affine)
    stored.header.set_xyzt_units("mm", "sec")
    nib.save(stored, anat / f"{person}_ses-{session}_{name}.nii.gz")
    (anat / f"{person}_ses-{session}_{name}.json").write_text(json.dumps(about))


def cases(data: Path) -> Iterator[tuple[str, Case]]:
    """Sessions of the scanner of the pairs, and of that of the other benchmarks."""
    for person in PEOPLE["test"]:
        options = argparse.Namespace(contrasts=["T1w"], planes=PLANES, **SCANNER | {"snr": SNR, "seed": 1})
        yield "that of the pairs", make_case(data, person, options, **PROTOCOL)
    for person in (*PEOPLE["test"], "norm"):
        options = argparse.Namespace(contrasts=["T1w"], planes=["axi", "cor", "sag"], **SCANNER)
        yield "another", make_case(data, person, options)


def test(weights: str, data: Path) -> None:
    """The table: both weights, both target contrasts."""
    rows, method = [], get_method("fusionnet")
    for scanner, case in cases(data):
        for target in ("own", "learned"):
            row: dict[str, Any] = {"low field of scanner": scanner, "subject": case.name, "target": target}
            for name, given in (("bundled", "auto"), ("fine-tuned", weights)):
                sampling = method.about.sampling(target_contrast=target, weights=given)
                result = enhance(case.volume, method, sampling, np.random.default_rng(0))
                assert result.std is not None
                figures = scores(case, "T1w", result.image, result.std)
                row["mean"] = f"{figures['mean_psnr']:.2f}"
                row |= {name: f"{figures['estimate_psnr']:.2f}", f"{name}, coverage": f"{figures['coverage']:.3f}"}
            rows.append(row)
            print(*row.values(), sep="\t", flush=True)
    keep("own-pairs", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("write", "test"))
    parser.add_argument("path", help="write: the dataset; test: folder of the weights")
    parser.add_argument("--data", type=Path, default=SHARED)
    given = parser.parse_args()
    write(Path(given.path), given.data) if given.what == "write" else test(given.path, given.data)


if __name__ == "__main__":
    main()
