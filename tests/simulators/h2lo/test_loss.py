"""The two losses (H2LO, eq. 2-3)."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bids_lfenhance.nn.batch import Batch
from bids_lfenhance.simulators.h2lo.loss import derivative_kernels, gradient_loss, losses
from bids_lfenhance.simulators.h2lo.settings import H2loSettings


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def along(values: Tensor, axis: int, side: int) -> Tensor:
    """(1, 1, …) a field that varies along one axis only."""
    shape = [1, 1, 1]
    shape[axis] = len(values)
    return values.reshape(shape).expand(*(len(values) if a == axis else side for a in range(3)))[None, None]


@pytest.mark.parametrize(("radius", "response"), [(2, 0.8992), (3, 0.9951), (4, 0.99992)])
def test_response_to_a_ramp(radius: int, response: float) -> None:
    """The cut kernel under-reads a slope of one, as printed; only along its own axis."""
    kernels, side = derivative_kernels(1.0, radius), 2 * radius + 1
    for axis in range(3):
        slopes = functional.conv3d(along(torch.arange(20.0), axis, side), kernels)
        expected = torch.zeros(3)
        expected[axis] = -response  # torch correlates where the paper convolves
        torch.testing.assert_close(slopes.amax(dim=(0, 2, 3, 4)), expected, atol=6e-5, rtol=0)


def test_a_wide_kernel_is_the_derivative_of_the_blurred_field() -> None:
    omega = 0.3
    x = torch.arange(60, dtype=torch.float64)
    field = along(torch.sin(omega * x), 0, 11)
    found = -functional.conv3d(field.double(), derivative_kernels(1.0, 5).double())[0, 0, :, 0, 0]
    expected = omega * math.exp(-(omega**2) / 2) * torch.cos(omega * x[5:-5])
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-6


def test_gradient_loss_of_a_ramp_is_its_squared_slope_whatever_the_size() -> None:
    for side in (8, 16):
        error = along(0.5 * torch.arange(float(side)), 2, side)[:, 0]
        assert float(gradient_loss(error, 1.0)) == pytest.approx((0.5 * 0.8992) ** 2, rel=1e-3)
    assert float(gradient_loss(torch.full((1, 8, 8, 8), 3.0), 1.0)) == pytest.approx(0, abs=1e-10)


class Constant(torch.nn.Module):
    """The same value at every voxel asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(0.75))
        self.asked: Tensor | None = None

    def forward(self, image: Tensor, to_template: Tensor, index: Tensor) -> Tensor:
        self.asked = index
        return self.value.expand(index.shape)


def batch(side: int = 20) -> Batch:
    mask = torch.zeros(1, 1, side, side, side, dtype=torch.bool)
    mask[..., : side // 2] = True
    target = torch.rand(1, 3, side, side, side)
    flags = torch.tensor([[True, False, True]])
    everything = torch.ones(1, 3, dtype=torch.bool)
    to_template = torch.eye(4)[None]
    return Batch(target, flags, mask, target=target, wanted=everything, to_template=to_template)


def test_four_fifths_of_the_voxels_lie_in_the_brain_and_the_block_is_a_block() -> None:
    net, settings = Constant(), H2loSettings(voxels=5000, block=6)
    losses("T1w", {"T1w": net}, batch(), settings, torch.Generator().manual_seed(0))
    assert net.asked is not None
    inside = batch().mask[0, 0, 5:-5, 5:-5, 5:-5].flatten()
    assert inside[net.asked[0, :5000]].float().mean() == pytest.approx(0.8 + 0.2 * 0.5, abs=0.02)
    x, y, z = (axis.reshape(6, 6, 6) for axis in torch.unravel_index(net.asked[0, 5000:], (10, 10, 10)))
    assert ((x[1:] - x[:-1]) == 1).all()
    assert ((y[:, 1:] - y[:, :-1]) == 1).all()
    assert ((z[..., 1:] - z[..., :-1]) == 1).all()


def test_l1_compares_with_the_voxels_asked_for() -> None:
    """Targets that hold their own voxel numbers say whether the right ones were read."""
    net, settings, one = Constant(), H2loSettings(voxels=64, block=5, lambda_grad=0.0), batch()
    numbers = torch.arange(20**3).reshape(1, 1, 20, 20, 20).expand(1, 3, 20, 20, 20).float()
    one = replace(one, target=numbers)
    found = losses("FLAIR", {"FLAIR": net}, one, settings, torch.Generator().manual_seed(0))
    assert set(found) == {"FLAIR-l1"}, "no derivatives where they have no weight"
    assert net.asked is not None
    x, y, z = (axis + 5 for axis in torch.unravel_index(net.asked[0, :64], (10, 10, 10)))
    expected = ((x * 20 + y) * 20 + z - 0.75).abs().mean()
    assert float(found["FLAIR-l1"].detach()) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_batch_without_the_contrast_has_the_same_losses_all_zero(weight: float) -> None:
    """Processes add their losses up by position."""
    settings = H2loSettings(voxels=64, block=5, lambda_grad=weight)
    with_it, without = (
        losses(name, {name: Constant()}, batch(), settings, torch.Generator().manual_seed(0)) for name in ("T1w", "T2w")
    )
    assert [name.removeprefix("T1w") for name in with_it] == [name.removeprefix("T2w") for name in without]
    assert [float(value.detach()) for value in without.values()] == [0.0] * len(without)


def test_the_weight_of_the_derivatives_is_its_weight_and_sigma_tells() -> None:
    def grad(**changes: float) -> float:
        settings = H2loSettings(voxels=10, block=8, **changes)  # type: ignore[arg-type]
        found = losses("T1w", {"T1w": Constant()}, batch_fixed, settings, torch.Generator().manual_seed(0))
        return found["T1w-grad"].item()

    torch.manual_seed(0)
    batch_fixed = batch()
    assert grad(lambda_grad=3.0) == pytest.approx(3 * grad(), rel=1e-5)
    assert grad(gauss_sigma=2.0) < grad() / 2
