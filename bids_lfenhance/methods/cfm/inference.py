"""``cfm``: from white noise to the residual of the estimate, along the flow."""

from functools import partial

import torch
from torch import Tensor

from ...nn.batch import Batch, required
from ...nn.estimate import SCALE
from ...nn.flow import Velocity, euler, heun, randn_like, uniform_times
from ...nn.residual import condition_of, flow_of
from ...nn.stage import Nets
from ..flow import sampler
from ..options import settings_with
from .settings import ABOUT, CfmSettings


def solve(velocity: Velocity, like: Tensor, settings: CfmSettings, generator: torch.Generator) -> tuple[Tensor, int]:
    """(r̂ as ``like``, network calls) from white noise at time 0."""
    noise = randn_like(like, generator)
    if settings.solver == "euler":
        return euler(velocity, noise, uniform_times(settings.steps)), settings.steps
    return heun(velocity, noise, uniform_times(settings.steps)), 2 * settings.steps - 1


SAMPLER = sampler(ABOUT, partial(settings_with, ABOUT), solve, keeps_level=False)
"""White noise has next to nothing over centimetres, so there draws hardly differ: what they have in common is a shift
of the level, away from high field (docs/methods/cfm.md)."""


def predict(nets: Nets, batch: Batch, settings: CfmSettings, generator: torch.Generator) -> Tensor:
    """(B, 1, X, Y, Z) float32: what validation judges, the mean of all draws, which one step of Euler gives."""
    mean, scale = required(batch.mean), required(batch.scale)
    velocity = flow_of(nets["flow"], condition_of(mean, scale, batch.input))
    residual = euler(velocity, randn_like(mean, generator), uniform_times(1))
    return (mean + scale.clamp(*SCALE) * residual).clamp(min=0) * batch.mask
