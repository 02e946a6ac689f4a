"""SSIM against scikit-image, to 1e-5."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity

from bids_lfenhance.evaluation.protocols import LinearScaling
from bids_lfenhance.evaluation.ssim import local_moments, rescale, ssim_map, valid_area


@pytest.fixture
def images(rng):
    y = ndimage.gaussian_filter(rng.uniform(size=(30, 26, 28)), 1.5).astype(np.float32)
    y = (y - y.min()) / np.ptp(y)
    return y + 0.1 * rng.normal(size=y.shape).astype(np.float32), y


def test_gaussian_window_is_skimage(images):
    mean, full = structural_similarity(
        *images, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, full=True
    )
    moments = local_moments(*images)
    ours = ssim_map(moments)
    np.testing.assert_allclose(ours, full, atol=1e-5)
    assert ours[valid_area(ours.shape, moments.pad)].mean() == pytest.approx(mean, abs=1e-5)


def test_uniform_window_is_skimage_default(images):
    mean, full = structural_similarity(*images, data_range=1, full=True)
    moments = local_moments(*images, "uniform")
    ours = ssim_map(moments)
    np.testing.assert_allclose(ours, full, atol=1e-5)
    assert ours[valid_area(ours.shape, moments.pad)].mean() == pytest.approx(mean, abs=1e-5)


def test_two_dimensional_is_skimage_slice_by_slice(images):
    x, y = images
    moments = local_moments(x, y, ndim=2)
    ours = ssim_map(moments)[valid_area(x.shape, moments.pad, ndim=2)].mean(axis=(0, 1))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    theirs = [structural_similarity(x[:, :, k], y[:, :, k], **options) for k in range(x.shape[2])]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("window", ["gaussian", "uniform"])
def test_rescaling_the_moments_is_rescaling_the_images(images, window):
    x, y = images
    lines = LinearScaling(-0.7, 1.2), LinearScaling(3.0, -0.4)
    direct = ssim_map(local_moments(lines[0](x), lines[1](y), window))
    by_algebra = ssim_map(rescale(local_moments(x, y, window), *lines))
    np.testing.assert_allclose(by_algebra, direct, atol=1e-5)


def test_arbitrary_units_lose_no_digits(images):
    x, y = (np.float32(1000) + np.float32(500) * data for data in images)
    raw = rescale(local_moments(x, y), LinearScaling(1 / 500, -2), LinearScaling(1 / 500, -2))
    np.testing.assert_allclose(ssim_map(raw), ssim_map(local_moments(*images)), atol=1e-4)


def test_an_image_is_like_itself(images):
    np.testing.assert_allclose(ssim_map(local_moments(images[1], images[1])), 1, atol=1e-6)


def test_nothing_is_valid_in_an_image_narrower_than_the_window():
    assert np.ones((8, 30, 30))[valid_area((8, 30, 30), 5)].size == 0
