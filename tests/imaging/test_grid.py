"""Grids against closed forms: a linear ramp survives resampling, a motion in the affine moves the image."""

import numpy as np
import pytest

from bids_lfenhance.imaging.grid import Grid, apply_affine, box_of, canonical_grid, coverage, resample, zooms_of

from . import thick_stacks as ts

TILTED = ts.rigid(np.random.default_rng(4), 20.0, 5.0, np.zeros(3)) @ np.diag([1.6, -1.6, 5.0, 1.0])


def ramp(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """World position along an oblique direction, at every voxel."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    return (apply_affine(affine, index.astype(float)) @ np.array([0.3, -0.5, 0.8])).reshape(shape)


def test_zooms_volume_and_corners_of_a_tilted_grid():
    grid = Grid(TILTED, (4, 5, 6))
    assert grid.zooms == pytest.approx((1.6, 1.6, 5.0))
    assert grid.voxel_volume == pytest.approx(1.6 * 1.6 * 5.0)
    corners = grid.corners()
    assert np.linalg.norm(corners[0] - corners[-1]) == pytest.approx(
        np.linalg.norm(np.array([4, 5, 6]) * [1.6, 1.6, 5])
    )


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.eye(3), np.diag([1.0, 1.0, 0.0, 1.0])])
def test_a_grid_without_volume_is_refused(affine):
    with pytest.raises(ValueError, match="invertible"):
        Grid(affine, (2, 2, 2))


def test_grids_are_equal_by_tolerance_and_never_hashable():
    one = Grid(np.eye(4), (2, 2, 2))
    assert one == Grid(np.eye(4) + 1e-12, (2, 2, 2))
    assert one != Grid(np.eye(4), (2, 2, 3))
    assert one != "a grid"
    with pytest.raises(TypeError):
        hash(one)
    with pytest.raises(ValueError, match="read-only"):
        one.affine[0, 0] = 2


def test_zooms_of_a_rotation_are_those_before_it():
    assert zooms_of(TILTED) == pytest.approx((1.6, 1.6, 5.0))


def test_canonical_grid_holds_every_point_and_lies_on_whole_millimetres(rng):
    points = rng.uniform(-90, 90, (50, 3)) * [0.8, 1.0, 0.7] + [3.3, -11.1, 20.7]
    grid = canonical_grid(points)
    voxels = apply_affine(np.linalg.inv(grid.affine), points)
    assert np.all(voxels > -1)
    assert np.all(voxels < np.array(grid.shape))
    assert all(n % 16 == 0 for n in grid.shape)
    assert np.all(np.array(grid.shape) < np.ptp(points, axis=0) + 18)
    np.testing.assert_array_equal(grid.affine[:3, :3], np.eye(3))
    np.testing.assert_array_equal(grid.affine[:3, 3], np.round(grid.affine[:3, 3]))


@pytest.mark.parametrize("order", [1, 3])
def test_a_ramp_is_resampled_without_error_inside(order):
    source = Grid(TILTED, (40, 44, 20))
    target = Grid(
        np.diag([2.0, 2.0, 2.0, 1.0]) + np.array([[0, 0, 0, 30], [0, 0, 0, -50], [0, 0, 0, 30], [0] * 4]), (12, 14, 15)
    )
    # Away from the field's edge, where a spline has no neighbours to lean on.
    voxels = apply_affine(np.linalg.inv(TILTED) @ target.affine, np.argwhere(np.ones(target.shape)).astype(float))
    deep = np.all((voxels > 6) & (voxels < np.array(source.shape) - 7), axis=1).reshape(target.shape)
    assert deep.sum() > 200
    out = resample(ramp(TILTED, source.shape), TILTED, target, order=order)
    np.testing.assert_allclose(out[deep], ramp(target.affine, target.shape)[deep], atol=2e-3)


def test_resampling_on_the_same_grid_changes_nothing(rng):
    data = rng.normal(size=(7, 8, 9)).astype(np.float32)
    for order in (0, 1):
        np.testing.assert_array_equal(resample(data, TILTED, Grid(TILTED, data.shape), order=order), data)


def test_a_motion_in_the_affine_moves_the_image():
    data = np.zeros((9, 9, 9), np.float32)
    data[4, 4, 4] = 1
    shift = np.eye(4)
    shift[:3, 3] = [2, -1, 0]
    out = resample(data, shift, Grid(np.eye(4), (9, 9, 9)), order=0)
    assert np.argwhere(out == 1).tolist() == [[6, 3, 4]]


def test_labels_stay_labels(rng):
    labels = rng.integers(0, 5, (10, 10, 10))
    out = resample(labels, np.eye(4), Grid(TILTED, (5, 5, 5)), order=0)
    assert set(np.unique(out)) <= set(range(5))


def test_coverage_ends_half_a_voxel_beyond_the_last_centre():
    fine = Grid(np.diag([0.25, 0.25, 0.25, 1.0]), (20, 4, 4))
    inside = coverage((3, 3, 3), np.eye(4), fine)
    centres = 0.25 * np.arange(20)
    np.testing.assert_array_equal(inside[:, 0, 0], (centres > -0.5) & (centres < 2.5))


def test_outside_the_field_of_view_is_cval():
    out = resample(np.ones((3, 3, 3)), np.eye(4), Grid(np.eye(4), (5, 3, 3)), order=3, cval=-7)
    assert np.all(out[3:] == -7)
    np.testing.assert_allclose(out[:3], 1, atol=1e-6)


def test_the_box_of_a_mask_stays_inside_the_image_and_its_grid_lies_where_it_lay():
    mask = np.zeros((20, 20, 20), bool)
    mask[0:3, 8:12, 17:20] = True
    box = box_of(mask, 5)
    assert box == (slice(0, 8), slice(3, 17), slice(12, 20))
    assert box_of(mask, (0, 1, 2)) == (slice(0, 3), slice(7, 13), slice(15, 20))
    assert box_of(~mask & mask, 5) == (slice(0, 20),) * 3
    whole = Grid(np.array([[0, 2.0, 0, 5], [-1, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]]), mask.shape)
    part = whole.cut(box)
    assert part.shape == (8, 14, 8)
    np.testing.assert_allclose(part.affine @ [1, 2, 3, 1], whole.affine @ [1, 2 + 3, 3 + 12, 1])
