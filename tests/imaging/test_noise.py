"""Noise levels against noise that was put there."""

import numpy as np
import pytest
from scipy import ndimage

from bids_lfenhance.imaging.noise import noise_sigma, threshold_otsu

SHAPE = (96, 110, 30)


@pytest.fixture
def anatomy(rng):
    """A head-sized ellipsoid with folds of grey inside, zero outside; median about 100."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    radius = np.sqrt((x / 0.75) ** 2 + (y / 0.85) ** 2 + (z / 0.9) ** 2)
    folds = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2.0)
    tissue = 100 + 25 * np.tanh(6 * folds / folds.std())
    return np.where(radius < 0.8, tissue, np.where(radius < 0.9, 30.0, np.where(radius < 1, 160.0, 0.0)))


def rician(anatomy, sigma, rng):
    return np.hypot(anatomy + rng.normal(0, sigma, SHAPE), rng.normal(0, sigma, SHAPE)).astype(np.float32)


@pytest.mark.parametrize("sigma", [2.0, 5.0, 10.0, 20.0])
def test_with_air_around(anatomy, rng, sigma):
    assert noise_sigma(rician(anatomy, sigma, rng)) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("sigma", [8.0, 12.0, 18.0])
def test_with_the_air_removed(anatomy, rng, sigma):
    assert noise_sigma(rician(anatomy, sigma, rng) * (anatomy > 0)) == pytest.approx(sigma, rel=0.1)


def test_with_zeros_outside_a_circle_of_reconstruction(anatomy, rng):
    data = rician(anatomy, 8.0, rng)
    x, y = np.meshgrid(np.linspace(-1, 1, SHAPE[0]), np.linspace(-1, 1, SHAPE[1]), indexing="ij")
    data[np.hypot(x, y) > 1] = 0
    assert noise_sigma(data) == pytest.approx(8.0, rel=0.1)


@pytest.mark.parametrize("stored", [np.float32, np.int16])
@pytest.mark.parametrize("share", [0.0, 0.7, 1.0, 1.4, 1.6, 1.8, 2.0, 2.5])
def test_with_faint_air_set_to_zero(anatomy, rng, share, stored):
    """As scanners suppress background, and de-facing tools."""
    data = (10 * rician(anatomy, 10.0, rng)).astype(stored)
    data[data < share * 100] = 0
    assert noise_sigma(data) == pytest.approx(100, rel=0.15)


def test_faint_tissue_in_cleared_air_is_no_noise(anatomy, rng):
    """Its intensities may be spread as those of noise are, but they are smooth."""
    smooth = [ndimage.gaussian_filter(rng.normal(size=SHAPE), 4) for _ in range(2)]
    faint = np.hypot(*(25 * one / one.std() for one in smooth))
    data = rician(np.where(anatomy > 0, anatomy, faint), 5.0, rng)
    x = np.linspace(-1, 1, SHAPE[0])
    data[(anatomy == 0) & (np.abs(x) > 0.4)[:, None, None]] = 0
    assert noise_sigma(data) == pytest.approx(5.0, rel=0.15)


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_with_steps_as_coarse_as_the_noise(anatomy, rng, sigma):
    assert noise_sigma(np.rint(rician(anatomy, sigma, rng))) == pytest.approx(sigma, rel=0.15)


def test_scales_with_the_image(anatomy, rng):
    data = rician(anatomy, 6.0, rng)
    assert noise_sigma(1000 * data) == pytest.approx(1000 * noise_sigma(data), rel=1e-3)


def test_an_interpolated_image_hides_most_of_its_noise_from_neighbours(anatomy, rng):
    fine = ndimage.zoom(rician(anatomy, 12.0, rng) * (anatomy > 0), 2, order=1)
    assert noise_sigma(fine) < 0.4 * 12
    assert noise_sigma(fine, (4, 4, 4)) > 0.5 * 12


def test_nothing_in_it():
    assert noise_sigma(np.zeros((8, 8, 8))) == 0.0
    assert threshold_otsu(np.zeros((8, 8, 8))) == 0.0


def test_otsu_splits_two_heaps(rng):
    heaps = np.concatenate([rng.normal(20, 3, 5000), rng.normal(100, 10, 5000)])
    assert 30 < threshold_otsu(heaps) < 75


def test_what_is_left_of_the_air_is_not_believed_where_it_is_far_noisier_than_the_tissue():
    """Air that a program cleared but for a ghost: that is no noise of the scanner's."""
    rng, side = np.random.default_rng(2), 64
    x, y, z = np.indices((side,) * 3) - side / 2
    head = x**2 + y**2 + z**2 < 24**2
    data = np.where(head, 100 + rng.normal(0, 2, head.shape), 0)
    ghost = ~head & (y > 4)
    data[ghost] = np.hypot(*rng.normal(0, 10, (2, int(ghost.sum()))))
    assert np.mean(data == 0) > 0.25
    assert noise_sigma(data.astype(np.float32)) == pytest.approx(2, rel=0.15)
    data[ghost] /= 5  # noise as in the tissue: the air is asked, as it is where nothing was cleared
    assert noise_sigma(data.astype(np.float32)) == pytest.approx(2, rel=0.1)
