"""One scan from Python: what is refused before anything is computed, and what names say."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import bids_lfenhance
from bids_lfenhance import api
from bids_lfenhance.imaging.guess import contrast_of_name, guess_contrast

from .refusals import refused


def scan(value: float = 1.0) -> nib.Nifti1Image:
    data = np.random.default_rng(0).uniform(0, value, (60, 60, 60)).astype(np.float32)
    return nib.Nifti1Image(data, np.diag([3.0, 3.0, 3.0, 1.0]))


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, bids_lfenhance; print(sorted({'numpy', 'torch', 'nibabel', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_those_of_the_module() -> None:
    assert bids_lfenhance.enhance is api.enhance
    with pytest.raises(AttributeError):
        _ = bids_lfenhance.enhanced


def test_several_contrasts_are_refused(tmp_path: Path) -> None:
    for name in ("a_T1w", "a_T2w"):
        nib.save(scan(), tmp_path / f"{name}.nii.gz")
    with refused("several-contrasts", contrasts=("T1w", "T2w")):
        api.enhance(tmp_path)


def test_a_suffix_keeps_the_scans_that_may_have_it() -> None:
    images = [(name, scan()) for name in ("a_T1w.nii", "b.nii", "c_T2w.nii")]
    kept, contrast, warnings = api._of_one_contrast(images, "T1w")
    assert ([name for name, _ in kept], contrast) == (["a_T1w.nii", "b.nii"], "T1w")
    assert len(warnings) == 1
    assert "c_T2w.nii" in warnings[0]
    with refused("several-contrasts"):
        api._of_one_contrast(images[2:], "T1w")


def test_folders_and_patterns_give_images_alone(tmp_path: Path) -> None:
    for name in ("b.nii", "a.nii.gz", "notes.txt", ".hidden.nii"):
        (tmp_path / name).touch()
    assert [path.name for path in api._files(str(tmp_path))] == ["a.nii.gz", "b.nii"]
    assert [path.name for path in api._files(f"{tmp_path}/a*")] == ["a.nii.gz"]
    with refused("missing-file"):
        api._files(f"{tmp_path}/none*")


def test_no_scan_no_file_and_no_head_are_refused(tmp_path: Path) -> None:
    with refused("no-scans"):
        api.enhance()
    with refused("missing-file"):
        api.enhance(tmp_path / "none_T1w.nii.gz")
    with refused("bad-image"):
        api.enhance(np.zeros((3, 3, 3)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "contrast"),
    [("sub-1_T1w.nii.gz", "T1w"), ("AX_T2_FLAIR.nii", "FLAIR"), ("T2FLAIR.nii", "FLAIR"), ("axi.nii", None)],
)
def test_names_say_contrasts(name: str, contrast: str | None) -> None:
    assert contrast_of_name(name) == contrast


@pytest.mark.parametrize(
    ("means", "contrast"),
    [((0.4, 0.8, 1.0), "T1w"), ((1.0, 0.66, 0.54), "T2w"), ((0.3, 1.0, 0.86), "FLAIR"), ((0.3, 1.0, 0.99), None)],
)
def test_tissues_say_contrasts(means: tuple[float, ...], contrast: str | None) -> None:
    rng = np.random.default_rng(0)
    priors = rng.dirichlet((0.5, 0.5, 0.5), 20**3).T.reshape(3, 20, 20, 20).astype(np.float32)
    image = np.tensordot(means, priors, 1) + rng.normal(0, 0.05, (20, 20, 20))
    assert guess_contrast(image, np.ones((20, 20, 20), bool), priors) == contrast
