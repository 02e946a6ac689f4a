"""The demo dataset: valid BIDS, honest headers, physics that can be read back out of the images."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from bids_lfenhance.imaging.grid import Grid, resample
from bids_lfenhance.simulators import demo as simulated
from bids_lfenhance.simulators import head as module
from bids_lfenhance.simulators.demo import STORED_WHITE, SUBJECTS, main, scan_subject, write_demo
from bids_lfenhance.simulators.head import HEAD_GRID, Head, make_head

COARSE = Grid(HEAD_GRID.affine @ np.diag([2, 2, 2, 1.0]), (96, 120, 112))
"""The grid of the digital head with an eighth of its voxels."""

STACKS = {f"acq-{plane}_{contrast}" for plane in ("axi", "cor", "sag", "iso") for contrast in ("T1w", "T2w")}


@pytest.fixture(scope="module", autouse=True)
def heads() -> Iterator[None]:
    """A head costs more than a scan of it: a coarse one is made, and whoever is drawn after is its mirror image.

    That each generator makes another head, and always the same, tests/simulators/test_head.py says.
    """
    known: dict[str, tuple[Head, Any]] = {}

    def remembered(generator: np.random.Generator) -> Head:
        state = str(generator.bit_generator.state)
        if not known:
            known[state] = make_head(generator), generator.bit_generator.state
        elif state not in known:
            first = next(iter(known.values()))[0]
            mirrored = Head(first.fractions[:, ::-1], first.texture[::-1], first.gain[::-1])
            known[state] = mirrored, generator.bit_generator.state
        head, generator.bit_generator.state = known[state]
        return head

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated, "make_head", remembered)
        patch.setattr(simulated, "HEAD_GRID", COARSE)
        patch.setattr(module, "HEAD_GRID", COARSE)
        yield


@pytest.fixture(scope="module")
def demo(heads: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo(tmp_path_factory.mktemp("demo") / "bids", seed=5)


def images(demo: Path, pattern: str) -> list[Path]:
    return sorted(demo.glob(f"sub-*/ses-*/anat/{pattern}.nii.gz"))


def sidecar(image: Path) -> dict:
    return json.loads(image.with_name(image.name.removesuffix(".nii.gz") + ".json").read_text(encoding="utf-8"))


def test_layout_is_that_of_ds006557(demo: Path) -> None:
    found = {path.name.removesuffix(".nii.gz").split("_", 2)[2] for path in images(demo, "sub-01_ses-HFC_*")}
    assert found == STACKS
    assert [path.name for path in images(demo, "sub-02_*")] == ["sub-02_ses-HFC_acq-axi_T1w.nii.gz"]
    assert [path.name for path in images(demo, "sub-01_ses-GE_*")] == [
        "sub-01_ses-GE_T2w.nii.gz",
        "sub-01_ses-GE_acq-MPRAGE_T1w.nii.gz",
    ]


def test_validator_finds_no_error(demo: Path) -> None:
    validator = Path(sys.executable).with_name("bids-validator-deno")
    if not validator.is_file():
        pytest.skip("needs bids-validator-deno, which the extra [test] installs")
    done = subprocess.run([validator, demo, "--json"], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_everything_says_it_is_simulated(demo: Path) -> None:
    assert all(sidecar(image)["Simulated"] is True and sidecar(image)["Seed"] == 5 for image in images(demo, "*"))
    assert "imulated" in json.loads((demo / "dataset_description.json").read_text(encoding="utf-8"))["Name"]
    assert "seed 5" in (demo / "README.md").read_text(encoding="utf-8")


def test_headers_agree_with_each_other_and_with_the_sidecar(demo: Path) -> None:
    for path in images(demo, "*"):
        image, said = nib.load(path), sidecar(path)
        qform, qcode = image.get_qform(coded=True)
        sform, scode = image.get_sform(coded=True)
        assert (qcode, scode) == (1, 1)
        np.testing.assert_allclose(qform, sform, atol=1e-4)
        assert image.header.get_xyzt_units()[0] == "mm"
        thickness = image.header.get_zooms()[2] / (2 if "ses-GE" in path.name else 1)  # high field is the head's grid
        assert thickness == pytest.approx(said["SliceThickness"])
        # DICOM is LPS, its columns run down; dcm2niix turns the second axis over.
        row, column = np.array(said["ImageOrientationPatientDICOM"], float).reshape(2, 3) * [-1, -1, 1]
        directions = image.affine[:3, :3] / image.header.get_zooms()
        np.testing.assert_allclose(directions[:, :2].T, [row, -column], atol=1e-6)
        assert abs(directions[:, 2] @ np.cross(row, column)) == pytest.approx(1)


def test_stacks_are_not_all_stored_in_one_orientation(demo: Path) -> None:
    codes = {
        path.name.split("_")[2]: nib.aff2axcodes(nib.load(path).affine) for path in images(demo, "sub-01_ses-HFC*T1w")
    }
    assert len(set(codes.values())) == 3


def test_recorded_motion_brings_a_stack_onto_high_field(demo: Path) -> None:
    """The motion in the sidecar, scanner mm → 3 T mm, must fit better than none, and better than its inverse."""
    high = nib.as_closest_canonical(nib.load(images(demo, "sub-01_ses-GE_T2w")[0]))
    reference = high.get_fdata(dtype=np.float32)[::2, ::2, 30::2]
    step = np.diag([2.0, 2.0, 2.0, 1.0])
    step[2, 3] = 30
    grid = Grid(high.affine @ step, reference.shape)
    for plane in ("axi", "sag"):
        path = images(demo, f"sub-01_ses-HFC_acq-{plane}_T2w")[0]
        stack = nib.load(path)
        data = stack.get_fdata(dtype=np.float32)
        motion = np.array(sidecar(path)["SimulatedDegradation"]["motion"])
        moves = (motion, np.eye(4), np.linalg.inv(motion))
        moved = [resample(data, move @ stack.affine, grid) for move in moves]
        true, still, inverse = (np.corrcoef(image.ravel(), reference.ravel())[0, 1] for image in moved)
        assert true > 0.85
        assert true > still + 0.02 > inverse


def test_noise_is_rician_of_the_recorded_strength(demo: Path) -> None:
    """In air a magnitude image is Rayleigh: mean square 2 σ², whatever the bias field."""
    for path in images(demo, "sub-01_ses-HFC_*"):
        data = nib.load(path).get_fdata(dtype=np.float32)
        air = nib.as_closest_canonical(nib.load(path)).get_fdata()[:10, -12:, -3:]
        sigma = np.sqrt(np.mean(air**2) / 2)
        assert sigma == pytest.approx(STORED_WHITE / sidecar(path)["SimulatedDegradation"]["snr"], rel=0.1)
        assert data.max() < 30000, "stored values stay clear of the end of int16"


def test_subjects_differ_and_the_motion_between_stacks_is_small(demo: Path) -> None:
    first, second = (nib.load(images(demo, f"sub-{label}*axi_T1w")[0]).get_fdata() for label in SUBJECTS)
    assert np.abs(first - second).mean() > 50
    motions = [np.array(sidecar(path)["SimulatedDegradation"]["motion"]) for path in images(demo, "sub-01_ses-HFC_*")]
    for motion in motions[1:]:
        between = np.linalg.inv(motions[0]) @ motion
        angle = np.degrees(np.arccos(np.clip((np.trace(between[:3, :3]) - 1) / 2, -1, 1)))
        assert 0.05 < angle < 8
        assert np.linalg.norm(between[:3, 3]) < 8


def test_same_seed_same_bytes(demo: Path, tmp_path: Path) -> None:
    """The first stack of the second subject, made again."""
    from bids_lfenhance.simulators.demo import _nifti

    stored = images(demo, "sub-02*axi_T1w")[0].read_bytes()
    again = next(scan_subject(np.random.default_rng([5, 1])))
    assert _nifti(again) == stored


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert main([str(tmp_path)]) == 2
    assert "found other files" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
