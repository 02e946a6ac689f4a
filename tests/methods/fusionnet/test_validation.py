"""The PSNR of validation is that of the evaluation."""

import numpy as np
import pytest
import torch

from bids_lfenhance.evaluation.intensity import psnr
from bids_lfenhance.evaluation.protocols import by_brain_fit, make_pair
from bids_lfenhance.methods.fusionnet.validation import brain_fit_psnr


def test_it_is_the_brain_fit_of_the_evaluation(rng: np.random.Generator) -> None:
    reference = rng.random((20, 21, 22), np.float32)
    image = (3 * reference + 0.5 + rng.normal(0, 0.3, reference.shape)).astype(np.float32)
    mask = np.zeros(reference.shape, bool)
    mask[3:-3, 4:-2, 2:-5] = True
    pair = make_pair(image, reference, mask)
    scales = by_brain_fit(pair)
    expected = psnr(scales.image(pair.brain[0]), scales.reference(pair.brain[1]))
    found = brain_fit_psnr(*(torch.from_numpy(one) for one in (image, reference, mask)))
    assert found == pytest.approx(expected, abs=1e-3)


def test_no_image_is_worth_nothing() -> None:
    mask = torch.ones(4, 4, 4, dtype=torch.bool)
    reference = torch.rand(4, 4, 4, generator=torch.Generator().manual_seed(0))
    assert brain_fit_psnr(torch.full((4, 4, 4), float("nan")), reference, mask) == float("-inf")
    assert np.isfinite(brain_fit_psnr(torch.ones(4, 4, 4), reference, mask))
