"""Slots: by geometry, scaled, in any order, over partial fields of view."""

from dataclasses import replace

import numpy as np
import pytest

from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.slots import SLOTS, fill_slots, fill_with_image, resolution_of, slot_of
from bids_lfenhance.imaging.volume import Stack

GRID = Grid(np.eye(4), (24, 26, 28))
MASK = np.zeros(GRID.shape, bool)
MASK[4:20, 4:22, 4:24] = True


def stack(name: str, zooms: tuple[float, float, float], order: tuple[int, int, int] = (0, 1, 2)) -> Stack:
    """A stack over the whole grid whose voxel axes lie along the world axes ``order``; a smooth ramp."""
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    shape = []
    for axis, world in enumerate(order):
        affine[world, axis] = zooms[axis]
        shape.append(int(np.ceil(GRID.shape[world] / zooms[axis])) + 1)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    world_mm = index @ affine[:3, :3].T
    data = (50 + world_mm.sum(axis=-1)).astype(np.float32)
    return Stack(name, "T1w", data, affine, affine, zooms, 1.0)


@pytest.mark.parametrize(
    ("zooms", "order", "slot"),
    [
        ((1.6, 1.6, 5.0), (0, 1, 2), "axial"),
        ((1.6, 1.6, 5.0), (0, 2, 1), "coronal"),
        ((1.6, 1.6, 5.0), (1, 2, 0), "sagittal"),
        ((5.0, 1.6, 1.6), (2, 0, 1), "axial"),
        ((2.3, 2.3, 2.3), (0, 1, 2), "isotropic"),
        ((1.6, 1.6, 2.3), (0, 1, 2), "isotropic"),
    ],
)
def test_the_slot_is_that_of_the_thick_side_wherever_it_is_stored(
    zooms: tuple[float, float, float], order: tuple[int, int, int], slot: str
) -> None:
    one = stack("any_name", zooms, order)
    assert SLOTS[slot_of(one)] == slot
    thick = {"axial": 2, "coronal": 1, "sagittal": 0}.get(slot)
    resolution = resolution_of(one)
    if thick is not None:
        assert resolution.argmax() == thick
    assert sorted(resolution) == sorted(zooms)


def test_an_image_is_found_again_at_the_scale_of_the_brain() -> None:
    filled = fill_slots([stack("a", (1.6, 1.6, 5.0))], GRID, MASK)
    x, y, z = np.meshgrid(*map(np.arange, GRID.shape), indexing="ij")
    truth = 50.0 + x + y + z
    expected = truth / np.percentile(truth[MASK], 95)
    np.testing.assert_allclose(filled.image[0][MASK], expected[MASK], rtol=1e-3)
    assert filled.unit == pytest.approx(np.percentile(truth[MASK], 95), rel=1e-3)
    assert not filled.image[:, ~MASK].any()
    assert filled.present.tolist() == [True, False, False, False]


def test_the_order_of_stacks_changes_no_bit() -> None:
    stacks = [stack("a", (1.6, 1.6, 5.0)), stack("b", (1.5, 1.5, 4.0)), stack("c", (1.6, 1.6, 5.0), (0, 2, 1))]
    one, other = fill_slots(stacks, GRID, MASK), fill_slots(stacks[::-1], GRID, MASK)
    assert one.image.tobytes() == other.image.tobytes()
    assert one.unit == other.unit
    np.testing.assert_array_equal(one.resolution, other.resolution)
    assert one.stacks == 3


def test_where_half_a_head_is_covered_the_other_half_is_of_the_other_stack() -> None:
    whole = stack("whole", (1.6, 1.6, 5.0))
    half = stack("half", (1.6, 1.6, 5.0))
    half = replace(half, data=half.data[:6])
    both, alone = fill_slots([whole, half], GRID, MASK), fill_slots([whole], GRID, MASK)
    beyond = MASK.copy()
    beyond[:10] = False
    np.testing.assert_array_equal(both.image[0][beyond], alone.image[0][beyond])
    assert both.covered[0][MASK].all()


def test_a_stack_beside_the_brain_counts_for_nothing() -> None:
    far = stack("far", (1.6, 1.6, 5.0))
    far.affine[:3, 3] += 500
    filled = fill_slots([far], GRID, MASK)
    assert (filled.stacks, filled.present.any()) == (0, False)


def test_stacks_of_one_slot_that_show_brains_apart_are_named() -> None:
    x, y, z = np.meshgrid(*map(np.arange, GRID.shape), indexing="ij")
    blob = np.exp(-((x - 12) ** 2 + (y - 13) ** 2 + (z - 14) ** 2) / 18).astype(np.float32)
    here = Stack("here", "T1w", blob, np.eye(4), np.eye(4), (1.0, 1.0, 5.0), 0.0)
    moved = np.eye(4)
    moved[0, 3] = 5.0
    there = replace(here, name="there", affine=moved)
    (warning,) = fill_slots([here, there], GRID, MASK).warnings
    assert "here" in warning
    assert "there" in warning
    assert not fill_slots([here, replace(here, name="there")], GRID, MASK).warnings


def test_a_fused_image_is_one_isotropic_scan() -> None:
    filled = fill_with_image(np.full(GRID.shape, 7, np.float32), GRID, MASK)
    assert filled.present.tolist() == [False, False, False, True]
    np.testing.assert_allclose(filled.image[3][MASK], 1)
    np.testing.assert_array_equal(filled.resolution[3], GRID.zooms)


def test_unit_is_of_the_brain_not_of_what_is_kept_around_it():
    from bids_lfenhance.imaging.slots import fill_slots

    from .test_slots import GRID, MASK, stack

    scan = stack("a", (1.6, 1.6, 5.0))
    wide = fill_slots([scan], GRID, MASK, np.ones_like(MASK))
    narrow = fill_slots([scan], GRID, MASK)
    assert wide.unit == narrow.unit
    np.testing.assert_array_equal(wide.image[:, MASK], narrow.image[:, MASK])
    assert wide.covered.sum() > narrow.covered.sum()
