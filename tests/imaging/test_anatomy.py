"""Brain masks: on heads made from the template (quick), drawn from label maps and acquired (slow, real)."""

import importlib.util
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.imaging import anatomy
from bids_lfenhance.imaging.anatomy import (
    Anatomy,
    extract_brain,
    find_anatomy,
    is_stripped,
    stack_warnings,
)
from bids_lfenhance.imaging.grid import Grid, canonical_grid, resample
from bids_lfenhance.imaging.guess import contrast_warnings
from bids_lfenhance.imaging.template import ROUGH, affine_of, load_head_template
from bids_lfenhance.imaging.volume import Stack, volume_from_channels

GAINS = {  # CSF, GM, WM, skull, scalp, air, below
    "T1w": (40, 90, 130, 20, 110, 0, 60),
    "T2w": (220, 120, 90, 20, 100, 0, 60),
}


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.fixture(scope="module")
def small() -> tuple[dict[str, np.ndarray], np.ndarray, Grid]:
    """Three scans of one tilted head at 3 mm (T1w and T2w with skull, T1w without), its brain, the grid."""
    rng = np.random.default_rng(5)
    head = load_head_template()
    motion = affine_of(np.array([0.8, -0.6, 0.4, 1.0, 0.3, -0.6, -1.2, -0.7, -1.0, 0, 0, 0]), np.zeros(3))
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = (-105, -140, -110)
    grid = Grid(affine, (72, 84, 76))
    maps = np.stack([resample(one, motion @ head.grid.affine, grid) for one in head.maps])
    brain = resample(head.brain, motion @ head.grid.affine, grid) > 0.5
    scans = {
        name: np.abs(np.tensordot(gains, maps, 1) + 3 * rng.standard_normal(grid.shape)).astype(np.float32)
        for name, gains in GAINS.items()
    }
    scans["bare"] = np.where(brain, scans["T1w"], 0)
    return scans, brain, grid


@pytest.fixture(scope="module")
def anatomies(small) -> dict[str, Anatomy]:
    """What is found of each scan."""
    scans, _, grid = small
    return {
        name: find_anatomy(image, grid, "T2w" if name == "T2w" else "T1w", effort=ROUGH)
        for name, image in scans.items()
    }


@pytest.mark.parametrize("name", ["T1w", "T2w", "bare"])
def test_the_brain_is_found_with_skull_and_without(small, anatomies, name):
    _, brain, grid = small
    found = anatomies[name]
    assert _dice(found.mask, brain) > 0.95
    assert found.mask.dtype == bool
    assert found.priors.shape == (3, *grid.shape)
    assert found.priors.dtype == np.float32
    assert found.priors.min() >= 0
    assert found.priors.sum(axis=0).max() < 1.001
    assert found.quality["SkullStripped"] is (name == "bare")
    assert found.quality["MaskVolumeMl"] == pytest.approx(found.mask.sum() * 27 / 1000, abs=0.1)
    assert found.quality["TemplateCorrelation"] > 0.7
    assert found.quality["Warnings"] == []


def test_what_was_stripped_from_the_sulci_stays_out_of_the_mask(small):
    """Skull stripped close to the cortex: gaps were closed over nothing, 50 mL of CSF (no single report)."""
    scans, brain, grid = small
    close = np.where(scans["T1w"] > 60, scans["bare"], 0)  # grey and white matter, as after thresholding
    mask, stripped = extract_brain(close, brain, np.zeros((3, *grid.shape), np.float32), grid)
    assert stripped
    removed = ~ndimage.binary_fill_holes(close > 0)
    assert not (mask & removed).any()
    assert _dice(mask, brain & ~removed) > 0.97


def test_a_head_upside_down_is_said(small):
    """Slices in reverse order under a plausible header: https://github.com/rordenlab/dcm2niix/issues/134."""
    scans, _, grid = small
    found = find_anatomy(np.ascontiguousarray(scans["T1w"][:, :, ::-1]), grid, "T1w", effort=ROUGH)
    assert any("upside down: check orientation" in sentence for sentence in found.quality["Warnings"])


@pytest.mark.parametrize(("name", "contrast"), [("T2w", "T1w"), ("T2w", "FLAIR"), ("T1w", "T2w")])
def test_a_contrast_under_another_name_is_said(small, name, contrast):
    """A T2w named T1w: https://github.com/nipreps/mriqc/issues/58."""
    maps = load_head_template().maps[:3]
    image, brain = np.tensordot(GAINS[name][:3], maps, 1), maps.sum(axis=0) > 0.9
    (sentence,) = contrast_warnings(image, maps, brain, contrast)
    assert f"The {contrast} looks like a {name}" in sentence
    assert "check contrast" in sentence
    assert contrast_warnings(image, maps, brain, name) == []


def test_a_t1w_whose_grey_matter_is_not_darker_than_white_is_said():
    """A FLAIR named T1w, of which T1w and FLAIR both have dark CSF."""
    maps = load_head_template().maps[:3]
    flair, brain = np.tensordot((30, 120, 100), maps, 1), maps.sum(axis=0) > 0.9
    (sentence,) = contrast_warnings(flair, maps, brain, "T1w")
    assert "The T1w looks like a FLAIR" in sentence
    assert contrast_warnings(flair, maps, brain, "FLAIR") == []


def test_the_one_stack_under_another_name_is_named():
    """One T2w among the T1w of a session: https://github.com/nipreps/mriqc/issues/58."""
    template = load_head_template()
    maps, brain = template.maps[:3], template.maps[:3].sum(axis=0) > 0.9
    images = {name: np.tensordot(GAINS[name][:3], maps, 1).astype(np.float32) for name in ("T1w", "T2w")}
    thick = Grid(template.grid.affine @ np.diag([1, 1, 2.0, 1]), (*brain.shape[:2], brain.shape[2] // 2))
    stacks = tuple(
        Stack(
            name,
            "T1w",
            resample(images[shown], template.grid.affine, thick),
            thick.affine,
            thick.affine,
            thick.zooms,
            1,
        )
        for name, shown in (("acq-axi_T1w", "T1w"), ("acq-cor_T1w", "T2w"), ("acq-sag_T1w", "T1w"))
    )
    volume = volume_from_channels(template.grid, {"T1w": images["T1w"]}, stacks)
    (sentence,) = stack_warnings(volume, maps, brain)
    assert sentence.startswith("acq-cor_T1w looks like a T2w")


def test_two_runs_agree_to_the_last_bit(small, anatomies):
    scans, _, grid = small
    one, other = anatomies["T1w"], find_anatomy(scans["T1w"], grid, "T1w", effort=ROUGH)
    assert one.mask.tobytes() == other.mask.tobytes()
    assert one.priors.tobytes() == other.priors.tobytes()


def test_a_failed_extraction_is_a_warning_with_its_numbers(rng):
    grid = Grid(np.diag([6.0, 6, 6, 1]), (32, 32, 32))
    found = find_anatomy(rng.uniform(0, 1, grid.shape).astype(np.float32), grid, "T2w", effort=ROUGH)
    assert any("T2w" in sentence and "0.5" in sentence for sentence in found.quality["Warnings"])


def test_nothing_at_all_is_a_warning_not_a_crash():
    grid = Grid(np.diag([6.0, 6, 6, 1]), (32, 32, 32))
    found = find_anatomy(np.zeros(grid.shape, np.float32), grid, "T1w", effort=ROUGH)
    assert found.quality["Warnings"]
    assert np.isfinite(found.priors).all()


def test_stripped_is_told_by_the_scalp(small):
    scans, brain, grid = small
    assert is_stripped(scans["bare"], brain, grid)
    assert not is_stripped(scans["T1w"], brain, grid)


@pytest.fixture(scope="session")
def benchmark() -> ModuleType:
    """benchmarks/brain_mask.py, which draws the heads."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "brain_mask.py"
    spec = importlib.util.spec_from_file_location("brain_mask", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize(("field", "gate"), [("high", 0.95), ("low", 0.92)])
@pytest.mark.parametrize("number", [2, 5, 9, 14])
def test_gate_of_brain_masks_on_drawn_heads(shared_data, benchmark, number, field, gate):
    row = benchmark.measure_case(number, "T1w", field, tilt=0.0, regions=False)
    assert row["brain"] >= gate
    if field == "high":
        assert row["GM"] >= 0.85


def _load(path: Path) -> tuple[np.ndarray, Grid]:
    image = nib.load(path)
    grid = canonical_grid(Grid(image.affine, image.shape).corners())
    return np.clip(resample(np.asarray(image.dataobj), image.affine, grid), 0, None), grid


def _anatomy_of(path: Path, contrast: str) -> Anatomy:
    return find_anatomy(*_load(path), contrast)


@pytest.mark.slow
@pytest.mark.real
def test_three_contrasts_of_one_subject_agree_on_its_brain(shared_data):
    folder = shared_data / "open_ms" / "longitudinal" / "patient01"
    volumes = []
    for contrast in CONTRASTS:
        found = _anatomy_of(folder / f"study1_{contrast.replace('w', 'W')}.nii.gz", contrast)
        assert not found.quality["SkullStripped"]
        assert not found.quality["Warnings"]
        volumes.append(found.quality["MaskVolumeMl"])
    assert max(volumes) < 1.2 * min(volumes)


@pytest.mark.slow
@pytest.mark.real
def test_a_stripped_64_mt_scan_keeps_what_is_left_of_it(shared_data):
    image, grid = _load(shared_data / "real_64mT" / "MRI_mT_sub2.nii.gz")
    found = find_anatomy(image, grid, "T1w")
    assert found.quality["SkullStripped"]
    assert not found.quality["Warnings"]
    assert _dice(found.mask, image > 0.05 * np.percentile(image, 99)) > 0.93


def test_there_is_no_brain_where_nothing_was_seen(monkeypatch):
    """Whatever the extraction adds beyond the field of view: no image, mask, volume there."""
    grid, seen = Grid(np.eye(4), (12, 12, 12)), np.zeros((12, 12, 12), bool)
    seen[:, :, :7] = True
    for name, answer in {
        "fit_affine": (np.eye(4), 0.9),
        "fit_warp": None,
        "_carried": np.ones((4, *grid.shape), np.float32),
        "extract_brain": (np.ones(grid.shape, bool), False),
        "_is_cut": True,
        "_correlation": 0.9,
        "contrast_warnings": [],
        "expected_brain": np.zeros((1, 3)),
    }.items():
        monkeypatch.setattr(anatomy, name, lambda *_, answer=answer, **__: answer)
    found = anatomy.find_anatomy(np.ones(grid.shape), grid, "T1w", seen=seen)
    np.testing.assert_array_equal(found.mask, seen)
    assert found.quality["MaskVolumeMl"] == round(seen.sum() / 1000, 1)
