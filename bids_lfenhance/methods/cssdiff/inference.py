"""Sampling of ``cssdiff``: from one noise for the whole brain to the residual of the estimate, slice by slice."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...nn.flow import Velocity, heun, randn_like
from ...nn.memory import FLOAT, choose_size, halves, peak_bytes
from ...nn.stage import Nets
from ...nn.unet3d import apply_padded
from ..estimate import ContrastEstimate
from ..options import COARSER, settings_with
from ..residual import ResidualPrepared, ResidualSampler
from .diffusion import power_schedule
from .network import (
    CHANNELS,
    GRID,
    STATE_OFFSETS,
    TOKEN,
    TOKEN_OFFSETS,
    build,
    condition_channels,
    neighbours,
    slices_of,
)
from .settings import ABOUT, CssDiffSettings

FIELDS = 64
"""Copies of a brain in float32 that are in memory at once, beside what the network needs."""


def velocity_of(nets: Nets, mean: Tensor, scale: Tensor, inputs: Tensor, at_once: int) -> Velocity:
    """The velocity du/dt of a state (Z, X, Y), slices first, at times from 0, noise, to 1.

    The denoiser is given the state of the neighbours of every slice, so that slices agree; ``at_once`` slices go
    through it together, which changes rounding only. ``mean``, ``scale``, ``inputs``: the estimate of one contrast
    and what it was made of, (1, C, X, Y, Z).
    """
    low = slices_of(mean)
    groups = torch.arange(len(low), device=low.device).split(at_once)
    tokens = torch.cat([nets["encoder"](low[index][:, None]) for index in groups])

    def velocity(state: Tensor, time: float) -> Tensor:
        parts = []
        for index in groups:
            channels = torch.cat(
                [neighbours(state, index, STATE_OFFSETS), condition_channels(mean, scale, inputs, index)], dim=1
            )
            level = torch.full((len(index),), 1 - time, device=low.device)
            context = neighbours(tokens, index, TOKEN_OFFSETS).flatten(1, 2)
            parts.append(apply_padded(nets["denoiser"], channels, level, context)[:, 0])
        return -math.pi / 2 * torch.cat(parts)

    return velocity


def draw(
    prepared: ResidualPrepared[CssDiffSettings], one: ContrastEstimate, generator: torch.Generator
) -> tuple[Tensor, int]:
    """(r̂ (1, 1, x, y, z), network calls) of one contrast, a call being that of all slices."""
    settings = prepared.settings
    velocity = velocity_of(prepared.nets, one.mean, one.scale, one.inputs, settings.slices_at_once)
    residual = heun(velocity, slices_of(randn_like(one.mean, generator)), power_schedule(settings.steps))
    return residual.movedim(0, -1)[None, None], 2 * settings.steps - 1


def fit(
    prepared: ResidualPrepared[CssDiffSettings], sides: tuple[int, ...], limit: int
) -> ResidualPrepared[CssDiffSettings]:
    """The same with as many slices at once as ``limit`` bytes allow, at most those of the settings."""
    settings = prepared.settings
    with torch.device("meta"):
        network = build(settings)["denoiser"].eval()
    multiple = int(network.multiple)  # type: ignore[arg-type]

    def needed(count: int) -> int:
        with torch.device("meta"):
            channels = torch.empty(count, CHANNELS, *(side + -side % multiple for side in sides[:2]))
            level = torch.empty(count)
            tokens = torch.empty(count, len(TOKEN_OFFSETS) * GRID**2, TOKEN)
        return FIELDS * FLOAT * int(np.prod(sides)) + peak_bytes(lambda: network(channels, level, tokens))

    count = choose_size(halves(settings.slices_at_once), needed, limit, sides, COARSER)
    return replace(prepared, settings=replace(settings, slices_at_once=count))


SAMPLER: ResidualSampler[CssDiffSettings] = ResidualSampler(ABOUT, partial(settings_with, ABOUT), build, draw, fit)
