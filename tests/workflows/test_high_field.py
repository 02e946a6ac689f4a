"""What is said of high field before low field is made from it."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_lfenhance.workflows import high_field


@pytest.mark.parametrize(("thickness", "warned"), [(1.0, False), (4.0, False), (5.0, True)])
def test_thick_slices_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, thickness: float, warned: bool
) -> None:
    monkeypatch.setattr(high_field, "prepare_reference", lambda images: (None, {}, {"Warnings": []}))
    monkeypatch.setattr(high_field, "high_field_sources", lambda volume, names: [])
    image = rng.uniform(1, 100, (60, 60, 60)).astype(np.float32)
    path = tmp_path / "sub-01_T1w.nii.gz"
    nib.save(nib.Nifti1Image(image, np.diag([1, 1, thickness, 1])), path)
    warnings = high_field.load_high_field([(path.name, "T1w", path)])[1]
    assert any(f"{thickness:g} mm" in sentence for sentence in warnings) == warned
