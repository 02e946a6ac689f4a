"""The deformation, against displacements that are known."""

import numpy as np
from scipy import ndimage

from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.warp import Warp, deform, lattice

SHAPE = (36, 40, 32)
GRID = Grid(np.diag([2.0, 2.0, 2.0, 1.0]), SHAPE)


def _texture(rng: np.random.Generator) -> np.ndarray:
    return ndimage.gaussian_filter(rng.standard_normal(SHAPE), 2.0).astype(np.float32)


def _seen_through(image: np.ndarray, field: np.ndarray) -> np.ndarray:
    return ndimage.map_coordinates(image, lattice(np.eye(4), image.shape) + field, order=1, mode="nearest")


def test_known_displacement_is_found_whatever_the_contrast(rng):
    moving = _texture(rng)
    x, y, z = np.meshgrid(*(np.linspace(0, np.pi, n) for n in SHAPE), indexing="ij")
    bump = np.sin(x) * np.sin(y) * np.sin(z)
    true = np.stack([2.0 * bump, -1.5 * bump, 1.0 * bump]).astype(np.float32)
    fixed = 100 - 3 * _seen_through(moving, true)
    found = deform(fixed, GRID, moving, np.eye(4), np.ones(SHAPE, np.float32)) / 2  # mm → voxels
    core = (slice(6, -6),) * 3
    left = np.sqrt(((found - true)[:, *core] ** 2).sum(axis=0))
    before = np.sqrt((true[:, *core] ** 2).sum(axis=0))
    assert left.mean() < 0.35 * before.mean()


def test_it_goes_on_from_where_it_began_and_sees_through_the_affine(rng):
    moving, to_moving = _texture(rng), np.array([[0.0, 1, 0, 1], [-1, 0, 0, 37], [0, 0, 1, 0], [0, 0, 0, 1]])
    true = np.full((3, *SHAPE), [[[[1.0]]], [[[-0.5]]], [[[0.5]]]], np.float32)
    where = lattice(to_moving, SHAPE) + np.einsum("ij,jxyz->ixyz", to_moving[:3, :3], true)
    fixed = ndimage.map_coordinates(moving, where, order=1, mode="nearest")
    core = (slice(None), *(slice(8, -8),) * 3)
    weight = np.ones(SHAPE, np.float32)
    few, on = (
        deform(fixed, GRID, moving, to_moving, weight, start, iterations=2)[core] / 2
        for start in (None, (2 * true, GRID))
    )
    assert np.abs(on - true[core]).mean() < 0.2 < np.abs(few - true[core]).mean()


def test_nothing_moves_where_nothing_is_compared(rng):
    moving = _texture(rng)
    still = deform(_texture(rng), GRID, moving, np.eye(4), np.zeros(SHAPE, np.float32), iterations=3)
    assert not still.any()


def test_two_runs_agree_to_the_last_bit(rng):
    moving, fixed, weight = _texture(rng), _texture(rng), np.ones(SHAPE, np.float32)
    runs = [deform(fixed, GRID, moving, np.eye(4), weight, iterations=4) for _ in range(2)]
    assert runs[0].any()
    assert runs[0].tobytes() == runs[1].tobytes()


def test_carry_puts_a_point_where_field_and_affine_say():
    affine = np.array([[0.0, -1, 0, 35], [1, 0, 0, 4], [0, 0, 1, 1], [0, 0, 0, 1]])
    subject = Grid(np.diag([2.0, 2.0, 2.0, 1.0]), (20, 20, 20))
    field = np.zeros((3, 20, 20, 20), np.float32)
    field[0] = 4.0
    data = np.zeros((40, 40, 40), np.float32)
    at_template = np.array([14, 17, 17])
    data[tuple(at_template)] = 1
    moved = Warp(affine, field, subject).carry(data, np.eye(4), subject)
    expected = affine[:3, :3] @ at_template + affine[:3, 3] - [4.0, 0, 0]
    peak = np.array(np.unravel_index(np.argmax(moved), moved.shape)) * 2.0
    assert np.abs(peak - expected).max() <= 1.0
