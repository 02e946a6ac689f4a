"""Files that are missing, empty or cut short are told from whole ones."""

import nibabel as nib
import numpy as np
import pytest

from bids_lfenhance.bids.defects import file_defect


def test_damage_is_seen_from_header_and_end(tmp_path):
    for name in ("a.nii.gz", "b.nii"):
        path = tmp_path / name
        nib.save(nib.Nifti1Image(np.random.default_rng(0).normal(size=(9, 8, 7)), np.eye(4)), path)
        assert file_defect(path) == ""
        path.write_bytes(path.read_bytes()[:-5])
        assert file_defect(path) == "cut short"
        path.write_bytes(b"")
        assert file_defect(path) == "empty file"
        path.write_bytes(b"not an image at all" * 9)
        assert file_defect(path) == "not a readable NIfTI file"


def test_damage_anywhere_is_a_word_and_no_traceback(tmp_path):
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.random.default_rng(0).normal(size=(9, 8, 7)), np.eye(4)), path)
    whole = path.read_bytes()
    for start, end in ((64, 512), (10, 4096), (0, 4), (30, 31)):
        path.write_bytes(whole[:start] + bytes(min(end, len(whole)) - start) + whole[end:])
        assert file_defect(path) in ("", "cut short", "not a readable NIfTI file")
    assert file_defect(tmp_path / "a.nii.gz") != ""


def test_a_nifti_2_image_is_whole(tmp_path):
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti2Image(np.ones((5, 4, 3), np.float32), np.eye(4)), path)
    assert file_defect(path) == ""


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("a.json", '{"a": 1}\n', ""),
        ("a.json", '{"a": ', "not a readable JSON file"),
        ("a.tsv", "a\tb\n1\t2\n", ""),
        ("a.tsv", "a\tb\n1\t", "cut short"),
        ("a.txt", "x", ""),
        ("a.txt", "", "empty file"),
    ],
)
def test_texts_are_whole_or_not(tmp_path, name, text, wrong):
    path = tmp_path / name
    assert file_defect(path) == "missing"
    path.write_text(text)
    assert file_defect(path) == wrong
