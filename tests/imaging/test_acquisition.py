"""The acquisition operator against sinusoids, whose blur is known in closed form, and against its own adjoint."""

import numpy as np
import pytest

from bids_lfenhance.imaging.acquisition import Acquisition, Frame
from bids_lfenhance.imaging.grid import Grid, apply_affine
from bids_lfenhance.imaging.profile import FWHM_PER_SD
from bids_lfenhance.imaging.volume import Stack
from tests.oracle import rigid

FWHM = (1.6, 1.6, 5.0)


@pytest.fixture(scope="module")
def grid() -> Grid:
    affine = np.eye(4)
    affine[:3, 3] = (-32, -30, -28)
    return Grid(affine, (64, 60, 56))


@pytest.fixture(scope="module")
def askew() -> Grid:
    affine = np.zeros((4, 4))
    affine[[0, 2, 1, 3], [0, 1, 2, 3]] = (1.6, 1.6, -5.0, 1.0)
    affine[:3, 3] = (-27, 25, -24)
    return Grid(rigid((1.0, -2.0, 0.5), (9.0, -7.0, 6.0), np.zeros(3)) @ affine, (36, 30, 10))


def test_adjoint_is_exact(grid, askew, rng):
    where = rng.random(askew.shape) < 0.7
    operator = Acquisition(askew, FWHM, grid, where)
    image = rng.normal(size=grid.shape).astype(np.float32)
    samples = rng.normal(size=askew.shape).astype(np.float32)
    seen, back = operator.forward(image), operator.frame.image(operator.spread(samples[where]))
    left, right = np.vdot(seen.astype(float), samples), np.vdot(image.astype(float), back)
    assert abs(left - right) < 1e-6 * np.linalg.norm(seen) * np.linalg.norm(samples)


@pytest.mark.parametrize(
    ("frequency", "tolerance"),
    [((0.1, 0.0, 0.0), 0.005), ((0.0, 0.1, 0.0), 0.005), ((0.05, 0.02, 0.1), 0.005), ((0.15, 0.03, 0.15), 0.025)],
)
def test_a_sinusoid_is_damped_as_the_gaussian_profile_says(grid, askew, frequency, tolerance):
    frequency = np.array(frequency)
    points = [np.arange(n) + origin for n, origin in zip(grid.shape, grid.affine[:3, 3], strict=True)]
    phase = sum(
        np.expand_dims(f * p, tuple({0, 1, 2} - {a})) for a, (f, p) in enumerate(zip(frequency, points, strict=True))
    )
    seen = Acquisition(askew, FWHM, grid).forward(np.cos(2 * np.pi * phase))
    index = np.stack(np.meshgrid(*(np.arange(n) for n in askew.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    world = apply_affine(askew.affine, index)
    along = frequency @ askew.affine[:3, :3] / np.array(askew.zooms)
    damping = np.exp(-2 * np.pi**2 * np.sum((along * np.array(FWHM) / FWHM_PER_SD) ** 2))
    inner = np.all(np.abs(world - [0, 0, 0]) < np.array([22, 20, 18]), axis=1)
    assert inner.sum() > 500
    assert np.abs(seen.ravel() - damping * np.cos(2 * np.pi * world @ frequency))[inner].max() < tolerance


def test_a_constant_stays_constant_and_the_outside_is_zero(grid, askew):
    far = Grid(rigid((200.0, 0, 0), (0.0, 0, 0), np.zeros(3)) @ askew.affine, askew.shape)
    assert Acquisition(askew, FWHM, grid).forward(np.ones(grid.shape))[18, 15, 5] == pytest.approx(1, abs=1e-4)
    assert not Acquisition(far, FWHM, grid).forward(np.ones(grid.shape)).any()


def test_restriction_computes_the_same_voxels_and_no_others(grid, askew, rng):
    image = rng.random(grid.shape).astype(np.float32)
    where = np.zeros(askew.shape, bool)
    where[10:20, 8:15, 3:7] = True
    everything = Acquisition(askew, FWHM, grid).forward(image)
    some = Acquisition(askew, FWHM, grid, where, Frame(grid)).forward(image)
    assert some == pytest.approx(np.where(where, everything, 0), abs=1e-5)


def test_a_fine_profile_is_widened_to_the_grids_own_voxel(grid, askew):
    stack = Stack("s", "T1w", np.zeros(askew.shape, np.float32), askew.affine, askew.affine, (0.5, 0.5, 4.0), 1.0)
    assert Acquisition.of(stack, grid).fwhm == (1.0, 1.0, 4.0)
