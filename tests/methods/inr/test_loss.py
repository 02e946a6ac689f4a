import numpy as np
import pytest
import torch

from bids_lfenhance.methods.inr.loss import rician_mean, segmentation


@pytest.mark.parametrize("snr", [0.0, 1.0, 3.0, 8.0])
def test_rician_mean_agrees_with_a_million_magnitudes(snr: float) -> None:
    noise = np.random.default_rng(0).normal(size=(2, 1_000_000))
    measured = np.hypot(snr + noise[0], noise[1]).mean()
    predicted = float(rician_mean(torch.tensor([snr]), torch.tensor([1.0])))
    # √(s²+σ²) is an approximation: 20 % off with no signal, exact to a few per cent above an SNR of 3.
    assert predicted == pytest.approx(measured, rel=0.21 if snr < 1 else 0.1 if snr < 3 else 0.03)
    assert abs(predicted - measured) <= abs(snr - measured) + 0.05, "no better than leaving the bias in"


def test_segmentation_is_least_for_the_right_tissue() -> None:
    truth = torch.eye(4).repeat(25, 1)
    right = segmentation(truth, truth)
    assert float(right) == pytest.approx(0, abs=1e-3)
    assert segmentation(truth.roll(1, dims=1), truth) > segmentation(torch.full((100, 4), 0.25), truth) > right
