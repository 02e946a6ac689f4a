"""The scans of a run without a dataset: which files are meant, which contrast they have."""

from pathlib import Path

import nibabel as nib
import numpy as np

from bids_lfenhance.imaging import inputs

from ..refusals import refused


def scan() -> nib.Nifti1Image:
    return nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4))


def test_a_suffix_keeps_the_scans_that_may_have_it() -> None:
    images = [(name, scan()) for name in ("a_T1w.nii", "b.nii", "c_T2w.nii")]
    kept, contrast, warnings = inputs.of_one_contrast(images, "T1w")
    assert ([name for name, _ in kept], contrast) == (["a_T1w.nii", "b.nii"], "T1w")
    assert len(warnings) == 1
    assert "c_T2w.nii" in warnings[0]
    with refused("several-contrasts"):
        inputs.of_one_contrast(images[2:], "T1w")


def test_folders_and_patterns_give_images_alone(tmp_path: Path) -> None:
    for name in ("b.nii", "a.nii.gz", "notes.txt", ".hidden.nii", "b_mask.nii", "a_dseg.nii.gz"):
        (tmp_path / name).touch()
    assert [path.name for path in inputs.scan_files(str(tmp_path))] == ["a.nii.gz", "b.nii"]
    assert [path.name for path in inputs.scan_files(f"{tmp_path}/a*")] == ["a.nii.gz"]
    with refused("missing-file"):
        inputs.scan_files(f"{tmp_path}/none*")
