"""Files that users of other programs reported in public, written at their smallest."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bids_lfenhance.errors import InputError
from bids_lfenhance.imaging.bias import correct_bias, head_mask
from bids_lfenhance.imaging.headers import open_scan

from ..refusals import refused as refused_with
from .test_headers import AFFINE, NAME, SHAPE, refused, write


@pytest.fixture
def data(rng):
    """A bright block in the dark."""
    data = rng.uniform(0, 20, SHAPE).astype(np.float32)
    data[8:32, 8:36, 3:13] += 800
    return data


def rewritten(path, change):
    """The file with its header's bytes changed."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    change(content)
    path.write_bytes(gzip.compress(bytes(content)))
    return path


def quaternion(length):
    def change(content):
        content[252:254] = (1).to_bytes(2, "little")  # qform_code
        content[256:268] = np.array([0, length, 0], "<f4").tobytes()
        content[76:80] = np.array([1.0], "<f4").tobytes()  # qfac

    return change


def test_a_quaternion_a_rounding_error_too_long(tmp_path, data):
    """A sound sform beside it, and the run stopped: https://github.com/nipreps/fmriprep/issues/845."""
    affine = np.diag([-1.6, 1.6, -5.0, 1.0])
    image, warnings = open_scan(rewritten(write(tmp_path, data, affine), quaternion(1.0000005)))
    np.testing.assert_allclose(image.affine, affine, atol=1e-6)
    assert [w for w in warnings if "quaternion" in w] == [f"{NAME}: {w.partition(': ')[2]}" for w in warnings][:1]
    assert "the sform is used" in warnings[0]


def test_the_same_quaternion_alone_is_made_of_length_one(tmp_path, data):
    """fMRIPrep's issue 845 with the qform only."""

    def only(content):
        quaternion(1.0000005)(content)
        content[254:256] = bytes(2)  # sform_code

    image, warnings = open_scan(rewritten(write(tmp_path, data), only))
    np.testing.assert_allclose(np.abs(np.diag(image.affine)), [1.6, 1.6, 5.0, 1.0], atol=1e-5)
    assert "made of length 1" in warnings[0]


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("degrees", [0.3, 1.0, 3.0])
def test_a_small_tilt_of_a_qform_stored_the_other_way_round_is_kept(tmp_path, data, kind, degrees):
    """w of the quaternion is near zero there, and is not a rounding error."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("zx", [degrees, -degrees], degrees=True).as_matrix()
    affine = turn @ np.diag([-1.6, -1.6, 5.0, 1.0])
    image = kind(data, affine)
    image.set_qform(affine, 1)
    image.set_sform(None, 0)
    nib.save(image, tmp_path / NAME)
    found, _ = open_scan(tmp_path / NAME)
    np.testing.assert_allclose(found.affine, affine, atol=2e-3 if degrees < 1 else 1e-5)


def test_sform_and_qform_of_opposite_handedness(tmp_path, data):
    """Left and right by the reader's taste (no single report)."""
    image = nib.Nifti1Image(data, AFFINE)
    image.set_qform(AFFINE @ np.diag([-1.0, 1, 1, 1]), 1)
    image.set_sform(AFFINE, 1)
    nib.save(image, tmp_path / NAME)
    assert any("left and right may be exchanged" in w for w in open_scan(tmp_path / NAME)[1])


@pytest.mark.parametrize("factor", [1e25, 1e-20])
def test_extreme_values_are_scaled_and_said(tmp_path, data, factor):
    """Squares overflowed without a word: https://github.com/layerfMRI/LAYNII/issues/88."""
    opened, warnings = open_scan(write(tmp_path, (data * np.float32(factor)).astype(np.float32)))
    values = opened.get_fdata()
    np.testing.assert_allclose(values / values.max(), data / data.max(), rtol=1e-5)
    assert 1e3 <= values.max() < 1e4
    assert any("multiplied by" in w for w in warnings)


def test_a_voxel_far_above_all_others_does_not_scale_them_away(tmp_path, data):
    """The kind of LAYNII's issue 88: one damaged voxel, and no head was found."""
    damaged = data.copy()
    damaged[20, 20, 8] = 1e30
    opened, warnings = open_scan(write(tmp_path, damaged))
    data[20, 20, 8] = 0
    np.testing.assert_array_equal(opened.get_fdata(), data)
    assert any("1 voxels up to 1e+30" in w for w in warnings)


def test_a_slope_of_minus_one_is_refused(tmp_path, data):
    """The kind of LAYNII's issue 88: all values negative."""
    refused(write(tmp_path, -data), "negative numbers only")


def test_raw_bytes_named_gz_and_the_reverse(tmp_path, data):
    """A name is no proof of compression: https://github.com/nipy/nibabel/issues/966."""
    path = write(tmp_path, data)
    content = gzip.decompress(path.read_bytes())
    packed = tmp_path / "sub-01_T1w.nii"
    packed.write_bytes(path.read_bytes())
    path.write_bytes(content)
    for file, words in ((path, "not compressed"), (packed, "is compressed")):
        opened, warnings = open_scan(file)
        np.testing.assert_array_equal(opened.get_fdata(), data)
        assert words in warnings[0]


def test_nan_around_the_head_is_nought_and_said(tmp_path, data):
    """A background of NaN; inside the head it is refused as before (no single report)."""
    background = data < 100
    image, warnings = open_scan(write(tmp_path, np.where(background, np.nan, data)))
    np.testing.assert_array_equal(image.get_fdata(), np.where(background, 0, data))
    assert "around the head" in warnings[0]
    data[:, :, ::2] = np.nan
    with pytest.raises(InputError, match="not finite"):
        open_scan(write(tmp_path, data))


def test_a_uniform_mp2rage_is_shifted_and_said(tmp_path, data):
    """Signed values: https://github.com/nipreps/smriprep/issues/18."""
    signed = (data / data.max() - 0.5).astype(np.float32)
    image, warnings = open_scan(write(tmp_path, signed))
    assert image.get_fdata().min() >= 0
    assert [w for w in warnings if "MP2RAGE" in w] == [w for w in warnings if ".5 was added" in w] != []


@pytest.mark.parametrize("offset", [150, 300, 1000])
def test_an_offset_is_subtracted_and_said(tmp_path, data, offset):
    """In a magnitude image air is near 0, or contrast, SNR and SD of the error would be wrong."""
    image, warnings = open_scan(write(tmp_path, data + np.float32(offset)))
    assert np.abs(image.get_fdata() - data).max() < 1
    assert sum("offset" in text for text in warnings) == 1
    assert not [text for text in open_scan(write(tmp_path, data))[1] if "offset" in text]


@pytest.mark.parametrize("snr", [3, 8])
def test_noise_in_the_air_is_no_offset(tmp_path, rng, snr):
    noise = rng.normal(0, 1 / snr, (2, *SHAPE))
    signal = np.zeros(SHAPE)
    signal[8:32, 8:36, 3:13] = 1
    magnitude = np.hypot(signal + noise[0], noise[1]).astype(np.float32)
    assert not [text for text in open_scan(write(tmp_path, magnitude))[1] if "offset" in text]


@pytest.mark.parametrize("kind", ["-.5 to .5", "0 to 4095"])
def test_a_background_of_noise_as_bright_as_the_head_is_taken_away(tmp_path, rng, kind):
    """The uniform image of an MP2RAGE: https://github.com/nipreps/smriprep/issues/18, bids-specification 1890."""
    x, y, z = np.indices((44, 48, 40))
    head = np.hypot(np.hypot((x - 22) / 15, (y - 24) / 18), (z - 20) / 14) < 1
    tissue = np.where((x // 4) % 2, 0.3, 0.05) + 0.02 * rng.standard_normal(head.shape)
    uniform = np.where(head, tissue, rng.uniform(-0.5, 0.5, head.shape)).astype(np.float32)
    if kind == "0 to 4095":
        uniform = np.round(4095 * (uniform + 0.5)).astype(np.int16)
    image, warnings = open_scan(write(tmp_path, uniform))
    values = image.get_fdata()
    assert (values[~head] == 0).mean() > 0.95
    assert (values[ndimage.binary_erosion(head, iterations=2)] > 0).mean() > 0.98, "but for its rim"
    assert any("background of noise" in w and "check the brain mask" in w for w in warnings)
    mask = head_mask(values, image.affine)
    assert 2 * (mask & head).sum() / (mask.sum() + head.sum()) > 0.93


@pytest.mark.parametrize("snr", [1.5, 3.0, 20.0])
def test_the_background_of_a_magnitude_stays(tmp_path, rng, snr):
    x, y, z = np.indices((44, 48, 40))
    head = np.hypot(np.hypot((x - 22) / 15, (y - 24) / 18), (z - 20) / 14) < 1
    data = np.hypot(snr * head + rng.standard_normal(head.shape), rng.standard_normal(head.shape)).astype(np.float32)
    np.testing.assert_array_equal(open_scan(write(tmp_path, data))[0].get_fdata(), data)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html><html><title>Sign in</title></html>", "download it again"),
        (b"PK\x03\x04" + bytes(400), "unpack it"),
        (bytes(128) + b"DICM" + bytes(400), "dcm2niix"),
    ],
)
def test_what_is_no_image_is_called_by_its_name(tmp_path, content, words):
    """Git LFS was not installed, "Cannot work out file type": https://github.com/neheller/kits19/issues/5."""
    path = tmp_path / NAME
    path.write_bytes(content)
    with refused_with("foreign-file", path=path) as caught:
        open_scan(path)
    assert words in str(caught.value)


def test_axes_that_are_not_at_right_angles_stop_nothing(tmp_path, data):
    """ITK only supports orthonormal direction cosines: https://github.com/MIC-DKFZ/nnUNet/issues/756, HD-BET 25."""
    for shear, said in ((0.002, False), (0.2, True)):
        affine = AFFINE.copy()
        affine[:3, :3] = affine[:3, :3] @ np.array([[1, shear, 0], [0, 1, shear], [0, 0, 1]])
        image, warnings = open_scan(write(tmp_path, data, affine))
        assert any("shear" in w for w in warnings) == said
        mask = np.zeros(SHAPE, bool)
        mask[8:32, 8:36, 3:13] = True
        corrected, field = correct_bias(image.get_fdata(dtype=np.float32), image.affine, mask, sloppy=True)
        assert np.isfinite(corrected).all()
        assert field[mask].std() < 0.05


def test_unsigned_numbers_stored_as_signed_are_told(tmp_path, data):
    """The brightest voxels wrap around and become the darkest."""
    bright = data.copy()
    bright[10:14, 10:14, 4:8] = 40000
    wrapped = bright.astype(np.uint16).view(np.int16)
    assert any("negative voxels" in text for text in open_scan(write(tmp_path, wrapped))[1])
    assert not any("negative voxels" in text for text in open_scan(write(tmp_path, data - 1))[1]), "ringing"


def test_a_mask_is_no_scan(tmp_path, data):
    refused(write(tmp_path, (data > 400).astype(np.uint8)), "a mask is no scan")


def test_voxel_sizes_that_contradict_the_sform_are_told(tmp_path, data):
    image = nib.Nifti1Image(data, np.diag([4.0, 4.0, 4.0, 1.0]))
    image.header.set_qform(None, 0)
    for sizes, count in (((4.0, 4.0, 4.0), 0), ((1.6, 1.6, 5.0), 1)):
        image.header.set_zooms(sizes)
        image.to_filename(tmp_path / NAME)
        assert sum("by its sform" in text for text in open_scan(tmp_path / NAME)[1]) == count
