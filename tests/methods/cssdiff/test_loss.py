"""The loss of the slice denoiser: against a Gaussian residual, and on a toy that only tokens can tell."""

import pytest
import torch
from torch import Tensor, nn

from bids_lfenhance.methods.cssdiff import loss as loss_of_slices
from bids_lfenhance.methods.cssdiff.loss import losses, stages
from bids_lfenhance.methods.cssdiff.network import TOKEN_OFFSETS, Encoder, build
from bids_lfenhance.methods.cssdiff.settings import PRESETS, CssDiffSettings
from bids_lfenhance.nn.batch import Batch
from bids_lfenhance.nn.estimate import CHANNELS

torch.set_num_threads(1)
VARIANCE = 0.6
SMALL = CssDiffSettings(width=8, slices=6, crop=16)


class Best(nn.Module):
    """E[v | u] of a white Gaussian residual about a mean of 0.4, times ``gain``."""

    def __init__(self, gain: float = 1.0, mean: float = 0.4) -> None:
        super().__init__()
        self.gain, self.mean, self.multiple = gain, mean, 1

    def forward(self, x: Tensor, level: Tensor, tokens: Tensor) -> Tensor:
        angle = (level * torch.pi / 2)[:, None, None, None]
        a, s = torch.cos(angle), torch.sin(angle)
        slope = a * s * (1 - VARIANCE) / (a**2 * VARIANCE + s**2)
        return self.gain * (slope * (x[:, 1:2] - a * self.mean) - s * self.mean)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def a_batch(residual: Tensor, mean: Tensor | None = None, seed: int = 1) -> Batch:
    """Of residuals (B, 1, X, Y, Z) on an estimate."""
    mean = torch.rand(residual.shape, generator=seeded(seed)) if mean is None else mean
    scale = torch.full_like(mean, 0.1)
    inputs = torch.zeros(len(mean), CHANNELS, *mean.shape[2:])
    present, mask = torch.ones(len(mean), 1, dtype=torch.bool), torch.ones_like(mean, dtype=torch.bool)
    return Batch(inputs, present, mask, target=mean + scale * residual, mean=mean, scale=scale)


def gaussian(side: int = 24) -> Batch:
    return a_batch(0.4 + VARIANCE**0.5 * torch.randn(4, 1, side, side, 16, generator=seeded(3)))


def loss(net: nn.Module, batch: Batch, seed: int = 5) -> float:
    torch.manual_seed(0)
    nets = {"denoiser": net, "encoder": Encoder()}
    with torch.no_grad():
        return float(losses(nets, batch, SMALL, seeded(seed))["velocity"])


def test_the_best_network_has_the_least_loss() -> None:
    batch = gaussian()
    least = loss(Best(), batch)
    assert min(loss(Best(gain), batch) for gain in (0.5, 1.5)) > 1.02 * least
    assert loss(Best(mean=0.0), batch) > 1.02 * least
    assert loss(Best(), batch) == least, "the generator alone decides"
    assert loss(Best(), batch, seed=6) != least


def test_every_parameter_is_moved() -> None:
    torch.manual_seed(0)
    nets = build(SMALL)
    with torch.no_grad():
        for parameter in nets["denoiser"].parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=seeded(2)))
    found = losses(nets, gaussian(), SMALL, seeded(1))
    (found["velocity"] + found["slices"]).backward()
    still = [
        f"{name}.{key}"
        for name, net in nets.items()
        for key, one in net.named_parameters()
        if one.grad is None or not one.grad.any()
    ]
    assert still == []


def test_what_only_other_slices_tell_is_learned_through_the_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A residual of 1 or −1, by how bright the estimate is six slices higher up: 1 mm neighbours do not show it.

    At a level where the state itself hardly tells.
    """
    monkeypatch.setattr(loss_of_slices, "draw_levels", lambda count, _: torch.full((count,), 0.99))
    batches = []
    for seed in range(4):
        bright = (torch.rand(1, 1, 1, 1, 24, generator=seeded(seed)) < 0.5).float()
        sign = 2 * bright[..., (torch.arange(24) + TOKEN_OFFSETS[-1]).clamp(max=23)] - 1
        batches.append(a_batch(sign.expand(1, 1, 16, 16, 24), (0.2 + 0.6 * bright).expand(1, 1, 16, 16, 24)))
    torch.manual_seed(0)
    settings = CssDiffSettings(width=8, slices=8, crop=16, sgp=0, dropout=0)
    nets, generator = build(settings), seeded(7)
    optimiser = torch.optim.AdamW([one for net in nets.values() for one in net.parameters()], 5e-3)
    for step in range(60):
        optimiser.zero_grad()
        losses(nets, batches[step % 4], settings, generator)["velocity"].backward()
        optimiser.step()
    mixed = {**nets, "denoiser": OfOthers(nets["denoiser"])}
    with torch.no_grad():
        own, others = (sum(losses(n, b, settings, seeded(3))["velocity"] for b in batches) / 4 for n in (nets, mixed))
    assert own < 0.5 * others


class OfOthers(nn.Module):
    """A denoiser that is given the tokens of other slices."""

    def __init__(self, denoiser: nn.Module) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, x: Tensor, level: Tensor, tokens: Tensor) -> Tensor:
        found: Tensor = self.denoiser(x, level, tokens.roll(1, 0))
        return found


@pytest.mark.parametrize("preset", list(PRESETS))
def test_the_stage_is_as_the_settings_ask(preset: str) -> None:
    settings = CssDiffSettings(**PRESETS[preset])
    (stage,) = stages(settings)
    assert (stage.steps, stage.batch, stage.patch[2]) == (settings.train_steps, settings.batch, settings.slab)
    assert stage.phases[0].trains == ("denoiser", "encoder")
