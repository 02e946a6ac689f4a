"""Convolutions by minimal filtering and by products of matrices against torch's own, in float64."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from bids_lfenhance.nn.convolution import Conv1x1x1, Conv3x3x3


@pytest.mark.parametrize("sides", [(1, 3, 4), (2, 5, 1), (4, 4, 4), (7, 6, 5), (8, 5, 6), (19, 4, 3)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_minimal_filtering_is_the_convolution(sides: tuple[int, int, int], channels_last: bool) -> None:
    x = torch.randn(2, 5, *sides, generator=torch.Generator().manual_seed(1))
    form = torch.channels_last_3d if channels_last else torch.contiguous_format
    network = Conv3x3x3(5, 6)
    with torch.no_grad():
        found = network(x.contiguous(memory_format=form))
    want = functional.conv3d(x.double(), network.weight.double(), network.bias.double(), padding=1)
    assert found.shape == want.shape
    assert (found - want).abs().max() < 2e-5 * want.std()


def test_layout_stays_channels_last() -> None:
    x = torch.rand(1, 8, 9, 6, 5).contiguous(memory_format=torch.channels_last_3d)
    with torch.no_grad():
        assert Conv3x3x3(8, 8)(x).is_contiguous(memory_format=torch.channels_last_3d)


def test_gradients_are_those_of_the_convolution() -> None:
    x = torch.randn(1, 3, 6, 5, 4, generator=torch.Generator().manual_seed(2))
    ours, torchs = (
        nn.Sequential(Conv3x3x3(3, 4), Conv1x1x1(4, 2)),
        nn.Sequential(nn.Conv3d(3, 4, 3, 1, 1), nn.Conv3d(4, 2, 1)),
    )
    torchs.load_state_dict(ours.state_dict())
    for network in (ours, torchs):
        network(x).square().sum().backward()
    for one, other in zip(ours.parameters(), torchs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_pointwise_is_the_convolution() -> None:
    x = torch.randn(2, 5, 3, 4, 6, generator=torch.Generator().manual_seed(3))
    network = Conv1x1x1(5, 7)
    torch.testing.assert_close(network(x), functional.conv3d(x, network.weight, network.bias), rtol=1e-4, atol=1e-5)
