from dataclasses import replace
from typing import Any

import pytest
import torch

from bids_lfenhance.methods.cfm.network import MultiScale, SqueezeExcite, Transformer, VelocityNet, build, up
from bids_lfenhance.methods.cfm.settings import PRESETS, CfmSettings

PUBLISHED = 5_253_249
SMALL = CfmSettings(base=16, bottleneck=32)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def network(settings: CfmSettings = SMALL, spread: float = 0.0) -> VelocityNet:
    torch.manual_seed(0)
    net = build(settings)["velocity"]
    assert isinstance(net, VelocityNet)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(spread * torch.randn(parameter.shape))
    return net


def count(settings: CfmSettings) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(settings)["velocity"].parameters())


def inputs(n: int, *sides: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    state, condition = (torch.randn(n, channels, *sides, generator=generator) for channels in (3, 12))
    return state, condition, torch.rand(n, generator=generator)


def test_the_paper_preset_is_of_the_published_size() -> None:
    assert count(CfmSettings(**PRESETS["paper"])) == pytest.approx(PUBLISHED, rel=0.05)


def test_the_tiny_preset_may_be_bundled_and_is_learnt_in_half_an_hour_on_one_core() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    settings = CfmSettings(**PRESETS["tiny"])
    assert count(settings) <= 8_000_000
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        state, condition, time = (torch.zeros(1, *shape) for shape in ((3, 160, 192), (12, 160, 192), ()))
        build(settings)["velocity"](state, condition, time)
    learnt = 3 * counter.get_total_flops() * settings.batch * settings.slices * settings.train_steps
    assert learnt < 30 * 60 * 125e9


@pytest.mark.parametrize("shuffle", [1, 2])
def test_shapes_and_a_start_at_zero(shuffle: int) -> None:
    net = network(replace(SMALL, shuffle=shuffle))
    sides = (2 * net.multiple, 3 * net.multiple)
    found = net(*inputs(2, *sides))
    assert found.shape == (2, 3, *sides)
    assert not found.any()


@pytest.mark.parametrize(
    ("changes", "gone"),
    [({"se": False}, SqueezeExcite), ({"multiscale": False}, MultiScale), ({"transformer": False}, Transformer)],
)
def test_parts_can_be_left_out(changes: dict[str, Any], gone: type) -> None:
    net = network(replace(SMALL, **changes))
    assert any(isinstance(part, gone) for part in network().modules())
    assert not any(isinstance(part, gone) for part in net.modules())
    assert net(*inputs(1, 16, 16)).shape == (1, 3, 16, 16)


def test_max_pooling_in_place_of_shuffling() -> None:
    net = network(replace(SMALL, pool="max"))
    kinds = {type(part).__name__ for part in net.modules()}
    assert {"MaxPool2d", "ConvTranspose2d"} <= kinds
    assert "ConvTranspose2d" not in {type(part).__name__ for part in network().modules()}
    assert net(*inputs(1, 16, 16)).shape == (1, 3, 16, 16)


def test_upsampling_starts_without_a_chequerboard() -> None:
    found = up(8, 4, "shuffle")(torch.randn(1, 8, 6, 6))
    blocks = found.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2)
    torch.testing.assert_close(blocks, blocks[..., :1].expand_as(blocks))
    assert found.std() > 0.1


@pytest.mark.parametrize("which", [0, 1, 2])
def test_state_condition_and_time_are_all_seen(which: int) -> None:
    net, given = network(spread=0.1), list(inputs(1, 16, 16))
    before = net(*given)
    given[which] = given[which] + 0.3
    assert (net(*given) - before).abs().max() > 1e-3


def test_slices_do_not_see_each_other() -> None:
    net, (state, condition, time) = network(spread=0.1), inputs(3, 16, 24)
    together = net(state, condition, time)
    for one in range(3):
        part = slice(one, one + 1)
        torch.testing.assert_close(net(state[part], condition[part], time[part]), together[part], atol=1e-5, rtol=0)
