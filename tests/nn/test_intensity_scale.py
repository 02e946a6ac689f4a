"""Scale: one number per contrast, undone exactly."""

import numpy as np
import pytest

from bids_lfenhance.nn.intensity_scale import Scale


def test_the_999th_permille_of_the_brain_becomes_one(rng: np.random.Generator) -> None:
    image = rng.uniform(0, 500, (3, 12, 13, 14)).astype(np.float32)
    mask = np.zeros(image.shape[1:], bool)
    mask[2:10, 3:11, 4:12] = True
    image[:, 0] = 1e6  # outside the brain nothing counts
    scaled = Scale.of(image, mask).apply(image, mask)
    inside = np.sort(scaled[1][mask])
    at = 0.999 * (inside.size - 1)
    assert np.interp(at, np.arange(inside.size), inside) == pytest.approx(1, rel=1e-6)
    assert not scaled[:, ~mask].any()
    assert scaled.dtype == np.float32


def test_undo_gives_the_units_back(rng: np.random.Generator) -> None:
    image, mask = rng.uniform(1, 900, (2, 6, 6, 6)).astype(np.float32), np.ones((6, 6, 6), bool)
    scale = Scale.of(image, mask)
    np.testing.assert_allclose(scale.undo(scale.apply(image, mask)), image, rtol=1e-6)


def test_an_absent_contrast_and_an_empty_mask_keep_one() -> None:
    image = np.zeros((2, 4, 4, 4), np.float32)
    image[1] = 7
    assert Scale.of(image, np.ones((4, 4, 4), bool)).values.tolist() == [1.0, 7.0]
    assert Scale.of(image, np.zeros((4, 4, 4), bool)).values.tolist() == [1.0, 1.0]
