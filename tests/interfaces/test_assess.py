"""The steps that compare with high field, intensities and labels, and that map the error to expect."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bids_lfenhance.config import Settings
from bids_lfenhance.evaluation.expected_error import WEIGHTS
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Stack, load_volume, save_arrays, save_volume, volume_from_channels
from bids_lfenhance.interfaces.assess import CompareImages, CompareLabels, MapRisk

SHAPE = (28, 30, 26)
TISSUE = [{"index": i, "name": name} for i, name in ((1, "CSF"), (2, "GM"), (3, "WM"))]
REGIONS = [{"index": 10, "name": "left thalamus"}, {"index": 49, "name": "right thalamus"}]
REGIONS += [{"index": None, "name": "total intracranial"}]
LABELS = ("labels", "enhanced_labels", "reference_labels")


@pytest.fixture
def given(tmp_path: Path) -> dict:
    """Inputs of both comparisons; the enhanced image and its labels are those of high field."""
    rng, grid = np.random.default_rng(4), Grid(np.eye(4), SHAPE)
    high = rng.uniform(50, 100, SHAPE).astype(np.float32)
    mask = np.zeros(SHAPE, bool)
    mask[4:-4, 4:-4, 4:-4] = True
    posteriors = np.zeros((3, *SHAPE), np.float32)
    low = high + rng.normal(0, 9, SHAPE).astype(np.float32)
    labels = np.where(mask, rng.integers(1, 4, SHAPE), 0).astype(np.uint8)
    found: dict = {"volumes": {"T1w": TISSUE}}
    for name, image in (("baseline", low), ("enhanced", high), ("reference", high)):
        stack = Stack("axi", "T1w", image, grid.affine, grid.affine, (1.0, 1.0, 1.0), 1.0)
        volume = volume_from_channels(grid, {"T1w": image}, () if name == "reference" else (stack,))
        found[name] = str(save_volume(volume.with_anatomy(mask, posteriors), tmp_path / f"{name}.npz"))
    found["anatomy"] = str(save_arrays(tmp_path / "anatomy.npz", {}, {"mask": mask}))
    for of, shift in (("", 2), ("enhanced_", 0), ("reference_", 0)):
        moved = {"T1w": np.roll(labels, shift, axis=0)}
        found[f"{of}labels"] = str(save_arrays(tmp_path / f"{of}labels.npz", {}, moved))
    return found


def compare_labels(given: dict, cwd: Path, seg: str = "tissue") -> list[dict]:
    files = {name: given[name] for name in ("baseline", "anatomy", *LABELS, "volumes")}
    return CompareLabels(label="inr", seg=seg, **files).run(cwd=cwd).outputs.metrics


def test_images_are_compared(given: dict, tmp_path: Path) -> None:
    files = {name: given[name] for name in ("baseline", "enhanced", "reference")}
    rows = CompareImages(label="inr", **files).run(cwd=tmp_path).outputs.metrics
    psnr = {row["image"]: row["value"] for row in rows if (row["protocol"], row["metric"]) == ("brain-fit", "psnr")}
    assert set(psnr) == {"preproc", "inr"}
    assert psnr["inr"] > psnr["preproc"]


@pytest.mark.parametrize("asked", [(), ("slice2d",), ("h2lo", "brain-fit")])
def test_images_are_compared_by_the_protocols_asked_for(given: dict, tmp_path: Path, asked: tuple[str, ...]) -> None:
    files = {name: given[name] for name in ("baseline", "enhanced", "reference")}
    protocols = list(Settings(tmp_path, tmp_path, metrics=asked).protocols)
    rows = CompareImages(label="inr", protocols=protocols, **files).run(cwd=tmp_path).outputs.metrics
    assert {row["protocol"] for row in rows} == {"brain-fit", *asked}


def test_labels_are_compared(given: dict, tmp_path: Path) -> None:
    rows = compare_labels(given, tmp_path)
    assert {row["protocol"] for row in rows if row["metric"] == "dice"} == {"seg-tissue"}
    dice = {(row["image"], row["region"]): row["value"] for row in rows if row["metric"] == "dice"}
    assert set(dice) == {(image, name) for image in ("preproc", "inr") for name in ("CSF", "GM", "WM")}
    assert all(dice["inr", name] == 1 > dice["preproc", name] for name in ("CSF", "GM", "WM"))


def test_what_high_field_cuts_is_not_compared(given: dict, tmp_path: Path) -> None:
    seen = np.ones(SHAPE, bool)
    seen[:, :, 13:] = False
    given["anatomy"] = str(save_arrays(tmp_path / "cut.npz", {}, {"seen": seen}))
    dice = [row["value"] for row in compare_labels(given, tmp_path) if row["metric"] == "dice"]
    assert len(dice) == 6
    assert np.isnan(dice).all()


def test_regions_are_compared_by_name_and_side(given: dict, tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[8:12, 10:14, 10:14], labels[16:20, 10:14, 10:14] = 10, 49
    for name, image in zip(LABELS, (np.where(labels == 49, 0, labels), labels, labels), strict=True):
        given[name] = str(save_arrays(tmp_path / f"regions_{name}.npz", {}, {"T1w": image}))
    rows = compare_labels(given | {"volumes": {"T1w": REGIONS}}, tmp_path, "synthseg")
    dice = {
        (r["image"], r["region"]): r["value"] for r in rows if (r["protocol"], r["metric"]) == ("seg-synthseg", "dice")
    }
    assert len(dice) == 2 * 3
    assert dice["preproc", "thalamus"] == pytest.approx(2 / 3)
    assert (dice["preproc", "left thalamus"], dice["preproc", "right thalamus"]) == (1, 0)
    assert dice["inr", "thalamus"] == 1


@pytest.mark.parametrize("told", [True, False])
def test_the_error_to_expect_is_mapped_where_the_method_tells_its_scale(
    given: dict, tmp_path: Path, told: bool
) -> None:
    acquired = load_volume(given["baseline"])
    std = save_volume(replace(acquired, image=np.full_like(acquired.image, 4.0), stacks=()), tmp_path / "std.npz")
    step = MapRisk(enhanced=given["enhanced"], acquired=given["baseline"], std=str(std) if told else None)
    found = step.run(cwd=tmp_path).outputs
    assert (found.error is not None) == told
    if told:
        error = load_volume(found.error).channel("T1w")
        assert (error[acquired.brain] > WEIGHTS["Std"] * 4).all(), "the scans contradict the image a little too"
        assert (error[~acquired.brain] == 0).all()
        assert not load_volume(found.error).channel("T2w").any()
