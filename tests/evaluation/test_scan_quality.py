"""What is measured for a verdict, on a block whose signal, noise and field of view are known."""

import numpy as np
import pytest

from bids_lfenhance.evaluation import scan_quality
from bids_lfenhance.imaging.field_of_view import seen_in
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Stack, Volume, volume_from_channels

SHAPE = (20, 20, 20)


def half_seen() -> tuple[Stack, Volume]:
    """A brain of signal 100, 7 × 14 × 14 voxels of 1 mm; the stack ends at its middle, its noise is 5."""
    mask = np.zeros(SHAPE, bool)
    mask[3:10, 3:17, 3:17] = True
    image = (100.0 * mask).astype(np.float32)
    stack = Stack("a", "T1w", image[:, :, :10], np.eye(4), np.eye(4), (1.0, 1.0, 1.0), 5.0)
    volume = volume_from_channels(Grid(np.eye(4), SHAPE), {"T1w": image}, (stack,))
    return stack, Volume(volume.grid, volume.image, volume.present, volume.stacks, mask=mask)


def test_snr_and_coverage_of_a_scan() -> None:
    stack, volume = half_seen()
    expected = np.argwhere(volume.brain).astype(float)
    found = scan_quality.of_scan(stack, volume, expected)
    assert found["SNR"] == pytest.approx(20.0)
    assert found["Coverage"] == pytest.approx(0.5, abs=0.03)
    assert scan_quality.of_view(volume, "T1w", expected, seen_in(volume, "T1w"))["Brain"] == found["Coverage"]


def test_a_brain_that_ends_on_a_face_is_measured_in_cm2() -> None:
    _, volume = half_seen()
    found = scan_quality.of_view(volume, "T1w", np.argwhere(volume.brain), seen_in(volume, "T1w"))
    assert found["OnFaceCm2"] == pytest.approx(7 * 14 / 100)


def test_no_noise_and_no_brain_are_no_figure() -> None:
    stack, volume = half_seen()
    silent = Stack(stack.name, "T1w", stack.data, stack.affine, stack.native_affine, stack.fwhm, 0.0)
    assert scan_quality.of_scan(silent, volume, np.zeros((1, 3)))["SNR"] is None
    assert scan_quality.std_percent(np.ones(SHAPE), np.ones(SHAPE), np.zeros(SHAPE, bool)) is None


def test_the_sd_of_the_error_is_a_share_of_the_brain_alone() -> None:
    _, volume = half_seen()
    std = np.where(volume.brain, 7.0, 900.0)
    image = np.linspace(0, 1, volume.brain.size).reshape(volume.brain.shape)
    image[volume.brain] = np.linspace(100, 300, volume.brain.sum())
    assert scan_quality.std_percent(std, image, volume.brain) == pytest.approx(100 * 7 / 180, rel=1e-3)
    assert scan_quality.std_percent(std, np.ones(std.shape), volume.brain) is None


def test_likeness_is_signed():
    low = np.random.default_rng(0).random((6, 6, 6))
    brain = np.ones(low.shape, bool)
    assert scan_quality.likeness(3 * low + 1, low, brain) == 1
    assert scan_quality.likeness(1 - low, low, brain) == -1
    assert scan_quality.likeness(np.ones(low.shape), low, brain) == 0
