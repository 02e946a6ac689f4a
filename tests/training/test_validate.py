"""The score of a validation is that which the app reports."""

import numpy as np
import pytest

from bids_lfenhance.evaluation.image_metrics import image_metrics
from bids_lfenhance.training.validate import brain_psnr


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_the_validation_is_the_protocol_brain_fit(rng: np.random.Generator, noise: float) -> None:
    target = rng.uniform(0, 1, (12, 12, 12)).astype(np.float32)
    image = (3 * target + 1 + noise * rng.normal(size=target.shape)).astype(np.float32)
    mask = rng.random(target.shape) < 0.6
    rows = image_metrics(image, target, mask)
    (expected,) = (
        r["value"] for r in rows if (r["protocol"], r["region"], r["metric"]) == ("brain-fit", "brain", "psnr")
    )
    assert brain_psnr(image, target, mask, fit=True) == pytest.approx(expected, abs=1e-4)
    mean_square = np.mean((image - target)[mask].astype(np.float64) ** 2)
    assert brain_psnr(image, target, mask, fit=False) == pytest.approx(-10 * np.log10(mean_square), abs=1e-4)
    image[0] = np.nan
    mask[:] = True
    assert brain_psnr(image, target, mask, fit=True) == -np.inf
    flat = np.full_like(target, 0.3)
    assert brain_psnr(flat, target, mask, fit=True) == pytest.approx(-10 * np.log10(target.var()), abs=1e-3)
