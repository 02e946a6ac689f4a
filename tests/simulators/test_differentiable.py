"""The physics forward in torch: the same numbers as numpy's, and gradients that finite differences confirm."""

import numpy as np
import pytest

from bids_lfenhance.imaging.acquisition import Acquisition
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.simulators.physics import apply_contrast
from bids_lfenhance.simulators.presets import get_preset, stack_geometry
from bids_lfenhance.simulators.simulator import random_motion
from tests.simulators.sources import phantom_source

torch = pytest.importorskip("torch")

from bids_lfenhance.simulators.differentiable import measure, simulate  # noqa: E402  (needs torch)


@pytest.fixture(scope="module")
def case():
    source = phantom_source(size=28)
    geometry = stack_geometry(get_preset("T1w", "sag"), source.grid)
    motion = random_motion(np.random.default_rng(0), 2.0, 5.0, np.zeros(3))
    acquisition = Acquisition(Grid(motion @ geometry.affine, geometry.shape), (1.6, 1.6, 5.0), source.grid)
    image, tissue = torch.from_numpy(source.image / 1000), torch.from_numpy(source.tissue)
    return image, tissue, torch.tensor([1.0, 0.6, 0.45]), acquisition


def test_forward_is_that_of_the_simulator(case):
    image, tissue, factor, acquisition = case
    expected = acquisition.forward(apply_contrast(image.numpy(), tissue.numpy(), factor.numpy()))
    np.testing.assert_allclose(simulate(image, tissue, factor, acquisition).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["image", "tissue", "factor"])
def test_gradient_agrees_with_finite_differences(case, which):
    """The loss is quadratic in each argument, so that central differences are exact but for rounding."""
    arguments, acquisition = list(case[:3]), case[3]
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(acquisition.geometry.shape, generator=generator)
    direction = torch.randn(arguments[which].shape, generator=generator)

    def loss(step: float = 0.0, leaf: "torch.Tensor | None" = None) -> "torch.Tensor":
        moved = [*arguments]
        moved[which] = (arguments[which] if leaf is None else leaf) + step * direction
        return (simulate(*moved, acquisition) - target).double().square().sum()

    leaf = arguments[which].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf=leaf), leaf)
    slope = (loss(0.5) - loss(-0.5)).item()
    assert (gradient * direction).double().sum().item() == pytest.approx(slope, rel=2e-4)


def test_backward_is_the_adjoint(case):
    """<A x, y> = <x, Aᵀ y>, through autograd."""
    image, acquisition = case[0].clone().requires_grad_(), case[3]
    samples = torch.randn(acquisition.geometry.shape, generator=torch.Generator().manual_seed(2))
    forward = measure(image, acquisition)
    (back,) = torch.autograd.grad(forward, image, samples)
    assert (forward * samples).double().sum().item() == pytest.approx((image * back).double().sum().item(), rel=1e-4)
