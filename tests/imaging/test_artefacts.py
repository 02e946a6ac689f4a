"""What is wrong with a scan as it was acquired is seen where it was planted, and nowhere else."""

import numpy as np
import pytest
from scipy import ndimage

from bids_lfenhance.imaging.artefacts import alternation, artefacts, clipped, ghosts

SHAPE = (64, 72, 32)
AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])
SIGMA = 6.0


def head(shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid with folds in it, moved along its first axis by voxels; and where it is."""
    x, y, z = np.indices(SHAPE, np.float32) - (np.array(SHAPE, np.float32).reshape(3, 1, 1, 1) - 1) / 2
    radius = np.sqrt(((x - shift) / 24) ** 2 + (y / 28) ** 2 + (z / 13) ** 2)
    folds = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(128, 72, 128)), 3)
    image = 100 * np.clip(8 * (1 - radius), 0, 1)
    moved = ndimage.shift(folds, (shift, 0, 0), order=1)[32:96, :, ::4]
    return image * (1 + 0.25 * moved / folds.std()), radius < 1


def magnitude(signal: np.ndarray, sigma: float = SIGMA) -> np.ndarray:
    real, imaginary = sigma * np.random.default_rng(2).normal(size=(2, *SHAPE))
    return np.hypot(signal + real, imaginary).astype(np.float32)


@pytest.mark.parametrize("sigma", [3.0, 12.0])
def test_a_sound_scan_shows_none(sigma):
    image, mask = head()
    found = artefacts(magnitude(image, sigma), AFFINE, mask, sigma)
    assert found["Clipped"] < 1e-3
    assert found["Ghosts"] < 0.02
    assert found["Alternation"] is None or found["Alternation"] < 0.8


def test_what_lies_at_the_ceiling_is_counted():
    image, mask = head()
    data = magnitude(image)
    level = np.percentile(data[mask], 80)
    assert clipped(np.minimum(data, level)[mask]) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_ghost_is_measured_whichever_axis_it_lies_along(axis):
    """A tenth of the head, at half the field of view from it; what overlies the head itself does not count."""
    image, mask = head()
    ghost = np.roll(0.1 * image, SHAPE[axis] // 2, axis=axis)
    assert ghosts(magnitude(image + ghost), AFFINE, mask) == pytest.approx(0.07, abs=0.03)


def test_noise_that_is_louder_in_the_middle_is_no_ghost():
    """As a scanner's own intensity correction leaves it."""
    image, mask = head()
    x, y, z = (np.linspace(-1, 1, n) for n in SHAPE)
    gain = 1 - 0.15 * (x[:, None, None] ** 2 + y[None, :, None] ** 2 + z**2)
    assert ghosts(magnitude(image) * gain.astype(np.float32), AFFINE, mask) < 0.03


def test_an_air_of_zeros_says_nothing_of_ghosts():
    image, mask = head()
    assert ghosts(np.where(mask, image, 0).astype(np.float32), AFFINE, mask) is None


@pytest.mark.filterwarnings("error")
def test_without_any_air_nothing_is_said_of_ghosts():
    image, _ = head()
    assert ghosts(magnitude(image), AFFINE, np.ones(SHAPE, bool)) is None


def test_slices_acquired_in_two_poses_or_two_brightnesses_alternate():
    still, mask = head()
    moved, _ = head(shift=2.0)
    odd = np.arange(SHAPE[2]) % 2 == 1
    calm = alternation(magnitude(still), AFFINE, mask, SIGMA)
    for other in (moved, 0.8 * still):
        assert alternation(magnitude(np.where(odd, other, still)), AFFINE, mask, SIGMA) > max(1.0, 2 * calm)


def test_isotropic_and_thin_scans_have_no_slices_to_compare():
    image, mask = head()
    assert alternation(image, np.diag([2.0, 2, 2, 1]), mask, SIGMA) is None
    assert alternation(image[:, :, 10:20], AFFINE, mask[:, :, 10:20], SIGMA) is None
