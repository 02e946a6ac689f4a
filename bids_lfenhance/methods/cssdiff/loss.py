"""What ``cssdiff`` minimises: the squared error of v at all levels, and a contrastive loss of slices (Eq. 19)."""

import torch
from torch import Tensor

from ...nn.batch import BEYOND_BRAIN, Batch, required
from ...nn.residual import standardise
from ...nn.stage import Nets, Phase, Stage
from .diffusion import contrastive_loss, draw_levels, mix
from .network import STATE_OFFSETS, TOKEN_OFFSETS, condition_channels, neighbours, slices_of
from .settings import CssDiffSettings


def losses(nets: Nets, batch: Batch, settings: CssDiffSettings, generator: torch.Generator) -> dict[str, Tensor]:
    """``velocity`` and ``slices``, scalars: means over some slices of each item, a level and a crop for each.

    ``batch``: ``input`` (B, 17, X, Y, Z) what the estimate was made of, ``mean`` and ``scale`` (B, 1, X, Y, Z) the
    estimate, ``target`` (B, 1, X, Y, Z) high field. The encoder sees the slices whole.
    """
    costs = [_of_item(nets, batch[number : number + 1], settings, generator) for number in range(len(batch))]
    return {name: torch.stack([cost[name] for cost in costs]).mean() for name in ("velocity", "slices")}


def _of_item(nets: Nets, item: Batch, settings: CssDiffSettings, generator: torch.Generator) -> dict[str, Tensor]:
    target, mean = required(item.target), required(item.mean)
    index = _some(item.mask[0, 0], settings.slices, generator)
    low = slices_of(mean)
    around = nets["encoder"](neighbours(low, index, TOKEN_OFFSETS).flatten(0, 1)[:, None]).unflatten(
        0, (-1, len(TOKEN_OFFSETS))
    )
    contrastive = contrastive_loss(
        nets["encoder"].vector(around[:, TOKEN_OFFSETS.index(0)]),  # type: ignore[operator]
        nets["encoder"].vector(nets["encoder"](slices_of(target)[index][:, None])),  # type: ignore[operator]
    )
    kept = torch.rand(around.shape, generator=generator, device=generator.device).to(around.device) >= settings.dropout
    tokens = (around * kept / (1 - settings.dropout)).flatten(1, 2)
    x, y = (_part(side, settings.crop, generator) for side in mean.shape[2:4])
    mean, scale, inputs = mean[:, :, x, y], required(item.scale)[:, :, x, y], item.input[:, :, x, y]
    residual = neighbours(slices_of(standardise(target[:, :, x, y], mean, scale)), index, STATE_OFFSETS)
    level = draw_levels(len(index), generator).to(mean)
    noise = torch.randn(residual.shape, generator=generator, device=generator.device).to(mean)
    state, wanted = mix(residual, noise, level)
    channels = torch.cat([state, condition_channels(mean, scale, inputs, index)], dim=1)
    error = nets["denoiser"](channels, level, tokens).float() - wanted[:, STATE_OFFSETS.index(0), None]
    weight = slices_of(item.mask[:, :, x, y].float())[index][:, None] + BEYOND_BRAIN
    return {"velocity": (weight * error.square()).sum() / weight.sum(), "slices": settings.sgp * contrastive}


def _some(mask: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(count,) slices, drawn from those of a mask (X, Y, Z) with at least an eighth of its largest area."""
    area = mask.sum(dim=(0, 1))
    slices = (8 * area >= area.max()).nonzero()[:, 0]
    drawn = torch.rand(max(count, len(slices)), generator=generator, device=generator.device).argsort().to(mask.device)
    return slices[drawn[:count] % len(slices)]


def _part(side: int, wanted: int, generator: torch.Generator) -> slice:
    """Some ``wanted`` pixels of a side, or all of them if there are fewer."""
    room = max(0, side - wanted)
    start = int(torch.randint(room + 1, (), generator=generator, device=generator.device))
    return slice(start, start + min(side, wanted))


def stages(settings: CssDiffSettings) -> tuple[Stage, ...]:
    """One stage: the rate climbs for a twentieth of the steps, then falls as a cosine."""
    phase = Phase("denoise", ("denoiser", "encoder"), losses, settings.rate, betas=(0.9, 0.98), decay=1e-4)
    patch = (SIDES[0], SIDES[1], settings.slab)
    return (Stage("denoise", (phase,), settings.train_steps, settings.batch, patch, warmup=settings.train_steps // 20),)


SIDES = (160, 192)
"""Pixels within which a brain and its margin fit."""
