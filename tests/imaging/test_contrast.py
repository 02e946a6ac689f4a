import numpy as np
import pytest

from bids_lfenhance.errors import MethodError
from bids_lfenhance.imaging.contrast import (
    GREY_IN_CSF,
    contrast_curve,
    contrast_vector,
    fit_contrast,
    gain_by_tissue,
    restoring_gain,
    seen_signal,
    tissue_means,
)
from bids_lfenhance.imaging.signal import HF_TESLA, tissue_signal
from tests.oracle import brain_fit_psnr, low_field_image, phantom_head


@pytest.fixture
def head(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    _, _, tissue = phantom_head(32, rng)
    return tissue, tissue.sum(axis=0) > 0.99


def test_means_are_those_painted_in_partial_volume_included(head: tuple[np.ndarray, np.ndarray]) -> None:
    tissue, mask = head
    image = np.tensordot([0.3, 0.8, 1.1], tissue, axes=1)
    np.testing.assert_allclose(tissue_means(image, tissue, mask), [0.3, 0.8, 1.1], atol=1e-5)


@pytest.mark.parametrize(
    ("contrast", "means"), [("T1w", (0.40, 0.80, 1.00)), ("T2w", (1.00, 0.66, 0.54)), ("FLAIR", (0.30, 1.00, 0.86))]
)
def test_restoring_a_painted_scan_gives_the_protocol_s_contrast(
    head: tuple[np.ndarray, np.ndarray], contrast: str, means: tuple[float, float, float]
) -> None:
    tissue, mask = head
    image = 500 * np.tensordot(means, tissue, axes=1)
    vector, warnings = fit_contrast(contrast, image, tissue, mask, sigma=10.0)
    restored = tissue_means(image * restoring_gain(contrast, vector, image, tissue), tissue, mask)
    wanted = seen_signal(contrast, HF_TESLA)
    assert not warnings
    assert vector.max() <= 1
    # The contrast of the result is the one asked for within 5 %.
    np.testing.assert_allclose(restored / restored[2], wanted / wanted[2], rtol=0.05)


def test_a_scan_of_another_contrast_is_left_alone_and_said(head: tuple[np.ndarray, np.ndarray]) -> None:
    tissue, mask = head
    image = np.tensordot([1.0, 0.66, 0.54], tissue, axes=1)
    vector, warnings = fit_contrast("T1w", image, tissue, mask, sigma=0.05)
    np.testing.assert_array_equal(vector, 1)
    assert "T1w keeps its low-field contrast" in warnings[0]


def test_a_tissue_that_is_nowhere_is_said_and_changes_nothing(head: tuple[np.ndarray, np.ndarray]) -> None:
    tissue, mask = head
    image = np.tensordot([0.4, 0.8, 1.0], tissue, axes=1)
    without = np.stack([np.zeros_like(tissue[0]), *tissue[1:]])
    vector, warnings = fit_contrast("T1w", image, without, mask, sigma=0.05)
    np.testing.assert_array_equal(vector, 1)
    assert warnings == ["T1w keeps its low-field contrast: no CSF was found"]


def test_an_image_without_signal_is_left_alone_and_said(head: tuple[np.ndarray, np.ndarray]) -> None:
    tissue, mask = head
    for image, inside in ((np.zeros_like(tissue[0]), mask), (tissue[2], np.zeros_like(mask))):
        vector, warnings = fit_contrast("T1w", image, tissue, inside, sigma=0.0)
        np.testing.assert_array_equal(vector, 1)
        assert warnings[0].startswith("T1w keeps its low-field contrast: ")


def test_what_is_called_csf_is_partly_grey() -> None:
    csf, gm, wm = tissue_signal("T2w", HF_TESLA)
    np.testing.assert_allclose(seen_signal("T2w", HF_TESLA), [csf + GREY_IN_CSF * (gm - csf), gm, wm])


@pytest.mark.parametrize("vector", [(1.0, 0.8, 0.7), (0.9, 1.0, 0.85)])
def test_the_vector_that_low_field_lost_is_given_back(
    head: tuple[np.ndarray, np.ndarray], vector: tuple[float, float, float]
) -> None:
    """In one tissue the gain is 1 / c, relative to white matter, whichever way it is found."""
    tissue, _ = head
    c = np.array(vector)
    image = np.tensordot(seen_signal("T1w", HF_TESLA) * c, tissue, axes=1)
    for gain in (gain_by_tissue("T1w", c, tissue), restoring_gain("T1w", c, image, tissue)):
        for number in range(3):
            np.testing.assert_allclose(gain[tissue[number] == 1], c[2] / c[number], rtol=1e-3)


@pytest.mark.parametrize("vector", [(1.0, 0.8, 0.7), (0.9, 1.0, 0.85), (1.0, 0.69, 0.54)])
def test_a_curve_carries_the_tissues_of_low_field_to_those_of_high_field(vector: tuple[float, float, float]) -> None:
    c, wanted = np.array(vector), seen_signal("T1w", HF_TESLA)
    low = 300 * wanted * c / c[2]
    whole, half, none = (contrast_curve("T1w", c, 300.0, share) for share in (1.0, 0.5, 0.0))
    np.testing.assert_allclose(whole(low), 300 * wanted, rtol=1e-3)
    np.testing.assert_allclose(half(low), np.sqrt(low * 300 * wanted), rtol=1e-3)
    np.testing.assert_allclose(none(np.array([0.0, 70.0, 500.0, 2000.0])), [0, 70, 500, 2000], rtol=1e-5)
    levels = np.linspace(0, 900, 4001)
    for curve in (whole, half):
        made = curve(levels)
        assert (made[0], np.diff(made).min() >= 0) == (0, True)
        for part in (levels < 590, levels > 610):
            np.testing.assert_allclose(np.gradient(made, levels)[part][9:], curve.slope(levels)[part][9:], rtol=0.1)
        np.testing.assert_allclose(curve(np.array([800.0])), 800 * curve(np.array([600.0])) / 600, rtol=1e-4)


def test_white_matter_and_what_is_no_tissue_keep_their_intensity(head: tuple[np.ndarray, np.ndarray]) -> None:
    tissue, _ = head
    image = np.tensordot([0.4, 0.8, 1.0], tissue, axes=1)
    gain = restoring_gain("T1w", np.array([1.0, 0.6, 0.5]), image, tissue)
    np.testing.assert_allclose(gain[tissue.sum(axis=0) == 0], 1, atol=1e-6)
    np.testing.assert_allclose(gain[tissue[2] == 1], 1, atol=1e-2)


def test_no_change_is_no_change(head: tuple[np.ndarray, np.ndarray]) -> None:
    tissue, _ = head
    np.testing.assert_array_equal(restoring_gain("T1w", np.ones(3), tissue[2], tissue, 1.0), 1)


def test_by_tissue_and_intensity_is_nearer_the_truth_than_by_tissue_alone(rng: np.random.Generator) -> None:
    """On the scanner of the oracle, which adds where we multiply, with tissue that is off by a voxel."""
    high, _, tissue = phantom_head(48, rng)
    mask = tissue.sum(axis=0) > 0.99
    low = low_field_image(high, tissue, (0.40, 0.80, 1.00))
    off = np.roll(tissue, 1, axis=1)
    vector, _ = fit_contrast("T1w", low, off, mask, sigma=0.05)
    both = brain_fit_psnr(low * restoring_gain("T1w", vector, low, off), high, mask)
    alone = brain_fit_psnr(low * gain_by_tissue("T1w", vector, off), high, mask)
    assert both > alone + 0.5
    assert both > brain_fit_psnr(low, high, mask) + 0.5


@pytest.mark.parametrize("truth", [(0.9, 0.7, 0.55), (0.35, 0.62, 0.81)])
def test_contrast_vector_recovers_a_known_vector(truth):
    means = np.array([0.25, 0.62, 1.0])
    found = contrast_vector(means, np.array(truth) * means, 0.02, "T1w", prior=np.array(truth))
    assert np.abs(found - truth).max() <= 1e-10


def test_contrast_vector_stays_in_its_bounds_and_minimises_the_rows():
    means = np.array([0.2, 0.6, 1.0])
    found = contrast_vector(means, np.array([0.01, 0.55, 1.3]), 0.02, "T1w")
    assert found.min() >= 0.1
    assert found.max() <= 1.0
    assert found[2] == pytest.approx(1.0)


def test_contrast_vector_refuses_a_wrong_order():
    with pytest.raises(MethodError, match="WM > GM > CSF"):
        contrast_vector(np.array([1.0, 0.6, 0.5]), np.array([0.9, 0.5, 0.4]), 0.02, "T1w")


def test_the_vector_is_the_same_in_other_units():
    means, low = np.array([0.25, 0.62, 1.0]), np.array([0.2, 0.45, 0.5])
    prior = np.array([0.9, 0.7, 0.5])
    once = contrast_vector(means, low, 0.02, "T1w", prior)
    assert contrast_vector(1000 * means, 1000 * low, 20.0, "T1w", prior) == pytest.approx(once, abs=1e-9)
