"""A session from end to end, on a drawn head: stacks in place, intensities alike, one grid, numbers that are true."""

import json

import nibabel as nib
import numpy as np
import pytest

from bids_lfenhance.imaging.grid import apply_affine
from bids_lfenhance.imaging.preprocess import ContrastStacks, prepare_reference, prepare_session
from bids_lfenhance.imaging.registration import IN_PLACE, Alignment, make_registration_image
from bids_lfenhance.imaging.scan import PreparedScan, slice_profile
from bids_lfenhance.imaging.scan_notes import doubts, motion_doubts
from bids_lfenhance.imaging.slots import SLOTS, resolution_of, slot_of

from ..refusals import refused
from . import thick_stacks as ts
from .test_registration import phantom

__all__ = ["phantom"]


def listed(stacks):
    return [(s.name, s.contrast, s.plane, s.image) for s in stacks]


@pytest.fixture(scope="module")
def paired(phantom):
    """A high-field session, and a low-field one that lies 15° and 25 mm away, prepared."""
    heads, affine = phantom
    rng = np.random.default_rng(21)
    high = [
        (f"hf_{c}", c, nib.Nifti1Image(ts.full(h, affine, rng, still=True).image.get_fdata(), affine))
        for c, h in heads.items()
    ]
    reference, xfms, hf_quality = prepare_reference(high, sloppy=True)
    stacks = ts.session(heads, affine, rng, ("axi", "cor"), degrees=6, mm=6, step=1.6)
    points = ts.head_points(heads["T1w"], affine, rng)
    away = ts.rigid(rng, 15, 25, points.mean(axis=0))
    scans = [(s.name, s.contrast, s.plane, nib.Nifti1Image(s.image.get_fdata(), away @ s.image.affine)) for s in stacks]
    session, quality = prepare_session(scans, reference, sloppy=True)
    return heads, affine, stacks, points, (reference, xfms, hf_quality), (session, quality), away


def test_the_reference_grid_is_canonical_and_holds_the_head(paired):
    heads, affine, _, _, (reference, xfms, _), _, _ = paired
    grid = reference.grid
    # A sloppy run takes 2 mm.
    np.testing.assert_array_equal(grid.affine[:3, :3], 2 * np.eye(3))
    assert all(n % 16 == 0 for n in grid.shape)
    voxels = apply_affine(np.linalg.inv(grid.affine) @ affine, np.argwhere(heads["T1w"] > 20).astype(float))
    assert np.all(voxels > 0)
    assert np.all(voxels < np.array(grid.shape) - 1)
    assert reference.contrasts == ("T1w", "T2w")
    assert reference.stacks == ()
    np.testing.assert_array_equal(xfms["T2w"], np.eye(4))
    assert reference.image.min() >= 0


def test_high_field_contrasts_lie_on_one_another(paired):
    _, _, _, points, (_, xfms, _), _, _ = paired
    assert np.median(ts.errors([xfms["T1w"]], [np.eye(4)], points, None)) < 0.5


def test_every_stack_lies_where_it_was_acquired(paired):
    _, _, stacks, points, (reference, _, _), (session, _), _ = paired
    assert session.grid == reference.grid
    assert len(session.stacks) == 4
    for contrast in ("T1w", "T2w"):
        found = {s.name: s for s in session.stacks_of(contrast)}
        mine = [s for s in stacks if s.contrast == contrast]
        errors = ts.errors([found[s.name].affine for s in mine], [s.truth for s in mine], points, None)
        assert np.median(errors) < 0.5
        assert errors.max() < 1.0


def test_native_affines_are_the_scanner_s(paired):
    _, _, stacks, _, _, (session, _), away = paired
    found = {s.name: s for s in session.stacks}
    for s in stacks:
        np.testing.assert_allclose(found[s.name].native_affine, away @ s.image.affine, atol=1e-4)
        assert found[s.name].fwhm == pytest.approx(ts.PLANES[s.plane])
        assert found[s.name].data.shape == s.image.shape
        assert found[s.name].data.dtype == np.float32


def test_low_field_looks_like_the_head_it_is_of(paired):
    _, _, _, _, (reference, _, _), (session, _), _ = paired
    for contrast in ("T1w", "T2w"):
        low, high = session.channel(contrast), reference.channel(contrast)
        inside = high > 0.3 * np.percentile(high, 99)
        assert np.corrcoef(low[inside], high[inside])[0, 1] > 0.6


def test_quality_numbers_are_true_and_can_be_written(paired):
    _, _, stacks, _, _, (session, quality), _ = paired
    json.dumps(quality, allow_nan=False)
    records = {r["Name"]: r for r in quality["Scans"]}
    truth = {s.name: s.truth @ np.linalg.inv(s.image.affine) for s in stacks}
    first = quality["ReferenceScan"]
    assert first == "acq-axi_T2w"
    assert records[first]["RotationDeg"] == 0
    for name, record in records.items():
        turn = (np.linalg.inv(truth[first]) @ truth[name])[:3, :3]
        degrees = np.rad2deg(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
        assert record["RotationDeg"] == pytest.approx(degrees, abs=0.6)
        assert 10 < record["SNR"] < 25
        assert 0.95 < record["Coverage"] <= 1
        assert record["Sigma"] == pytest.approx(next(s.sigma for s in session.stacks if s.name == name), rel=1e-4)
    assert quality["Warnings"] == []


def test_alone_the_frame_is_that_of_the_reference_stack(phantom):
    heads, affine = phantom
    rng = np.random.default_rng(22)
    stacks = ts.session({"T1w": heads["T1w"]}, affine, rng, ("sag", "axi", "iso"), step=1.6)
    points = ts.head_points(heads["T1w"], affine, rng)
    # Gains of two and a half between stacks must not survive.
    louder = [
        (s.name, s.contrast, s.plane, nib.Nifti1Image(s.image.get_fdata() * f, s.image.affine))
        for s, f in zip(stacks, (1, 2.5, 0.4), strict=True)
    ]
    session, quality = prepare_session(louder, sloppy=True)
    assert quality["ReferenceScan"] == "acq-iso_T1w"
    found = {s.name: s for s in session.stacks}
    np.testing.assert_allclose(found["acq-iso_T1w"].affine, stacks[2].image.affine, atol=1e-4)
    errors = ts.errors([found[s.name].affine for s in stacks], [s.truth for s in stacks], points, 2)
    assert np.median(errors[:2]) < 0.2
    medians = [np.median(s.data[s.data > 0.5 * np.percentile(s.data, 95)]) for s in session.stacks]
    assert max(medians) < 1.1 * min(medians)
    assert session.contrasts == ("T1w",)


def test_a_gap_between_slices_is_not_part_of_them(phantom):
    """SliceThickness 2.5 every 5 mm: the thickness is the profile, the spacing is not (no single report)."""
    heads, affine = phantom
    scans = listed(ts.session({"T1w": heads["T1w"]}, affine, np.random.default_rng(24), ("axi",), step=1.6))
    session, quality = prepare_session(scans, thickness={"acq-axi_T1w": 2.5}, sloppy=True)
    (stack,) = session.stacks
    assert stack.fwhm == pytest.approx((1.6, 1.6, 2.5))
    assert slot_of(stack) == SLOTS.index("axial")
    assert resolution_of(stack) == pytest.approx((1.6, 1.6, 5.0)), "what is interpolated over gaps resolves no more"
    assert any("2.5 mm thick every 5 mm" in warning for warning in quality["Warnings"])


@pytest.mark.parametrize("thickness", [None, 0.005, 4.8, 5.0, 10.0])
def test_a_thickness_that_leaves_no_gap_changes_nothing(thickness):
    assert slice_profile(np.diag([1.6, 5.0, 1.6, 1.0]), thickness) == pytest.approx((1.6, 5.0, 1.6))


def test_stacks_without_overlap_are_refused_by_name(phantom):
    heads, affine = phantom
    stacks = ts.session({"T1w": heads["T1w"]}, affine, np.random.default_rng(23), ("axi", "cor"), step=1.6)
    away = np.eye(4)
    away[2, 3] = 400
    scans = listed(stacks)
    scans[1] = (*scans[1][:3], nib.Nifti1Image(stacks[1].image.get_fdata(), away @ stacks[1].image.affine))
    with refused("no-overlap", scans=("acq-cor_T1w", "acq-axi_T1w")):
        prepare_session(scans, sloppy=True)


@pytest.mark.parametrize("call", [prepare_session, prepare_reference])
def test_nothing_to_prepare(call):
    with refused("no-scans"):
        call([])


def test_noise_without_a_head_is_refused(rng):
    empty = nib.Nifti1Image(rng.rayleigh(1, (12, 12, 12)).astype(np.float32), np.diag([4.0, 4.0, 4.0, 1.0]))
    with refused("no-head", scan="acq-axi_T1w"):
        prepare_session([("acq-axi_T1w", "T1w", "axi", empty)])


def test_an_unknown_contrast_is_refused(phantom):
    image = nib.Nifti1Image(phantom[0]["T1w"], phantom[1])
    with refused("unknown-contrast"):
        prepare_session([("x_PDw", "PDw", None, image)])


def test_a_second_image_of_a_contrast_is_left_aside_and_said(phantom):
    heads, affine = phantom
    images = [(f"run-{n}_T1w", "T1w", nib.Nifti1Image(heads["T1w"] + 1, affine)) for n in (1, 2)]
    volume, xfms, quality = prepare_reference(images, sloppy=True)
    assert list(xfms) == ["T1w"]
    assert volume.contrasts == ("T1w",)
    assert quality["Warnings"] == ["run-2_T1w is a further T1w of the high-field session; run-1_T1w is used."]


def test_doubts_are_said():
    fine, apart, unlike = (Alignment(np.eye(4), *pair) for pair in ((1.0, 0.9), (0.3, 0.3), (0.9, 0.3)))
    assert doubts("a", "b", fine, cross_contrast=False) == []
    assert "only 30 %" in doubts("a", "b", apart, cross_contrast=False)[0]
    assert "may be misplaced" in doubts("a", "b", unlike, cross_contrast=False)[0]
    assert doubts("a", "b", unlike, cross_contrast=True) == []
    still = {"Name": "a", "RotationDeg": 3.0, "TranslationMm": 4.0}
    assert motion_doubts(still, "b") == []
    assert "20° and 4 mm" in motion_doubts(still | {"RotationDeg": 20.0}, "b")[0]


def test_the_noise_of_a_stack_goes_with_its_gain():
    rng, affine = np.random.default_rng(1), np.diag([4.0, 4.0, 4.0, 1.0])
    data = rng.uniform(50, 100, (20, 20, 20)).astype(np.float32)
    mask = np.ones(data.shape, bool)
    image = make_registration_image(data, affine, mask)
    scan = PreparedScan("a", "T1w", "axi", data, affine, mask, 2.0, (1, 1), image, (4.0, 4.0, 4.0), {})
    gains = np.zeros((1, 10))
    gains[0, 0] = np.log(3)
    (stack,) = ContrastStacks("T1w", (scan,), (IN_PLACE,), gains).stacks(np.eye(4))
    assert np.median(stack.data / data) == pytest.approx(3, rel=1e-3)
    assert stack.sigma == pytest.approx(3 * scan.sigma, rel=1e-3)
