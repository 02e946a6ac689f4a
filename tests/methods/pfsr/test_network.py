from typing import Any

import pytest
import torch

from bids_lfenhance.methods.pfsr.network import PfsrNet

WIDTH = 8


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def network(**changes: Any) -> PfsrNet:
    torch.manual_seed(0)
    settings = {"width": WIDTH, "groups": 1, "blocks": 1, "reduction": 4, "shuffle": 2, "attention": "local"} | changes
    return PfsrNet(**settings)


def stirred(net: PfsrNet) -> PfsrNet:
    """Every parameter moved: an answer that differs from the input."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return net


@pytest.mark.parametrize("shuffle", [1, 2])
@pytest.mark.parametrize("sides", [(16, 17, 19), (20, 16, 18)])
def test_untrained_it_returns_what_it_was_given(shuffle: int, sides: tuple[int, int, int]) -> None:
    image = torch.rand(2, 1, *sides)
    torch.testing.assert_close(network(shuffle=shuffle)(image, torch.tensor([0, 2])), image)


def test_it_reaches_as_far_as_it_says_and_no_further() -> None:
    """A change at one voxel is felt up to the reach: windows with that much around them are exact."""
    for shuffle in (1, 2):
        net = stirred(network(shuffle=shuffle))
        side = 2 * net.reach + 10
        image = torch.rand(1, 1, side, 16, 16)
        other = image.clone()
        other[0, 0, 0] += 1.0
        moved = (net(image, torch.tensor([0])) - net(other, torch.tensor([0]))).abs().amax(dim=(0, 1, 3, 4))
        far = int(moved.nonzero().max())
        assert far <= net.reach
        assert far >= net.reach - shuffle


def test_contrasts_are_told_apart() -> None:
    net = stirred(network())
    image = torch.rand(1, 1, 16, 16, 16)
    first, second = (net(image, torch.tensor([contrast])) for contrast in (0, 1))
    assert (first - second).abs().max() > 1e-3


def test_global_attention_sees_everything_and_local_does_not() -> None:
    image = torch.rand(1, 1, 48, 16, 16)
    other = image.clone()
    other[0, 0, :4] += 1.0
    for attention, felt in (("global", True), ("local", False), ("none", False)):
        net = stirred(network(attention=attention))
        moved = (net(image, torch.tensor([0])) - net(other, torch.tensor([0]))).abs()[0, 0, -8:].max()
        assert bool(moved > 1e-7) is felt
