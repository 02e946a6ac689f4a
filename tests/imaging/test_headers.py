"""Damaged files, each written for real: one sentence that names the file, or a warning and a usable image."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from bids_lfenhance.errors import InputError
from bids_lfenhance.imaging.headers import copies, open_scan
from bids_lfenhance.imaging.inputs import find_scans, read_scans

from . import thick_stacks as ts

SHAPE = (40, 44, 16)
AFFINE = np.diag([-1.6, 1.6, 5.0, 1.0])
NAME = "sub-01_acq-axi_T1w.nii.gz"


@pytest.fixture
def data(rng):
    return rng.uniform(0, 1000, SHAPE).astype(np.float32)


def write(tmp_path, data, affine=AFFINE, dtype=None):
    image = nib.Nifti1Image(data, affine, dtype=dtype)
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / NAME)
    return tmp_path / NAME


def refused(path, words):
    with pytest.raises(InputError, match=words) as caught:
        open_scan(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    assert message.endswith(".")
    assert not message.rstrip(".").count(". "), "one sentence"


def test_a_sound_scan_opens_without_a_word(tmp_path, data):
    image, warnings = open_scan(write(tmp_path, data))
    assert warnings == ()
    np.testing.assert_array_equal(image.get_fdata(), data)
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    assert image.get_data_dtype() == np.float32


def test_missing_file(tmp_path):
    refused(tmp_path / NAME, "no such file")


def test_empty_file(tmp_path):
    (tmp_path / NAME).touch()
    refused(tmp_path / NAME, "0 bytes")


def test_annex_link_without_content(tmp_path):
    (tmp_path / NAME).symlink_to("../.git/annex/objects/xx/yy/MD5E-s1--0.nii.gz/MD5E-s1--0.nii.gz")
    refused(tmp_path / NAME, "datalad get")


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.999])
def test_truncated_gzip(tmp_path, data, keep):
    path = write(tmp_path, data)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    refused(path, "cut short or damaged")


def test_truncated_inside_a_sound_gzip(tmp_path, data):
    path = write(tmp_path, data)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-5000]))
    refused(path, "cut short")


def test_corrupt_bytes_inside_the_gzip(tmp_path, data):
    path = write(tmp_path, data)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 200] = bytes(200)
    path.write_bytes(bytes(whole))
    refused(path, "not a readable NIfTI")


@pytest.mark.parametrize(
    "content", [b"this is no image, it is a page of text", gzip.compress(b"neither is this" * 100, mtime=0)]
)
def test_not_nifti(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    refused(tmp_path / NAME, "not a readable NIfTI")


def test_another_format(tmp_path, data):
    nib.save(nib.MGHImage(data, AFFINE), tmp_path / "sub-01_T1w.mgz")
    refused(tmp_path / "sub-01_T1w.mgz", "MGHImage")


def test_four_dimensions(tmp_path, data):
    refused(write(tmp_path, np.stack([data, data], axis=-1)), "40 × 44 × 16 × 2")


def test_two_dimensions(tmp_path, data):
    refused(write(tmp_path, data[..., :1]), "3D")


def test_a_fourth_axis_of_one_is_dropped(tmp_path, data):
    image, warnings = open_scan(write(tmp_path, data[..., None]))
    assert image.shape == SHAPE
    assert "length 1" in warnings[0]


def test_colour_and_complex_are_refused(tmp_path, data):
    refused(write(tmp_path, data.astype(np.complex64)), "real numbers")


def test_many_nans_are_refused(tmp_path, data):
    data[:5] = np.nan
    refused(write(tmp_path, data), r"12\.5 %")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_few_non_finite_voxels_become_zero(tmp_path, data, bad):
    data[3, 4, 5] = bad
    image, warnings = open_scan(write(tmp_path, data))
    assert image.get_fdata()[3, 4, 5] == 0
    assert np.isfinite(image.get_fdata()).all()
    assert "1 voxels" in warnings[0]


def test_all_zeros(tmp_path):
    refused(write(tmp_path, np.zeros(SHAPE, np.float32)), "all zeros")


def test_constant(tmp_path):
    refused(write(tmp_path, np.full(SHAPE, 3, np.float32)), r"same number \(3\)")


@pytest.mark.parametrize(
    ("zooms", "words"),
    [
        ((0.0016, 0.0016, 0.005), "between 0.05 and 20"),
        ((1.6, 1.6, 25.0), "between 0.05 and 20"),
        ((0.3, 0.3, 5.0), "40 and 600"),
        ((16.0, 1.6, 5.0), "40 and 600"),
    ],
)
def test_absurd_sizes(tmp_path, data, zooms, words):
    refused(write(tmp_path, data, np.diag([*zooms, 1.0])), words)


def test_sform_and_qform_that_disagree(tmp_path, data):
    image = nib.Nifti1Image(data, AFFINE)
    other = AFFINE.copy()
    other[0, 3] += 10
    image.set_sform(AFFINE, 1)
    image.set_qform(other, 1)
    nib.save(image, tmp_path / NAME)
    opened, warnings = open_scan(tmp_path / NAME)
    assert any("sform and qform disagree" in w for w in warnings)
    np.testing.assert_allclose(opened.affine, AFFINE)


def test_no_orientation_at_all(tmp_path, data):
    image = nib.Nifti1Image(data, None)
    image.header["pixdim"][1:4] = (1.6, 1.6, 5.0)
    nib.save(image, tmp_path / NAME)
    assert any("neither sform nor qform" in w for w in open_scan(tmp_path / NAME)[1])


def test_oblique(tmp_path, data, rng):
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]]
    assert any("oblique, tilted by 23°" in w for w in open_scan(write(tmp_path, data, turn @ AFFINE))[1])
    assert open_scan(write(tmp_path, data, ts.rigid(rng, 5.0, 0.0, np.zeros(3)) @ AFFINE))[1] == ()


def test_shear(tmp_path, data):
    sheared = AFFINE.copy()
    sheared[0, 1] = 0.4
    image = nib.Nifti1Image(data, None)
    image.set_sform(sheared, 1)
    nib.save(image, tmp_path / NAME)
    assert any("shear" in w for w in open_scan(tmp_path / NAME)[1])


def test_scaled_integers_are_scaled_and_said(tmp_path, data):
    image = nib.Nifti1Image(data, AFFINE)
    image.set_data_dtype(np.uint8)
    nib.save(image, tmp_path / NAME)
    opened, warnings = open_scan(tmp_path / NAME)
    assert any("scaled integers" in w for w in warnings)
    np.testing.assert_allclose(opened.get_fdata(), data, atol=1000 / 255)


def test_unit_other_than_mm(tmp_path, data):
    image = nib.Nifti1Image(data, AFFINE)
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / NAME)
    assert any("meter" in w for w in open_scan(tmp_path / NAME)[1])


def test_mostly_negative(tmp_path, data):
    assert any("negative" in w for w in open_scan(write(tmp_path, data - 500))[1])


def test_the_same_voxels_under_two_names_are_told(tmp_path, data):
    first, _ = open_scan(write(tmp_path, data))
    again, _ = open_scan(write(tmp_path, data))
    other, _ = open_scan(write(tmp_path, data + 1))
    (told,) = copies({"run-1": first, "run-2": other, "run-3": again})
    assert told.startswith("run-3 holds the same voxels as run-1")


@pytest.mark.parametrize("name", ["a_T1w.nii.gz", "a_T1w.nii"])
def test_a_loaded_image_is_as_good_as_its_path(tmp_path, name):
    """Zeros compress well: the file is much smaller than what it holds."""
    nib.save(nib.Nifti1Image(np.pad(np.full((8, 8, 8), 100, np.int16), 20), AFFINE), tmp_path / name)
    image = nib.load(tmp_path / name)
    (from_image,), _ = read_scans(find_scans([image]), lambda _: None)
    (from_path,), _ = read_scans(find_scans([tmp_path / name]), lambda _: None)
    np.testing.assert_array_equal(from_image[1].get_fdata(), from_path[1].get_fdata())
    image.get_fdata()
    read_scans(find_scans([image]), lambda _: None)


def test_half_of_a_pair_is_told_to_be_saved_as_one_file(tmp_path, data):
    path = tmp_path / NAME.replace(".nii.gz", ".hdr")
    nib.Nifti1Pair(data, AFFINE).to_filename(path)
    refused(path, "half of a NIfTI pair")


def test_a_name_in_capitals_is_no_contradiction(tmp_path, data):
    path = write(tmp_path, data)
    capitals = path.rename(path.with_name(path.name.replace(".nii.gz", ".NII.GZ")))
    assert not [text for text in open_scan(capitals)[1] if "against its name" in text]
