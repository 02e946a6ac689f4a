"""Band power against the Gaussian's closed form; edges against planes whose place is known."""

import numpy as np
import pytest
from scipy import ndimage

from bids_lfenhance.evaluation.sharpness import BANDS, band_names, band_power, edge_f1, edges_of


@pytest.fixture
def ball():
    index = np.indices((64, 60, 56))
    return sum(((axis - n / 2) / (0.4 * n)) ** 2 for axis, n in zip(index, (64, 60, 56), strict=True)) < 1


def test_band_power_of_blurred_noise_follows_the_gaussian(rng, ball):
    noise = rng.normal(size=ball.shape).astype(np.float32)
    sigma = 1.0
    ratio = band_power(ndimage.gaussian_filter(noise, sigma), ball) / band_power(noise, ball)
    for got, (low, high) in zip(ratio[1:4], BANDS[1:4], strict=True):
        f = np.linspace(low, high, 200)
        expected = np.average(np.exp(-4 * np.pi**2 * f**2 * sigma**2), weights=f**2)
        assert got == pytest.approx(expected, rel=0.15)


def test_band_power_is_blind_to_offset_and_squares_the_gain(rng, ball):
    noise = rng.normal(size=ball.shape).astype(np.float32)
    np.testing.assert_allclose(band_power(3 * noise + 5, ball), 9 * band_power(noise, ball), rtol=1e-3)


def test_a_wave_falls_in_its_band_whatever_the_voxel_size(ball):
    zooms = (1.0, 1.0, 2.0)
    wave = np.cos(2 * np.pi * 0.15 * 2.0 * np.arange(ball.shape[2]))
    power = band_power(np.broadcast_to(wave, ball.shape), ball, zooms)
    assert np.argmax(power) == 2
    assert power[2] > 20 * np.delete(power, 2).max()


def test_every_band_has_a_name():
    assert len(band_names()) == len(BANDS)
    assert band_names()[1] == "spectrum_0.05_0.10"


def plane(at: int) -> np.ndarray:
    image = np.zeros((40, 40, 40))
    image[at:] = 1
    return image + 1e-3 * np.sin(np.arange(40))


def test_edge_lies_where_the_step_is():
    found = np.argwhere(edges_of(plane(20), np.ones((40, 40, 40), bool)))
    steep = found[(found[:, 1] > 3) & (found[:, 1] < 36)]
    assert {19, 20} <= set(steep[:, 0].tolist())


def test_edge_f1_tolerates_one_voxel_and_no_more():
    mask = np.zeros((40, 40, 40), bool)
    mask[12:30, 5:35, 5:35] = True
    assert edge_f1(plane(20), plane(20), mask) == 1
    assert edge_f1(plane(21), plane(20), mask) > 0.95
    assert edge_f1(plane(26), plane(20), mask) < 0.2


def test_the_border_of_the_mask_is_no_edge_of_the_brain(rng, ball):
    """Skull beyond the border, or its absence, changes nothing of how edges inside agree."""
    reference = ndimage.gaussian_filter(rng.normal(size=ball.shape), 2)
    bare = np.where(ball, reference, reference.min() - np.ptp(reference))
    other = ndimage.gaussian_filter(rng.normal(size=ball.shape), 2)
    assert abs(edge_f1(other, bare, ball) - edge_f1(other, reference, ball)) < 0.1
    assert edge_f1(reference, bare, ball) > 0.8


def test_edge_f1_orders_blurs_and_ignores_gain(rng, ball):
    reference = ndimage.gaussian_filter(rng.normal(size=ball.shape), 1.5)
    blurred = [edge_f1(ndimage.gaussian_filter(reference, s), reference, ball) for s in (0.5, 1.5, 3.0)]
    assert blurred[0] > blurred[1] > blurred[2]
    assert edge_f1(7 * reference - 3, reference, ball) > 0.999
    assert edge_f1(rng.normal(size=ball.shape), reference, ball) < 0.4


def test_flat_image_has_no_edges(ball):
    flat = np.ones(ball.shape)
    assert not edges_of(flat, ball).any()
    assert np.isnan(edge_f1(flat, flat, ball))
