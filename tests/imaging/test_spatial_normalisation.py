"""To a template and back, with ITK as the independent reader of what is written."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_lfenhance.imaging import spatial_normalisation
from bids_lfenhance.imaging.grid import Grid, apply_affine, resample
from bids_lfenhance.imaging.spatial_normalisation import (
    LPS,
    Displacement,
    carry_image,
    check_space,
    invert,
    read_displacement,
    register_to_template,
    template_files,
    to_template_space,
    write_displacement,
)
from bids_lfenhance.imaging.template import affine_of, load_head_template
from bids_lfenhance.imaging.volume import volume_from_channels

from ..refusals import refused

NAME = "Small"


def _smooth(grid: Grid, rng: np.random.Generator, size: float = 3.0) -> Displacement:
    field = np.stack([ndimage.gaussian_filter(rng.standard_normal(grid.shape), 4) for _ in range(3)])
    return Displacement((size * field / np.abs(field).max()).astype(np.float32), grid)


def _oblique() -> Grid:
    affine = affine_of(np.array([0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0.0]), np.zeros(3)) @ np.diag([2, 2, 2.5, 1])
    return Grid(affine, (20, 24, 18))


def test_itk_reads_the_field_that_is_written(tmp_path, rng):
    import SimpleITK

    transform = _smooth(_oblique(), rng)
    write_displacement(transform, tmp_path / "field.h5")
    theirs = SimpleITK.ReadTransform(str(tmp_path / "field.h5"))
    for voxel in ((5, 6, 7), (10, 12, 9)):
        point = apply_affine(transform.grid.affine, np.array([voxel], float))[0]
        ours = point + transform.field[:, *voxel]
        assert np.allclose(LPS @ np.array(theirs.TransformPoint((LPS @ point).tolist())), ours, atol=1e-3)


def test_nitransforms_reads_the_field_that_is_written(tmp_path, rng):
    from nitransforms.manip import load

    transform = _smooth(_oblique(), rng)
    write_displacement(transform, tmp_path / "field.h5")
    theirs = load(tmp_path / "field.h5", fmt="itk")
    points = apply_affine(transform.grid.affine, np.array([[5, 6, 7], [10, 12, 9]], float))
    ours = points + transform.field[:, [5, 10], [6, 12], [7, 9]].T
    np.testing.assert_allclose(theirs.map(points), ours, atol=1e-2)


def test_no_intensity_below_zero_comes_of_a_cubic(rng):
    image = np.zeros((20, 20, 20), np.float32)
    image[8:12, 8:12, 8:12] = 100.0
    grid = Grid(np.eye(4), image.shape)
    shift = np.full((3, *image.shape), 0.4, np.float32)
    moved = carry_image(image, grid.affine, Displacement(shift, grid), grid)
    assert moved.min() == 0
    assert moved.max() > 90


def test_what_is_written_is_read_back_the_same(tmp_path, rng):
    transform = _smooth(_oblique(), rng)
    write_displacement(transform, tmp_path / "field.h5")
    again = read_displacement(tmp_path / "field.h5")
    assert again.grid == transform.grid
    assert np.array_equal(again.field, transform.field)


def test_there_and_back_is_where_one_began(rng):
    there = _smooth(Grid(np.diag([2.0, 2, 2, 1]), (24, 24, 24)), rng)
    inner = Grid(np.array([[2.0, 0, 0, 10], [0, 2, 0, 10], [0, 0, 2, 10], [0, 0, 0, 1]]), (14, 14, 14))
    back = invert(there, np.eye(4), inner)
    points = back.points(inner)
    index = points / 2
    again = points + np.stack([ndimage.map_coordinates(one, index, order=1) for one in there.field])
    home = Displacement(np.zeros((3, *inner.shape), np.float32), inner).points(inner)
    assert np.abs(home - points).max() > 0.5
    assert np.abs(again - home).max() < 0.2


def test_labels_stay_labels_and_the_outside_is_zero(rng):
    grid = Grid(np.eye(4), (12, 12, 12))
    labels = rng.integers(0, 4, grid.shape)
    shift = Displacement(np.full((3, 12, 12, 12), 3.0, np.float32), grid)
    moved = carry_image(labels, grid.affine, shift, grid, order=0)
    assert np.array_equal(moved[:9, :9, :9], labels[3:, 3:, 3:])
    assert not moved[9:].any()


@pytest.fixture
def template_home(tmp_path, monkeypatch) -> Path:
    """A TemplateFlow home with one small template in it: the bundled head, 4 mm, and its mask."""
    home = tmp_path / "templateflow"
    folder = home / f"tpl-{NAME}"
    folder.mkdir(parents=True)
    head = load_head_template()
    every = (slice(None, None, 2),) * 3
    affine = head.grid.affine @ np.diag([2, 2, 2, 1.0])
    image = np.tensordot((40, 90, 130, 25, 110, 0, 80), head.maps, 1)[every].astype(np.float32)
    nib.save(nib.Nifti1Image(image, affine), folder / f"tpl-{NAME}_res-01_T1w.nii.gz")
    mask = (head.brain[every] > 0.5).astype(np.uint8)
    nib.save(nib.Nifti1Image(mask, affine), folder / f"tpl-{NAME}_res-01_desc-brain_mask.nii.gz")
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(home))
    monkeypatch.setenv("TEMPLATEFLOW_AUTOUPDATE", "off")
    return home


def test_a_template_of_the_users_own_is_taken_as_it_lies(template_home):
    files = template_files(f"{NAME}:res-1")
    assert files.image.name == f"tpl-{NAME}_res-01_T1w.nii.gz"
    assert files.mask is not None
    assert files.mask.parent == template_home / f"tpl-{NAME}"


def test_a_template_that_was_cut_short_is_named_before_anything_is_computed(template_home):
    image = template_files(f"{NAME}:res-1").image
    image.write_bytes(image.read_bytes()[:-200])
    with refused("no-template", space=f"{NAME}:res-1"):
        template_files(f"{NAME}:res-1")


@pytest.mark.parametrize("space", [f"{NAME}:res-2", "Nowhere:res-1"])
def test_a_template_that_is_nowhere_is_named(template_home, space):
    with refused("no-template", space=space):
        template_files(space)


@pytest.mark.parametrize("space", ["a/b:res-1", "MNI:1", "MNI:res-x", ""])
def test_a_space_that_is_not_one_says_how_to_write_it(space):
    with refused("bad-space", space=space):
        template_files(space)


@pytest.mark.parametrize(("space", "advice"), [("Smal", NAME), (f"{NAME}:res-7", "res-1")])
def test_a_space_that_templateflow_does_not_know_is_refused_without_fetching(template_home, monkeypatch, space, advice):
    monkeypatch.setattr("bids_lfenhance.imaging.spatial_normalisation._fetch", None)
    check_space(f"{NAME}:res-1")
    with refused("bad-space", space=space) as caught:
        check_space(space)
    assert advice in str(caught.value).partition("found")[2]


def test_a_subject_goes_to_the_template_and_its_transforms_come_back(template_home, tmp_path, rng):
    head = load_head_template()
    motion = affine_of(np.array([1, -0.5, 0.5, 0.8, 0, 0.5, -1, -1, -1, 0, 0, 0.0]), np.zeros(3))
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = (-100, -130, -90)
    grid = Grid(affine, (50, 60, 50))
    look = np.tensordot((210, 120, 90, 20, 90, 0, 60), head.maps, 1)
    image = resample(look, motion @ head.grid.affine, grid) + 3 * rng.standard_normal(grid.shape).astype(np.float32)
    brain = resample(head.brain, motion @ head.grid.affine, grid) > 0.5
    volume = volume_from_channels(grid, {"T2w": image}).with_anatomy(brain, np.zeros((3, *grid.shape), np.float32))
    (paths,) = register_to_template(volume, [f"{NAME}:res-1"], tmp_path, sloppy=True)
    assert all(Path(paths[key]).stat().st_size for key in ("to", "from"))
    moved, target = to_template_space(brain.astype(np.float32), grid, paths, order=0)
    truth = nib.load(template_home / f"tpl-{NAME}" / f"tpl-{NAME}_res-01_desc-brain_mask.nii.gz").get_fdata() > 0
    assert target.shape == truth.shape
    assert 2 * (truth & (moved > 0)).sum() / (truth.sum() + (moved > 0).sum()) > 0.95
    points = np.argwhere(brain)[::200]
    there = read_displacement(paths["from"])
    found = there.points(grid)[:, *points.T].T
    expected = apply_affine(np.linalg.inv(motion), apply_affine(grid.affine, points.astype(float)))
    assert np.median(np.linalg.norm(found - expected, axis=1)) < 3


def test_resolutions_of_one_template_share_the_transforms_of_the_finest(template_home, tmp_path, monkeypatch):
    folder = template_home / f"tpl-{NAME}"
    for fine in sorted(folder.glob("*_res-01_*.nii.gz")):
        image = nib.load(fine)
        thin = nib.Nifti1Image(np.asarray(image.dataobj)[::2, ::2, ::2], image.affine @ np.diag([2, 2, 2, 1.0]))
        nib.save(thin, folder / fine.name.replace("res-01", "res-02"))
    registered = []

    def stay(volume, files, sloppy):
        registered.append(files.image.name)
        still = Displacement(np.zeros((3, 2, 2, 2), np.float32), volume.grid)
        return still, still

    monkeypatch.setattr(spatial_normalisation, "match_template", stay)
    volume = volume_from_channels(Grid(np.eye(4), (2, 2, 2)), {"T2w": np.ones((2, 2, 2), np.float32)})
    spaces = [f"{NAME}:res-2", f"{NAME}:res-1"]
    coarse, fine = register_to_template(volume, spaces, tmp_path, sloppy=True)
    assert registered == [f"tpl-{NAME}_res-01_T1w.nii.gz"]
    assert [coarse["space"], fine["space"]] == spaces
    assert (coarse["to"], coarse["from"]) == (fine["to"], fine["from"])
    assert ["res-02" in coarse["template"], "res-01" in fine["template"]] == [True, True]


def test_a_home_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path / "file" / "home"))
    with refused("no-template"):
        check_space("MNI152NLin2009cAsym:res-1")
