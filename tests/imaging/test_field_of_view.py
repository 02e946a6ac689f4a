"""What scans show of a head, and what they cut: areas and shares counted by hand, and a head without its top."""

import nibabel as nib
import numpy as np
import pytest

from bids_lfenhance.imaging import anatomy
from bids_lfenhance.imaging.anatomy import UNSURE, Anatomy, find_anatomy
from bids_lfenhance.imaging.bias import head_mask
from bids_lfenhance.imaging.field_of_view import (
    BELOW,
    cut_labels,
    expected_brain,
    on_faces,
    seen_in,
    share_seen,
    without_cut,
)
from bids_lfenhance.imaging.grid import Grid, apply_affine
from bids_lfenhance.imaging.preprocess import prepare_reference, prepare_session
from bids_lfenhance.imaging.scan import prepare_scan, unpadded
from bids_lfenhance.imaging.template import ROUGH, HeadTemplate, load_head_template
from bids_lfenhance.imaging.volume import Stack, Volume, load_arrays, save_volume, volume_from_channels
from bids_lfenhance.interfaces.prepare import FindAnatomy

from .test_anatomy import small

__all__ = ["small"]

GRID = Grid(np.diag([2.0, 2.0, 2.0, 1.0]), (10, 10, 10))


def stack(slices: range) -> Stack:
    """A stack that shows some of the slices of the grid."""
    affine = GRID.affine.copy()
    affine[2, 3] = 2.0 * slices.start
    return Stack("s", "T1w", np.zeros((10, 10, len(slices)), np.float32), affine, affine, (2, 2, 2), 1.0)


def test_stacks_together_see_what_each_sees():
    seen = seen_in(volume_from_channels(GRID, {}, (stack(range(0, 4)), stack(range(3, 7)))), "T1w")
    assert seen.any(axis=(0, 1)).tolist() == [True] * 7 + [False] * 3
    points = np.array([[0.0, 0, z] for z in (0, 5, 11, 15, 40)])
    assert share_seen(points, [stack(range(0, 4))]) == pytest.approx(2 / 5)
    assert share_seen(points, [stack(range(0, 4)), stack(range(3, 7))]) == pytest.approx(3 / 5)


def test_the_area_on_a_face_is_that_of_its_voxels():
    mask = np.zeros(GRID.shape, bool)
    mask[2:5, 3:7, 4:] = True
    half = np.zeros(GRID.shape, bool)
    half[:, :, :6] = True
    for seen in (half, np.ones(GRID.shape, bool)):
        assert on_faces(mask, seen, GRID) == pytest.approx(3 * 4 * 0.04)
    assert on_faces(mask[:, :, ::-1], half[:, :, ::-1], GRID, but=(BELOW,)) == 0
    assert on_faces(mask, half, GRID, but=(BELOW,)) > 0


def test_what_ends_on_a_face_has_no_volume():
    labels = np.zeros(GRID.shape, np.uint8)
    labels[2:8, 2:8, 2:8] = 1
    labels[3:5, 3:5, 3:5] = 2
    seen = seen_in(volume_from_channels(GRID, {}, (stack(range(0, 7)),)), "T1w")
    assert cut_labels(labels, seen) == {1}
    rows = [
        {"index": index, "name": str(index), "volume_mm3": volume, "volume_soft_mm3": volume}
        for index, volume in ((1, 100.0), (2, 64.0), (3, 0.0), (None, 164.0))
    ]
    kept = {row["name"]: row["volume_mm3"] for row in without_cut(rows, labels, seen)}
    assert kept == {"1": None, "2": 64.0, "3": None, "None": None}
    assert without_cut(rows, labels, np.ones(GRID.shape, bool)) == rows
    assert rows[0]["volume_mm3"] == 100.0, "the table that was given is as it was"


@pytest.fixture(scope="module")
def cut(small) -> tuple[Anatomy, np.ndarray, np.ndarray]:
    """The anatomy of a head whose top third is beyond the field of view; the brain it had; what was seen of it."""
    scans, brain, grid = small
    slices = np.flatnonzero(brain.any(axis=(0, 1)))
    seen = np.zeros(grid.shape, bool)
    seen[:, :, : round(slices[0] + 2 * (slices[-1] - slices[0]) / 3)] = True
    kept = slice(0, int(np.flatnonzero(seen.any(axis=(0, 1)))[-1]) + 4)  # the canonical grid ends soon after the head
    smaller = Grid(grid.affine, (*grid.shape[:2], kept.stop))
    image = np.where(seen, scans["T1w"], 0)[:, :, kept]
    return find_anatomy(image, smaller, "T1w", seen=seen[:, :, kept], effort=ROUGH), brain, seen


def test_a_head_without_its_top_is_known_to_lack_it(small, cut):
    """The top outside the field of view: https://github.com/nipreps/fmriprep/issues/2280."""
    (_, brain, grid), (found, _, seen) = small, cut
    share = (brain & seen).sum() / brain.sum()
    shape = seen.any(axis=(0, 1)).sum()
    scan = Stack("s", "T1w", np.zeros((*grid.shape[:2], shape), np.float32), grid.affine, grid.affine, (3, 3, 3), 1.0)
    assert share == pytest.approx(0.7, abs=0.05)
    assert share_seen(found.expected, [scan]) == pytest.approx(share, abs=0.03)


def test_the_brain_of_a_cut_head_ends_where_it_is_cut(small, cut):
    (_, brain, grid), (found, _, seen) = small, cut
    depth = found.mask.shape[2]
    truth, seen = (brain & seen)[:, :, :depth], seen[:, :, :depth]
    assert 2 * (found.mask & truth).sum() / (found.mask.sum() + truth.sum()) > 0.93
    assert not (found.mask & ~seen).any()
    assert on_faces(found.mask, seen, Grid(grid.affine, found.mask.shape)) > 50
    assert found.quality["TemplateCorrelation"] > UNSURE, "as of a whole head"


def test_high_field_that_does_not_show_all_of_the_brain_says_so(small, tmp_path):
    """As the steps do it: the scan on its own voxels becomes the reference, and the reference its anatomy."""
    scans, brain, grid = small
    slices = np.flatnonzero(brain.any(axis=(0, 1)))
    top = round(slices[0] + 0.6 * (slices[-1] - slices[0]))
    image = nib.Nifti1Image(scans["T1w"][:, :, :top], grid.affine)
    volume, _, qc = prepare_reference([("hf_T1w", "T1w", image)], sloppy=True)
    given = {"volume": str(save_volume(volume, tmp_path / "reference.npz")), "qc": qc, "sloppy": True}
    found = FindAnatomy(**given).run(cwd=tmp_path).outputs
    arrays = load_arrays(found.anatomy)[1]
    assert found.quality["BrainShown"] == pytest.approx(brain[:, :, :top].sum() / brain.sum(), abs=0.04)
    assert not (arrays["mask"] & ~arrays["seen"]).any()


def test_high_field_that_shows_all_of_the_brain_is_whole(small, monkeypatch):
    """The anatomy is given here: its expected brain lies in the field of view, and nothing counts as cut."""
    scans, brain, grid = small
    inside = apply_affine(grid.affine, np.argwhere(brain).astype(float)).astype(np.float32)
    given = Anatomy(brain, np.zeros((3, *grid.shape), np.float32), {"Warnings": []}, None, inside)
    monkeypatch.setattr(anatomy, "find_anatomy", lambda *_, **__: given)
    field = {"Shape": list(grid.shape), "Affine": grid.affine.tolist()}
    volume = volume_from_channels(grid, {"T1w": scans["T1w"]})
    found, arrays = anatomy.anatomy_of(volume, {"Scans": [{"Contrast": "T1w", "FieldOfView": field}]}, sloppy=True)
    assert found.quality["BrainShown"] == 1
    assert arrays == {}


def test_a_whole_head_is_fitted_as_if_all_of_the_grid_were_seen(small, monkeypatch):
    """A field of view that leaves out air, or ends in the neck, changes nothing."""
    scans, _, grid = small
    seen = np.zeros(grid.shape, bool)
    seen[2:-2, 2:-2, 1:-1] = True

    class Fitted(Exception):
        """Carries what the fit of the template was given."""

    def fit(image: np.ndarray, grid: Grid, template: HeadTemplate, seen: np.ndarray | None, **about: bool) -> None:
        raise Fitted(seen)

    monkeypatch.setattr(anatomy, "fit_affine", fit)
    with pytest.raises(Fitted) as given:
        find_anatomy(np.where(seen, scans["T1w"], 0), grid, "T1w", seen=seen, effort=ROUGH)
    assert given.value.args == (None,)


def test_the_expected_brain_is_that_of_the_template_in_its_place():
    template = load_head_template()
    points = expected_brain(template, np.diag([2.0, 2, 2, 1]))
    ml = len(points) * 8**3 / 1000 / 8
    assert 1200 < ml < 1900
    assert np.abs(points[:, 0].mean()) < 3


@pytest.mark.parametrize("background", ["noise", "none"])
def test_zeros_that_a_scan_was_padded_with_were_not_acquired(small, rng, background):
    """A head cut at its middle: what is prepared is the same with and without planes of zeros beyond the cut."""
    scans, _, grid = small
    half = scans["T1w"][:, :, : grid.shape[2] // 2] + rng.uniform(1, 20, (*grid.shape[:2], grid.shape[2] // 2))
    if background == "none":
        half *= head_mask(half, grid.affine)
        half = half[:, :, : np.flatnonzero(half.any(axis=(0, 1)))[-1] + 1]
    room = ((0, 0), (0, 0), (0, 12))
    cut, padded = (
        prepare_scan("a_T1w", "T1w", None, nib.Nifti1Image(data.astype(np.float32), grid.affine), sloppy=True)
        for data in (half, np.pad(half, room))
    )
    np.testing.assert_array_equal(padded.data, cut.data)
    np.testing.assert_array_equal(padded.affine, cut.affine)
    assert padded.sigma == cut.sigma


def test_air_that_was_removed_around_a_head_was_acquired():
    ball = np.linalg.norm(np.indices((30, 30, 30)) - 15, axis=0) < 10
    assert unpadded(ball.astype(np.float32)) == (slice(0, 30),) * 3
    shifted = np.pad(np.ones((6, 7, 8), np.float32), ((2, 0), (0, 3), (0, 0)))
    assert unpadded(shifted) == (slice(2, 8), slice(0, 7), slice(0, 8))


def two_contrasts(small, t1w: int, t2w: int) -> tuple[Volume, dict]:
    """The session of a head of which each contrast shows so many slices; one that shows none was not scanned."""
    scans, _, grid = small
    images = [(f"a_{name}", name, None, scans[name][:, :, :top]) for name, top in (("T1w", t1w), ("T2w", t2w)) if top]
    given = [(*about, nib.Nifti1Image(data, grid.affine)) for *about, data in images]
    return prepare_session(given, sloppy=True)


def test_the_grid_holds_what_any_contrast_shows_and_the_brain_is_sought_where_most_is_seen(small, monkeypatch):
    depth, sought = small[2].shape[2], []

    def found(image, grid, contrast, **_):
        sought.append(contrast)
        return Anatomy(image > 0, np.zeros((3, *grid.shape)), {"Warnings": []}, None, None)

    monkeypatch.setattr(anatomy, "find_anatomy", found)
    monkeypatch.setattr(anatomy, "further_warnings", lambda *_: [])
    whole, _ = two_contrasts(small, depth, 0)
    for t1w, t2w in ((depth, depth // 2), (depth // 2, depth)):
        volume, quality = two_contrasts(small, t1w, t2w)
        assert volume.grid.shape == whole.grid.shape
        np.testing.assert_allclose(volume.grid.affine, whole.grid.affine, atol=4)
        shares = {scan["Contrast"]: scan["Coverage"] for scan in quality["Scans"]}
        assert (shares["T1w"] > 0.95, shares["T2w"] > 0.95) == (t1w == depth, t2w == depth)
        made, _ = anatomy.anatomy_of(volume, {}, sloppy=True)
        assert made.quality["Contrast"] == sought[-1] == ("T1w" if t1w == depth else "T2w")
