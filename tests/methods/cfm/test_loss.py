from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bids_lfenhance.methods.cfm.inference import enhance_batch
from bids_lfenhance.methods.cfm.loss import choose, flow_loss
from bids_lfenhance.methods.cfm.method import TRAINABLE
from bids_lfenhance.methods.cfm.network import build
from bids_lfenhance.methods.cfm.settings import CfmSettings
from bids_lfenhance.methods.cfm.slices import as_slices, draw_noise
from bids_lfenhance.nn.batch import Batch

from ..learned import batch_of, fit, joined, untrained

SMALL = CfmSettings(base=16, bottleneck=16, shuffle=2, anchor=0.1, slices=8)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(slices: Any, settings: CfmSettings) -> tuple[Tensor, Tensor, Tensor]:
    index = choose(slices, settings.slices, seeded(1))
    return index, draw_noise(slices.low, 0.5, seeded(2)), torch.rand(index.shape, generator=seeded(3))


class Towards(nn.Module):
    """The velocity to a constant: (c − x_t) / (1 − t)."""

    def forward(self, state: Tensor, condition: Tensor, time: Tensor) -> Tensor:
        return (0.4 - state) / (1 - time)[:, None, None, None]


def constant_batch() -> Batch:
    """Target 0.4 in the brain and its rim, far from it elsewhere; brain in the middle; one contrast not wanted."""
    shape = (1, 3, 32, 32, 16)
    target = torch.full(shape, 0.4)
    target[:, :, :6], target[:, 1] = 50.0, 50.0
    mask = torch.zeros(1, 1, *shape[2:], dtype=torch.bool)
    mask[:, :, 10:-10, 10:-10, 4:-4] = True
    present, wanted = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[True, False, True]])
    return Batch(torch.rand(shape), present, mask, target=target, wanted=wanted)


def test_the_true_velocity_costs_nothing_and_only_the_brain_and_wanted_contrasts_count() -> None:
    settings = CfmSettings(slices=4)
    slices = as_slices(constant_batch(), settings, 8)
    index, noise, time = drawn(slices, settings)
    assert float(flow_loss(Towards(), slices, index, noise, 0.9 * time, settings)) == pytest.approx(0, abs=1e-9)
    everything = as_slices(replace(constant_batch(), wanted=torch.ones(1, 3, dtype=torch.bool)), settings, 8)
    assert float(flow_loss(Towards(), everything, index, noise, 0.9 * time, settings)) > 1


def test_a_batch_may_be_cut_up_with_what_was_drawn() -> None:
    items = [batch_of("lf2hf"), batch_of("lf2hf", seeds=(1,), missing=("T1w", "FLAIR"))]
    items[1].mask[..., :16] = False
    both = joined(items)
    net = untrained(TRAINABLE, SMALL)["velocity"]
    slices = as_slices(both, SMALL, 16)
    index, noise, time = drawn(slices, SMALL)
    whole = flow_loss(net, slices, index, noise, time, SMALL).item()
    parts = []
    for number, item in enumerate(items):
        one = slice(number, number + 1)
        parts.append(flow_loss(net, as_slices(item, SMALL, 16), index[one], noise[one], time[one], SMALL).item())
    assert whole == pytest.approx(sum(parts) / 2, rel=1e-5)
    assert parts[0] != pytest.approx(parts[1], rel=1e-2)


def test_slices_are_chosen_with_brain_and_with_their_neighbours() -> None:
    slices = as_slices(constant_batch(), CfmSettings(n_ctx=1), 8)
    for seed in range(5):
        few = choose(slices, 3, seeded(seed))
        assert few.shape == (1, 3)
        assert len(set(few[0].tolist())) == 3
        assert few.min() >= 4
        assert few.max() < 12
    assert sorted(choose(slices, 99, seeded(0))[0].tolist()) == list(range(1, 15))


def toy(seed: int, contrast: float = 0.5, noise: float = 0.1) -> Batch:
    """x_1 = ½ low + 0.3 + N(0, 0.1²): its conditional mean is known, and so is its spread."""
    low = torch.rand(1, 3, 16, 16, 16, generator=seeded(seed))
    target = contrast * low + 0.3 + noise * torch.randn(low.shape, generator=seeded(seed + 1000))
    every = torch.ones(1, 3, dtype=torch.bool)
    mask = torch.ones(1, 1, 16, 16, 16, dtype=torch.bool)
    return Batch(low, every, mask, target=target, wanted=every)


@pytest.mark.parametrize("anchor", [0.0, 0.1])
def test_a_small_network_learns_a_linear_gaussian(anchor: float) -> None:
    """Row 5 with the method's own network, short. As published it has to learn to take the source away, too."""
    settings = CfmSettings(base=16, bottleneck=16, anchor=anchor, slices=8)
    torch.manual_seed(0)
    nets = build(settings)
    losses = fit(TRAINABLE, settings, nets, [toy(seed) for seed in range(20)], steps=100, rate=5e-3)
    mean = enhance_batch(nets, toy(500).without_target(), settings, seeded(0))
    expected = toy(500, noise=0.0).target
    error, identity = ((one - expected).square().mean().item() for one in (mean, toy(500).input))
    assert sum(losses[-5:]) < sum(losses[:5]) / 1.9
    assert error < (identity / 3 if anchor else 0.25)
