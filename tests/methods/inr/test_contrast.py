import numpy as np
import pytest

from bids_lfenhance.errors import InputError
from bids_lfenhance.methods.inr.contrast import fit_contrast, parse_contrast, restoring_gain, tissue_means
from bids_lfenhance.simulators.presets import HF_TESLA, tissue_signal
from tests.oracle import phantom_head


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
    restored = tissue_means(image * restoring_gain(contrast, vector, tissue), tissue, mask)
    wanted = tissue_signal(contrast, HF_TESLA)
    assert not warnings
    assert vector.max() <= 1
    # methods.md §3.3b: the contrast of the result must be the one asked for within 5 %.
    np.testing.assert_allclose(restored / restored[2], wanted / wanted[2], rtol=0.05)


def test_a_scan_of_another_contrast_is_left_alone_and_said(head: tuple[np.ndarray, np.ndarray]) -> None:
    tissue, mask = head
    image = np.tensordot([1.0, 0.66, 0.54], tissue, axes=1)
    vector, warnings = fit_contrast("T1w", image, tissue, mask, sigma=0.05)
    np.testing.assert_array_equal(vector, 1)
    assert "T1w keeps its low-field contrast" in warnings[0]


def test_white_matter_and_what_is_no_tissue_keep_their_intensity(head: tuple[np.ndarray, np.ndarray]) -> None:
    tissue, _ = head
    gain = restoring_gain("T1w", np.array([1.0, 0.6, 0.5]), tissue)
    np.testing.assert_allclose(gain[tissue.sum(axis=0) == 0], 1, atol=1e-6)
    np.testing.assert_allclose(gain[tissue[2] == 1], 1, atol=1e-6)
    np.testing.assert_allclose(gain[tissue[1] == 1], 0.5 / 0.6, atol=1e-6)


@pytest.mark.parametrize("text", ["", "1,2", "a,b,c", "1,1,0", "1,1,nan"])
def test_a_vector_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected the contrast as auto, none or three numbers"):
        parse_contrast(text)
