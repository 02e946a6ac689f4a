import itertools

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bids_lfenhance.methods.bridge.network import (
    Attention,
    Block,
    Linear,
    Swin,
    UNet,
    build,
    mp_cat,
    mp_silu,
    mp_sum,
    unit,
)
from bids_lfenhance.methods.bridge.settings import PRESETS, BridgeSettings


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def rms(x: torch.Tensor) -> float:
    return float(x.detach().square().mean().sqrt())


def count(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize(
    ("width", "blocks", "millions", "teraflops"), [(64, 2, 63.0, 4.02), (64, 1, 45.3, 3.03), (32, 2, 15.7, 1.01)]
)
def test_parameters_and_work_of_the_published_sizes(width: int, blocks: int, millions: float, teraflops: float) -> None:
    """methods.md §2.1, for windows of 128 × 128 × 32 voxels."""
    with torch.device("meta"):
        net = UNet(9, 3, width, 4, blocks, True, 1, False).eval()
        with FlopCounterMode(display=False) as counted:
            net(torch.empty(1, 9, 128, 128, 32), torch.empty(1))
    assert count(net) / 1e6 == pytest.approx(millions, rel=0.005)
    assert counted.get_total_flops() / 1e12 == pytest.approx(teraflops, rel=0.005)


def test_size_and_work_of_the_tiny_networks() -> None:
    """Those of the paper's, 72.9 and 63.0 M parameters, are counted by tests/methods/test_learned_contract.py."""
    with torch.device("meta"):
        tiny = build(BridgeSettings(**PRESETS["tiny"]))
        with FlopCounterMode(display=False) as counted:
            tiny["prior"].eval()(torch.empty(1, 9, 48, 48, 48), torch.empty(1))
    assert sum(map(count, tiny.values())) <= 8e6
    assert counted.get_total_flops() / 48**3 < 120e3, "floating-point operations for each voxel of a window"


def test_layers_keep_the_magnitude() -> None:
    x, y = torch.randn(2, 40, 12, 12, 12).unbind(0)
    x, y = x[None], y[None]
    assert rms(mp_silu(x)) == pytest.approx(1, abs=0.01)
    assert rms(mp_sum(x, y)) == pytest.approx(1, abs=0.01)
    joined = mp_cat(x, y[:, :10])
    assert rms(joined) == pytest.approx(1, abs=0.02)
    assert joined[:, :40].square().sum() == pytest.approx(float(joined[:, 40:].square().sum()), rel=0.05)
    assert rms(unit(5 * x)) == pytest.approx(1, abs=1e-3)
    inner = (slice(None), slice(None), *(slice(1, -1),) * 3)
    for kernel in (1, 3):
        assert rms(Linear(40, 64, kernel)(x)[inner]) == pytest.approx(1, abs=0.05)
    assert rms(Linear(40, 64, 0)(torch.randn(500, 40))) == pytest.approx(1, abs=0.05)
    # A mean over many positions is small: only what goes past keeps its magnitude.
    assert rms(Attention(40)(x)) == pytest.approx(0.7 / 0.58**0.5, abs=0.05)


def test_training_keeps_stored_weights_at_unit_length_and_changes_no_answer() -> None:
    layer = Linear(8, 5, 3)
    with torch.no_grad():
        layer.weight.mul_(torch.tensor([0.1, 1.0, 3.0, 10.0, 7.0])[:, None, None, None, None])
    x = torch.randn(1, 8, 6, 6, 6)
    before = layer.eval()(x)
    layer.train()
    torch.testing.assert_close(layer(x), before)
    torch.testing.assert_close(layer.weight.square().mean(dim=(1, 2, 3, 4)), torch.ones(5))
    # Twice before one step back, as a phase may use it.
    (layer(x).sum() + layer(-x).square().sum()).backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("shuffle", [1, 2])
def test_features_keep_unit_magnitude_through_the_untrained_network(attention: bool, shuffle: int) -> None:
    """Unit variance in, unit variance out of every block (EDM2, §2), before the gain that starts at zero."""
    net = UNet(3, 3, 16, 3, 2, attention, shuffle, False)
    seen = []
    for block in itertools.chain(net.down, net.up):
        block.register_forward_hook(lambda module, given, found: seen.append(rms(found)))
    side = 16 * shuffle
    x, level = torch.randn(1, 3, side, side, side), torch.zeros(1)
    assert not net(x, level).any()
    with torch.no_grad():
        net.gain.fill_(1.0)
    assert rms(net(x, level)) == pytest.approx(1, abs=0.25)
    # At the lowest level, 4 positions a side, half a convolution's neighbours are the zeros beyond the border.
    assert max(seen) < 1.25
    assert min(seen) > 0.6


def test_any_sides_and_the_noise_level_is_heard() -> None:
    net = UNet(4, 2, 8, 3, 1, False, 2, False)
    with torch.no_grad():
        net.gain.fill_(1.0)
        for block in net.modules():
            if isinstance(block, Block):
                block.gain.fill_(1.0)
    x = torch.randn(2, 4, 16, 21, 19)
    quiet, loud = net(x, torch.tensor([-1.0, -1.0])), net(x, torch.tensor([-1.0, 0.5]))
    assert quiet.shape == (2, 2, 16, 21, 19)
    torch.testing.assert_close(quiet[0], loud[0])
    assert (quiet[1] - loud[1]).abs().max() > 1e-3


def test_computing_features_twice_gives_the_same_gradient() -> None:
    found = []
    for lean in (False, True):
        torch.manual_seed(3)
        net = UNet(2, 1, 8, 2, 1, True, 1, lean)
        with torch.no_grad():
            net.gain.fill_(1.0)
        net(torch.ones(1, 2, 16, 16, 16), torch.zeros(1)).square().mean().backward()
        found.append(net.down[0].second.weight.grad)
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-7)


def test_the_published_bridge_takes_any_sides_and_hears_the_level() -> None:
    net = Swin(2, 1, 12).eval()
    with torch.no_grad():
        net.swin.encoder10.tell.weight.normal_()
        x = torch.randn(1, 2, 30, 32, 32)
        quiet, loud = net(x, torch.tensor([-1.0])), net(x, torch.tensor([0.5]))
    assert quiet.shape == (1, 1, 30, 32, 32)
    assert (quiet - loud).abs().max() > 1e-4
