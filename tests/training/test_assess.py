"""What a training is judged by, against other implementations."""

from types import SimpleNamespace

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from bids_lfenhance.training.assess import MonotoneMap, brain_fit, summary
from tests import oracle


def example(low: np.ndarray, high: np.ndarray, mask: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(
        low=low[None], high=high[None], mask=mask, contrasts={"low": ("T1w",), "high": ("T1w",)}
    )  # the part of Example that is used


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 1, (20, 20, 20)).astype(np.float32)
    return low, np.ones(low.shape, bool)


def test_a_monotone_change_of_grey_scale_is_found(images: tuple[np.ndarray, np.ndarray]) -> None:
    low, mask = images
    learnt = MonotoneMap([example(low, low**3, mask)], "lf2hf")
    assert np.abs(learnt(low, "T1w") - low**3).max() < 0.02
    back = MonotoneMap([example(low, low**3, mask)], "hf2lf")
    assert np.abs(back(low**3, "T1w") - low).mean() < 0.02


def test_a_swap_of_grey_values_is_beyond_it(images: tuple[np.ndarray, np.ndarray]) -> None:
    low, mask = images
    swapped = MonotoneMap([example(low, 1 - low, mask)], "lf2hf")
    assert (np.diff(swapped.values["T1w"]) >= 0).all()
    assert np.abs(swapped(low, "T1w") - 0.5).max() < 0.1  # the best it can do is the mean


def test_a_contrast_never_seen_stays_as_it_is(images: tuple[np.ndarray, np.ndarray]) -> None:
    low, mask = images
    assert np.allclose(MonotoneMap([example(low, low, mask)], "lf2hf")(low, "T2w"), low, atol=0.005)


def test_brain_fit_agrees_with_other_implementations() -> None:
    head, _, tissue = oracle.phantom_head(40, np.random.default_rng(1))
    mask = tissue.sum(axis=0) > 0.5
    image = (3 * head + 7 + 0.1 * np.random.default_rng(2).normal(size=head.shape)).astype(np.float32)
    found = brain_fit(image, head, mask)
    assert found["psnr"] == pytest.approx(oracle.brain_fit_psnr(image, head, mask), abs=1e-4)
    gain, offset = np.polyfit(image[mask], head[mask], 1)
    span = np.percentile(head[mask], 99.9)
    _, local = structural_similarity(
        gain * image + offset, head, data_range=span, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        full=True,
    )  # fmt: skip
    assert found["ssim"] == pytest.approx(local[mask].mean(), abs=2e-3)
    assert found["ncc"] == pytest.approx(np.corrcoef(image[mask], head[mask])[0, 1], abs=1e-4)


def test_means_are_over_people_not_over_sessions() -> None:
    about = {"kind": "simulated", "contrast": "T1w", "method": "input", "ssim": 0.5, "ncc": 0.5}
    rows = [about | {"person": "a", "psnr": value} for value in (10.0, 20.0)] + [about | {"person": "b", "psnr": 30.0}]
    (line,) = summary(rows)
    assert (line["psnr"], line["people"]) == (22.5, 2)
    assert line["psnr_sd"] == pytest.approx(np.std([15, 30], ddof=1))
