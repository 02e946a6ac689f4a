"""The loss of the flow against a Gaussian residual, whose best network and least loss are known."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bids_lfenhance.methods.cfm.loss import losses, stages
from bids_lfenhance.methods.cfm.settings import PRESETS, CfmSettings
from bids_lfenhance.methods.flow import build
from bids_lfenhance.nn.batch import Batch
from bids_lfenhance.nn.estimate import CHANNELS
from bids_lfenhance.nn.flow import logit_normal_times

torch.set_num_threads(1)
VARIANCE = 0.6
SIDE = 24


class Best(nn.Module):
    """E[r − n | x_t] of a white Gaussian residual about a mean of 0.4, times ``gain``."""

    def __init__(self, gain: float = 1.0, mean: float = 0.4) -> None:
        super().__init__()
        self.gain, self.mean = gain, mean

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        t = time[:, None, None, None, None]
        slope = (t * VARIANCE - (1 - t)) / (t**2 * VARIANCE + (1 - t) ** 2)
        return self.gain * (self.mean + slope * (x[:, :1] - t * self.mean))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def a_batch(count: int = 4, side: int = SIDE) -> Batch:
    shape = (count, 1, side, side, side)
    mean, scale = torch.rand(shape, generator=seeded(1)), 0.02 + 0.2 * torch.rand(shape, generator=seeded(2))
    residual = 0.4 + VARIANCE**0.5 * torch.randn(shape, generator=seeded(3))
    inputs = torch.rand(count, CHANNELS, side, side, side, generator=seeded(4))
    present, mask = torch.ones(count, 1, dtype=torch.bool), torch.ones(shape, dtype=torch.bool)
    return Batch(inputs, present, mask, target=mean + scale * residual, mean=mean, scale=scale)


def loss(net: nn.Module, batch: Batch, seed: int = 5) -> float:
    return float(losses({"flow": net}, batch, CfmSettings(), seeded(seed))["velocity"])


def test_the_best_network_has_the_least_loss_there_is() -> None:
    # Oracle: the variance of r − n given x_t, w / (t² w + (1−t)²), at the times that are drawn.
    time = logit_normal_times(4, seeded(5))
    least = float((VARIANCE / (time**2 * VARIANCE + (1 - time) ** 2)).mean())
    batch = a_batch()
    assert loss(Best(), batch) == pytest.approx(least, rel=0.02)
    assert min(loss(Best(gain), batch) for gain in (0.5, 1.5)) > 1.02 * least
    assert loss(Best(mean=0.0), batch) > 1.02 * least


def test_the_generator_alone_decides_the_loss() -> None:
    batch = a_batch(side=8)
    assert loss(Best(), batch) == loss(Best(), batch)
    assert loss(Best(), batch) != loss(Best(), batch, seed=6)


def test_what_lies_beyond_the_brain_hardly_counts() -> None:
    batch = a_batch(side=16)
    half, wild = torch.zeros_like(batch.mask), batch.target.clone()
    half[:, :, :8] = True
    wild[:, :, 8:] += 1
    right, beyond, within = (
        loss(Best(), replace(batch, mask=mask, target=target))
        for mask, target in ((half, batch.target), (half, wild), (~half, wild))
    )
    assert 0 < beyond - right < 0.1 * (within - right)


def test_every_parameter_of_the_network_is_moved() -> None:
    settings = CfmSettings(**PRESETS["tiny"])
    torch.manual_seed(0)
    nets = build(settings)
    nn.init.normal_(nets["flow"].last.weight, std=0.1)  # type: ignore[arg-type]
    losses(nets, a_batch(2, 16), settings, seeded(1))["velocity"].backward()
    still = [name for name, one in nets["flow"].named_parameters() if one.grad is None or not one.grad.any()]
    assert still == []


def test_the_stage_is_as_the_settings_ask() -> None:
    (stage,) = stages(CfmSettings(train_steps=600, batch=3, patch=64, rate=1e-3))
    assert (stage.steps, stage.batch, stage.patch, stage.warmup) == (600, 3, (64, 64, 64), 10)
    assert (stage.phases[0].trains, stage.phases[0].rate) == (("flow",), 1e-3)
