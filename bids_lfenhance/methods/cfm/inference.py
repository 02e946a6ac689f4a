"""Sampling of ``cfm``: from white noise to the residual of the estimate, along the flow."""

from functools import partial

import torch
from torch import Tensor

from ...nn.flow import Velocity, euler, heun, randn_like, uniform_times
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
"""White noise has hardly any power over centimetres, so draws hardly differ there: what they share is a shift of the
level, away from high field, which is taken out of them (docs/methods/uncertainty.md)."""
