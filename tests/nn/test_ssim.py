import numpy as np
import pytest
import torch
from scipy import ndimage

from bids_lfenhance.evaluation.ssim import local_moments, ssim_map, valid_area
from bids_lfenhance.imaging.ssim import RADIUS
from bids_lfenhance.nn.ssim import ssim


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image)[None, None]


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_ssim_is_that_of_the_evaluation(offset: float) -> None:
    rng = np.random.default_rng(0)
    x = ndimage.gaussian_filter(rng.random((22, 24, 27)), 1).astype(np.float32) + np.float32(offset)
    y = (x + 0.05 * rng.normal(size=x.shape)).astype(np.float32)
    mask = rng.random(x.shape) > 0.4
    inner = valid_area(x.shape, RADIUS)
    expected = ssim_map(local_moments(x, y))[inner][mask[inner]].mean()
    assert float(ssim(tensor(x), tensor(y), tensor(mask))) == pytest.approx(expected, abs=2e-5)


def test_ssim_of_equals_is_one_and_its_gradient_finite_on_nothing() -> None:
    image = torch.rand(1, 1, 16, 16, 16)
    everywhere = torch.ones_like(image, dtype=torch.bool)
    assert float(ssim(image, image, everywhere)) == pytest.approx(1, abs=1e-6)
    nothing = torch.zeros(1, 1, 16, 16, 16, requires_grad=True)
    (1 - ssim(nothing, torch.zeros_like(nothing), everywhere)).backward()
    assert nothing.grad is not None
    assert torch.isfinite(nothing.grad).all()
    assert float(ssim(image, image + 1, ~everywhere)) == 1
