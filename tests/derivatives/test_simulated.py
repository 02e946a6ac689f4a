"""The high field that is put beside simulated low field."""

import gzip
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_lfenhance.bids.names import sidecar_path
from bids_lfenhance.bids.scans import file_state
from bids_lfenhance.derivatives.simulated import add_high_field, has_high_field, high_field_path

from .sessions import HIGH, make_scan


@pytest.mark.parametrize("odd", [b"", b"\0" * 700, gzip.compress(b"", mtime=0)])
def test_a_copy_of_a_source_that_is_odd_and_readable_is_there(tmp_path: Path, odd: bytes) -> None:
    source = tmp_path / "sub-01_ses-A_T1w.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4)), source)
    source.write_bytes(source.read_bytes() + odd)
    scan = replace(make_scan(tmp_path, "01", "A", "T1w", HIGH), path=source, state=file_state(source))
    assert not has_high_field(tmp_path / "out", scan, "A")
    add_high_field(tmp_path / "out", [scan], "A", "copy", {source: {}})
    assert has_high_field(tmp_path / "out", scan, "A")
    copy = high_field_path(tmp_path / "out", scan, "A")
    copy.write_bytes(copy.read_bytes()[:60])
    assert not has_high_field(tmp_path / "out", scan, "A")
    sidecar_path(copy).unlink()
    copy.write_bytes(source.read_bytes())
    assert not has_high_field(tmp_path / "out", scan, "A")
