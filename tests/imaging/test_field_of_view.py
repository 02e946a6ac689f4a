"""What scans show of a head, and what they cut: areas and shares counted by hand, and a head without its top."""

import nibabel as nib
import numpy as np
import pytest

from bids_lfenhance.imaging import anatomy
from bids_lfenhance.imaging.anatomy import UNSURE, Anatomy, find_anatomy
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
from bids_lfenhance.imaging.preprocess import prepare_reference
from bids_lfenhance.imaging.template import ROUGH, HeadTemplate, load_head_template
from bids_lfenhance.imaging.volume import Stack, load_arrays, save_volume, volume_from_channels
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
