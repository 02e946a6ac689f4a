"""Normalisation in place against torch's, in float64."""

import pytest
import torch
from torch import nn

from bids_lfenhance.nn import normalisation
from bids_lfenhance.nn.noise_embedding import EMBEDDING
from bids_lfenhance.nn.normalisation import in_place, normalised, voxels
from bids_lfenhance.nn.unet3d import ResidualBlock3d


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last_3d) if x.dim() == 5 else x


def with_random_weights(network: nn.Module) -> nn.Module:
    for number, parameter in enumerate(network.parameters()):
        parameter.data = drawn(*parameter.shape, seed=number)
    return network.eval()


@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize("numbers", [8, 100, 2**18])
def test_every_part_is_normalised_where_it_lies(groups: int, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalisation, "NUMBERS", numbers)
    norm = with_random_weights(nn.GroupNorm(groups, 8))
    image = drawn(1, 8, 5, 6, 7) * torch.arange(1, 9)[:, None, None, None]
    want = norm.double()(image.double())[0]
    with torch.no_grad():
        parts = list(normalised(image[0], norm.float()))
    assert len(parts) == -(-210 // max(numbers // 8, 1))
    assert (image[0] - want).abs().max() < 2e-6 * want.abs().max()
    torch.testing.assert_close(torch.cat(parts), image[0].movedim(0, -1).flatten(0, -2))


def test_a_small_variance_far_from_zero_is_exact() -> None:
    norm, image = nn.GroupNorm(1, 8), 1000 + drawn(1, 8, 32, 32, 32)
    want = norm.double()(image.double())[0]
    with torch.no_grad():
        list(normalised(image[0], norm.float()))
    assert (image[0] - want).abs().max() < 1e-3


def test_voxels_come_in_order_and_are_views_where_channels_are_last() -> None:
    norm, image = nn.GroupNorm(1, 8), drawn(1, 4, 3, 4, 5)[0]
    assert torch.equal(torch.cat(voxels(image, norm)), image.movedim(0, -1).reshape(-1, 4))
    voxels(image, norm)[0][:] = 0
    assert not image.any()


@pytest.mark.parametrize("features_in", [8, 5])
@pytest.mark.parametrize("timed", [False, True])
def test_a_block_is_the_same_with_gradients_and_without(features_in: int, timed: bool) -> None:
    block = with_random_weights(ResidualBlock3d(features_in, 8, timed))
    x, embedding = drawn(2, features_in, 6, 7, 5), drawn(2, EMBEDDING) if timed else None
    before = x.clone()
    with_gradients = block(x, embedding)
    with torch.no_grad():
        without = block(x, embedding)
    assert with_gradients.requires_grad
    torch.testing.assert_close(without, with_gradients, atol=1e-4, rtol=1e-4)
    assert torch.equal(x, before), "what came in is somebody else's"


def test_nothing_is_overwritten_that_somebody_needs() -> None:
    x = torch.zeros(1, 2, 3, 3, 3)
    assert not in_place(x)
    with torch.no_grad():
        assert in_place(x)
        assert not in_place(x.to("meta"))
        with torch.autocast("cpu", torch.bfloat16):
            assert not in_place(x)
