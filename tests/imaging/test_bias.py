"""Bias fields against fields that were put there."""

import numpy as np
import pytest
from scipy import ndimage

from bids_lfenhance.imaging.bias import correct_bias, head_mask

AFFINE = np.diag([-2.5, 2.5, 2.5, 1.0])


@pytest.fixture
def brain(rng):
    """Two tissues in an ellipsoid, the field on them, and both multiplied, with Rician noise."""
    shape = (56, 68, 56)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    inside = (x / 0.8) ** 2 + (y / 0.9) ** 2 + (z / 0.8) ** 2 < 1
    folds = ndimage.gaussian_filter(rng.normal(size=shape), 1.5) > 0
    clean = np.where(inside, np.where(folds, 120.0, 80.0), 0.0)
    field = np.exp(0.25 * x - 0.2 * y + 0.15 * (z**2))
    noisy = np.hypot(clean * field + rng.normal(0, 3, shape), rng.normal(0, 3, shape))
    return inside, field, noisy.astype(np.float32)


def test_the_field_that_was_put_there_is_found(brain):
    inside, field, image = brain
    corrected, found = correct_bias(image, AFFINE, inside)
    left = np.log(field / found)[inside]
    assert left.std() < 0.3 * np.log(field)[inside].std()
    assert np.log(found[inside]).mean() == pytest.approx(0, abs=0.02), "the mean level is kept"
    np.testing.assert_allclose(corrected * found, image, rtol=1e-4, atol=1e-3)


def test_the_same_image_gives_the_same_bytes(brain):
    inside, _, image = brain
    one, other = (correct_bias(image, AFFINE, inside, sloppy=True)[0] for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_without_a_head_nothing_is_done(brain):
    image = brain[2]
    corrected, field = correct_bias(image, AFFINE, np.zeros(image.shape, bool))
    np.testing.assert_array_equal(corrected, image)
    assert np.all(field == 1)


def test_head_mask_is_the_head_in_noise_without_holes_or_islands(rng):
    shape = (50, 60, 20)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = np.sqrt((x / 0.7) ** 2 + (y / 0.75) ** 2 + (z / 0.8) ** 2)
    truth = radius < 1
    clean = np.where(truth & (radius > 0.35), 100.0, 0.0)
    clean[1:4, 1:4, 1:4] = 300.0
    mask = head_mask(
        np.hypot(clean + rng.normal(0, 12, shape), rng.normal(0, 12, shape)), np.diag([3.2, 3.2, 9.0, 1.0])
    )
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.93
    assert mask[25, 30, 10], "the dark ventricle in the middle belongs to the head"
    assert not mask[:5, :5, :5].any(), "a bright speck elsewhere does not"


def test_nothing_gives_an_empty_mask():
    assert not head_mask(np.zeros((8, 8, 8)), np.eye(4)).any()
