"""One scan from Python: what is refused before anything is computed, and what names say."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import bids_lfenhance
from bids_lfenhance import api
from bids_lfenhance.errors import InputError, ScanWarning
from bids_lfenhance.imaging.anatomy import Anatomy
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.inputs import files_of, scan_files
from bids_lfenhance.imaging.volume import Stack, Volume, volume_from_channels
from bids_lfenhance.imaging.warp import Warp
from bids_lfenhance.methods.fusionnet.settings import ABOUT
from bids_lfenhance.nn.method import Enhanced

from .refusals import refused


def scan(value: float = 1.0) -> nib.Nifti1Image:
    data = np.random.default_rng(0).uniform(0, value, (60, 60, 60)).astype(np.float32)
    return nib.Nifti1Image(data, np.diag([3.0, 3.0, 3.0, 1.0]))


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, bids_lfenhance; print(sorted({'numpy', 'torch', 'nibabel', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_wrong_path_is_refused_before_torch_is_loaded() -> None:
    call = "try: bids_lfenhance.enhance('none.nii')\nexcept ValueError: print('torch' in sys.modules)"
    code = f"import sys, bids_lfenhance\n{call}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_public_names_are_those_of_the_module() -> None:
    assert bids_lfenhance.enhance is api.enhance
    with pytest.raises(AttributeError):
        _ = bids_lfenhance.enhanced


def test_several_contrasts_are_refused(tmp_path: Path) -> None:
    for name in ("a_T1w", "a_T2w"):
        nib.save(scan(), tmp_path / f"{name}.nii.gz")
    with refused("several-contrasts", contrasts=("T1w", "T2w")):
        api.enhance(tmp_path)


def test_no_scan_no_file_and_no_head_are_refused(tmp_path: Path) -> None:
    with refused("no-scans"):
        api.enhance()
    with refused("missing-file"):
        api.enhance(tmp_path / "none_T1w.nii.gz")
    with refused("missing-file"):  # not the current folder
        api.enhance("")
    with refused("bad-image"):
        api.enhance(np.zeros((3, 3, 3)))  # type: ignore[arg-type]


def test_weights_that_are_nowhere_are_refused_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_prepare", lambda *_: pytest.fail("it began"))
    with pytest.raises(InputError, match="nosuch"):
        api.enhance(scan(), suffix="T1w", weights="nosuch")


def prepared(noise: float, *warnings: str) -> tuple[Volume, Anatomy, dict[str, Any], Enhanced]:
    """A ball of two shades, its stack with so much noise: prepared, its brain, its quality, its enhanced image."""
    grid = Grid(np.diag([5.0, 5.0, 5.0, 1.0]), (36, 36, 36))
    radius = np.linalg.norm(np.indices(grid.shape) - 17.5, axis=0)
    mask, inner = radius < 13, radius < 8
    clean = 80.0 * mask + 20.0 * inner
    acquired = (clean + np.random.default_rng(0).normal(0, noise, grid.shape)).astype(np.float32)
    stack = Stack("a_T1w", "T1w", acquired, grid.affine, grid.affine, (5.0, 5.0, 5.0), noise)
    volume = volume_from_channels(grid, {"T1w": acquired}, (stack,))
    priors = np.stack([np.zeros(grid.shape), mask & ~inner, inner]).astype(np.float32)
    expected = np.argwhere(mask) * 5.0
    about = {"MaskVolumeMl": 1200.0, "TemplateCorrelation": 0.9, "SkullStripped": False, "Warnings": []}
    anatomy = Anatomy(mask, priors, about, Warp(np.eye(4), np.zeros((3, 2, 2, 2)), grid), expected)
    record = {"Name": "a_T1w", "Contrast": "T1w", "Plane": "iso", "Zooms": [3.0, 3.0, 3.0]}
    record |= {"RotationDeg": 0.0, "TranslationMm": 0.0}
    result = Enhanced(
        np.stack([clean, 0 * clean, 0 * clean]).astype(np.float32),
        np.stack([0.04 * clean] * 3).astype(np.float32),
        {"method": "fusionnet", "warnings": []},
    )
    quality = {"Scans": [record], "Alignment": {}, "Warnings": [*warnings]}
    return volume.with_anatomy(mask, priors), anatomy, quality, result


def enhanced_scan(noise: float) -> api.EnhancedScan:
    """What ``enhance`` would return of it."""
    volume, anatomy, quality, result = prepared(noise)
    sampling, output = ABOUT.sampling(), api._Output(volume.grid, volume.grid.affine)
    return api._result(result, volume, anatomy, quality, output, [], sampling)


def test_what_a_user_should_read_is_a_warning_of_pythons_too(monkeypatch: pytest.MonkeyPatch) -> None:
    *found, result = prepared(6.0, "it moved")
    monkeypatch.setattr(api, "_prepare", lambda *_: found)
    monkeypatch.setattr(api, "_run", lambda *_: result)
    with pytest.warns(ScanWarning, match="it moved") as caught:
        one = api.enhance(scan(), suffix="T1w")
    assert tuple(str(warning.message) for warning in caught) == one.warnings


def test_the_verdict_follows_the_noise_and_says_that_nothing_was_compared() -> None:
    good, noisy = enhanced_scan(6.0).verdict, enhanced_scan(50.0).verdict
    assert good.look != "no"
    assert not any("SNR" in reason for reason in good.reasons)
    assert not good.verified
    assert noisy.look == "no"
    assert "SNR" in noisy.reasons[0]


def test_regions_are_found_in_both_contrasts_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    result, calls = enhanced_scan(6.0), []

    def segment(volume: Volume, *given: Any, restored: Volume) -> tuple[dict[str, Any], dict[str, Any]]:
        calls.append((volume.channel("T1w").max(), restored.channel("T1w").max()))
        labels = np.where(volume.channel("T1w") > 90, 17, 0).astype(np.uint8)
        row = {"index": 17, "name": "left hippocampus", "volume_mm3": 1.0, "volume_soft_mm3": 1.0}
        return {"T1w": labels}, {"T1w": [row | {"confidence": 1.0, "uncertain_mm3": 2.0}]}

    brighter = lambda volume, sampling: replace(volume, image=volume.image + 1000)  # noqa: E731
    monkeypatch.setattr("bids_lfenhance.methods.restored.restore", brighter)
    monkeypatch.setattr("bids_lfenhance.segmentation.segment.segment_volume", segment)
    monkeypatch.setattr("bids_lfenhance.segmentation.segment.predictor", lambda *_: None)
    assert set(np.unique(np.asarray(result.regions.dataobj))) == {0, 17}
    assert result.volumes["name"].tolist() == ["left hippocampus"]
    assert result.volumes["volume_mm3"].tolist() == [1.0]
    ((enhanced, restored),) = calls
    assert enhanced < 200 < restored


def test_the_threads_asked_for_are_those_of_regions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    seen = []
    before = torch.get_num_threads()
    monkeypatch.setattr("bids_lfenhance.methods.restored.restore", lambda *_: seen.append(torch.get_num_threads()))
    monkeypatch.setattr("bids_lfenhance.segmentation.segment.predictor", lambda *_: None)
    labels = np.zeros((4, 4, 4), np.uint8)
    monkeypatch.setattr(
        "bids_lfenhance.segmentation.segment.segment_volume",
        lambda *_, **__: seen.append(torch.get_num_threads()) or ({"T1w": labels}, {"T1w": []}),
    )
    session = SimpleNamespace(
        enhanced=None, acquired=None, contrast="T1w", threads=before + 3, sampling=SimpleNamespace(device="cpu"),
        anatomy=SimpleNamespace(mask=None, warp=SimpleNamespace(affine=None)),
    )  # fmt: skip
    monkeypatch.setattr("bids_lfenhance.imaging.field_of_view.seen_in", lambda *_: None)
    monkeypatch.setattr("bids_lfenhance.imaging.field_of_view.without_cut", lambda rows, *_: rows)
    api._Session.regions.func(session)  # type: ignore[attr-defined]
    assert seen == [before + 3] * 2
    assert torch.get_num_threads() == before


def test_what_the_field_of_view_cuts_has_no_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    result = enhanced_scan(6.0)
    seen = np.indices((36, 36, 36))[2] < 18

    def segment(volume: Volume, *given: Any, restored: Volume) -> tuple[dict[str, Any], dict[str, Any]]:
        labels = np.where(volume.channel("T1w") > 90, 17, 0).astype(np.uint8)
        row = {"index": 17, "name": "left hippocampus", "volume_mm3": 1.0, "volume_soft_mm3": 1.0}
        return {"T1w": labels}, {"T1w": [row | {"confidence": 1.0, "uncertain_mm3": 2.0}]}

    monkeypatch.setattr("bids_lfenhance.methods.restored.restore", lambda volume, sampling: volume)
    monkeypatch.setattr("bids_lfenhance.segmentation.segment.segment_volume", segment)
    monkeypatch.setattr("bids_lfenhance.segmentation.segment.predictor", lambda *_: None)
    monkeypatch.setattr("bids_lfenhance.imaging.field_of_view.seen_in", lambda *_: seen)
    assert result.volumes["volume_mm3"].isna().all()


def test_a_page_and_images_are_saved_where_they_are_asked_for(tmp_path: Path) -> None:
    result = enhanced_scan(6.0)
    written = result.save(tmp_path / "out.nii", std=tmp_path / "std.nii.gz", qc=tmp_path / "page.html")
    assert [path.name for path in written] == ["out.nii", "std.nii.gz", "page.html"]
    assert "a_T1w" in (tmp_path / "page.html").read_text(encoding="utf-8")
    image, std = (nib.load(path).get_fdata() for path in written[:2])
    assert std.max() == pytest.approx(0.04 * image.max(), rel=1e-3)
    for bad in ({"qc": tmp_path / "page.pdf"}, {"image": tmp_path / "a.nii", "std": tmp_path / "." / "a.nii"}):
        with refused("bad-output"):
            result.save(**bad)
    assert not (tmp_path / "a.nii").exists()
    with refused("missing-file"):
        scan_files(str(tmp_path))
    nib.save(scan(), tmp_path / "raw_T1w.nii.gz")
    for word in (tmp_path, tmp_path / "*.nii*"):
        assert [path.name for path in scan_files(str(word))] == ["raw_T1w.nii.gz"], "what was made here is no scan"
    with refused("bad-output"):
        replace(result, _scans=files_of([tmp_path])).save(tmp_path / "raw_T1w.nii.gz")
