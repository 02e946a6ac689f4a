"""The slice denoiser of the whitened residual, and its diffusion."""

import math

import pytest
import torch
from torch import Tensor

from bids_lfenhance.methods.cssdiff.denoiser import CHANNELS, CONTEXT, Encoder, SliceDenoiser
from bids_lfenhance.methods.cssdiff.diffusion import clean, contrast, draw_levels, mix, sample


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sd", [0.5, 1.0, 1.6])
def test_an_exact_gaussian_network_keeps_the_spread(sd: float) -> None:
    def exact(state: Tensor, level: float) -> Tensor:
        angle = level * math.pi / 2
        a, s = math.cos(angle), math.sin(angle)
        return state * a * s * (1 - sd**2) / (a**2 * sd**2 + s**2)

    noise = torch.randn(20000, generator=seeded(1), dtype=torch.float64)
    assert float(sample(exact, noise, 8).std() / noise.std()) == pytest.approx(sd, rel=0.02)


def test_state_and_v_give_the_residual_back() -> None:
    residual, noise = torch.randn(2, 3, 4, 4, generator=seeded(2), dtype=torch.float64)
    for level in (0.0, 0.3, 0.9):
        state, v = mix(residual, noise, torch.full((3,), level, dtype=torch.float64))
        torch.testing.assert_close(clean(state, v, level), residual)


def test_every_level_is_trained() -> None:
    counts = torch.histc(draw_levels(20000, "cpu", seeded(3)), 10, 0, 1)
    assert counts.sum() == 20000
    assert counts.min() > 400


def test_slices_are_told_apart_when_vectors_match_their_own() -> None:
    vectors = torch.eye(6)
    assert contrast(vectors, vectors) < 0.01
    assert contrast(vectors, vectors.roll(1, 0)) > 5


@pytest.fixture
def network() -> SliceDenoiser:
    torch.manual_seed(4)
    net = SliceDenoiser((8, 16, 16)).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net


def test_the_order_of_tokens_is_nothing_and_their_slice_is_something(network: SliceDenoiser) -> None:
    x = torch.randn(3, CHANNELS, 16, 8, generator=seeded(5))
    slices = torch.randn(3 * len(CONTEXT), 1, 16, 8, generator=seeded(6))
    tokens = Encoder().eval()(slices).reshape(3, -1, 128).detach()
    level = torch.tensor([0.2, 0.5, 0.8])
    with torch.no_grad():
        found = network(x, level, tokens)
        torch.testing.assert_close(network(x, level, tokens.flip(1)), found, rtol=1e-4, atol=1e-4)
        assert (network(x, level, tokens.roll(1, 0)) - found).abs().max() > 1e-2


def test_slices_do_not_depend_on_their_batch(network: SliceDenoiser) -> None:
    x = torch.randn(4, CHANNELS, 8, 8, generator=seeded(7))
    tokens = torch.randn(4, 16, 128, generator=seeded(8))
    level = torch.full((4,), 0.4)
    with torch.no_grad():
        alone = torch.cat([network(x[i : i + 1], level[:1], tokens[i : i + 1]) for i in range(4)])
        torch.testing.assert_close(network(x, level, tokens), alone, rtol=1e-4, atol=1e-4)


def test_weights_fit_in_fifteen_megabytes() -> None:
    parameters = sum(p.numel() for net in (SliceDenoiser(), Encoder()) for p in net.parameters())
    assert 2 * parameters <= 15e6
