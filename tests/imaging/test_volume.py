"""Volumes: what is written is what is read; names and channels agree."""

from dataclasses import replace

import numpy as np
import pytest

from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Stack, in_order, load_volume, save_volume, volume_from_channels

from . import thick_stacks as ts


@pytest.fixture
def stack(rng):
    native = np.diag([1.6, 1.6, 5.0, 1.0])
    moved = ts.rigid(rng, 7.0, 4.0, np.array([10.0, 0, 5])) @ native
    return Stack(
        "acq-axi_T2w", "T2w", rng.normal(size=(4, 5, 6)).astype(np.float32), moved, native, (1.6, 1.6, 5.0), 0.25
    )


@pytest.fixture
def volume(rng, stack):
    grid = Grid(np.diag([1.0, 1.0, 1.0, 1.0]), (6, 7, 8))
    return volume_from_channels(grid, {"T2w": rng.normal(size=grid.shape).astype(np.float32)}, (stack,))


def test_channels_follow_the_fixed_order_and_missing_ones_are_zero(volume):
    assert volume.contrasts == ("T2w",)
    np.testing.assert_array_equal(volume.present, [False, True, False])
    assert not volume.image[[0, 2]].any()
    assert volume.channel("T2w").any()
    assert volume.stacks_of("T2w") == volume.stacks
    assert volume.stacks_of("T1w") == ()


def test_an_unknown_contrast_is_refused():
    with pytest.raises(ValueError, match="not in tuple"):
        volume_from_channels(Grid(np.eye(4), (2, 2, 2)), {"PDw": np.zeros((2, 2, 2))})


def test_stacks_of_one_name_and_one_beginning_have_an_order_of_their_own(stack):
    """As two defaced scans, whose first voxels are zero."""
    blank = np.concatenate([np.zeros_like(stack.data), stack.data])
    both = [replace(stack, data=blank), replace(stack, data=2 * blank)]
    assert [one.data.max() for one in in_order(both)] == [one.data.max() for one in in_order(both[::-1])]


def test_the_stack_s_transform_carries_scanner_points_to_the_frame(stack):
    voxel = np.array([1.0, 2.0, 3.0, 1.0])
    np.testing.assert_allclose(stack.lf2hf_xfm @ stack.native_affine @ voxel, stack.affine @ voxel, atol=1e-12)
    np.testing.assert_allclose(stack.lf2hf_xfm[:3, :3] @ stack.lf2hf_xfm[:3, :3].T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("anatomy", [True, False])
def test_what_is_saved_is_what_is_loaded(volume, tmp_path, rng, anatomy):
    if anatomy:
        volume = volume.with_anatomy(
            rng.random(volume.grid.shape) > 0.5, rng.random((3, *volume.grid.shape), np.float32)
        )
    back = load_volume(save_volume(volume, tmp_path / "v.npz"))
    assert back.grid == volume.grid
    np.testing.assert_array_equal(back.image, volume.image)
    np.testing.assert_array_equal(back.present, volume.present)
    assert back.image.dtype == np.float32
    for name in ("mask", "tissue"):
        one, other = getattr(volume, name), getattr(back, name)
        assert (one is None) == (other is None) == (not anatomy)
        if anatomy:
            np.testing.assert_array_equal(one, other)
    (stack,), (again,) = volume.stacks, back.stacks
    for name in ("data", "affine", "native_affine"):
        np.testing.assert_array_equal(getattr(stack, name), getattr(again, name))
    assert (again.name, again.contrast, again.fwhm, again.sigma) == (
        stack.name,
        stack.contrast,
        stack.fwhm,
        stack.sigma,
    )
    assert np.load(tmp_path / "v.npz")["image"].shape[0] == 1, "absent contrasts take no disk"
