"""The slice denoiser and the encoder of slices."""

import pytest
import torch

from bids_lfenhance.methods.cssdiff.network import (
    CHANNELS,
    TOKEN,
    TOKEN_OFFSETS,
    Encoder,
    SliceDenoiser,
    build,
    condition_channels,
    neighbours,
)
from bids_lfenhance.methods.cssdiff.settings import PRESETS, CssDiffSettings
from bids_lfenhance.nn.estimate import CHANNELS as INPUTS

torch.set_num_threads(1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def network() -> SliceDenoiser:
    torch.manual_seed(4)
    net = SliceDenoiser((8, 16, 16)).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net


def test_tokens_count_by_their_slice_and_their_place(network: SliceDenoiser) -> None:
    x = torch.randn(3, CHANNELS, 16, 8, generator=seeded(5))
    slices = torch.randn(3 * len(TOKEN_OFFSETS), 1, 16, 8, generator=seeded(6))
    tokens = Encoder().eval()(slices).reshape(3, -1, TOKEN).detach()
    level = torch.tensor([0.2, 0.5, 0.8])
    with torch.no_grad():
        found = network(x, level, tokens)
        assert found.shape == (3, 1, 16, 8)
        for other in (tokens.roll(1, 0), tokens.flip(1)):
            assert (network(x, level, other) - found).abs().max() > 1e-2


def test_slices_do_not_depend_on_their_batch(network: SliceDenoiser) -> None:
    x = torch.randn(4, CHANNELS, 8, 8, generator=seeded(7))
    tokens = torch.randn(4, 48, TOKEN, generator=seeded(8))
    level = torch.full((4,), 0.4)
    with torch.no_grad():
        alone = torch.cat([network(x[i : i + 1], level[:1], tokens[i : i + 1]) for i in range(4)])
        torch.testing.assert_close(network(x, level, tokens), alone, rtol=1e-4, atol=1e-4)


def test_a_crop_is_seen_as_the_whole_slice_is(network: SliceDenoiser) -> None:
    """Deep inside a crop the answer is that on the whole slice: nothing is averaged over the field."""
    x = torch.randn(1, CHANNELS, 192, 192, generator=seeded(9))
    tokens, level = torch.randn(1, 48, TOKEN, generator=seeded(8)), torch.tensor([0.4])
    with torch.no_grad():
        whole, crop = network(x, level, tokens), network(x[..., 16:176, 16:176], level, tokens)
    torch.testing.assert_close(crop[..., 72:88, 72:88], whole[..., 88:104, 88:104], rtol=1e-4, atol=1e-4)


def test_what_is_shown_of_a_slice() -> None:
    mean, scale = torch.arange(4.0).expand(1, 1, 2, 3, 4), torch.full((1, 1, 2, 3, 4), 0.1)
    found = condition_channels(mean, scale, torch.zeros(1, INPUTS, 2, 3, 4), torch.tensor([0, 2]))
    assert found.shape == (2, CHANNELS - 3, 2, 3)
    # μ of the slices before and after (the first slice is its own neighbour), its own μ, 5 σ.
    assert found[:, :4, 0, 0].tolist() == [[0, 1, 0, 0.5], [1, 3, 2, 0.5]]


def test_the_ends_are_repeated() -> None:
    assert neighbours(torch.arange(5), torch.tensor([0, 4]), (-6, 0, 1)).tolist() == [[0, 0, 1], [0, 4, 4]]


@pytest.mark.parametrize(("preset", "millions"), [("paper", 5.4), ("tiny", 1.8)])
def test_the_presets_have_the_parameters_that_are_told(preset: str, millions: float) -> None:
    with torch.device("meta"):
        nets = build(CssDiffSettings(**PRESETS[preset]))
    found = sum(parameter.numel() for net in nets.values() for parameter in net.parameters()) / 1e6
    assert found == pytest.approx(millions, abs=0.06)
