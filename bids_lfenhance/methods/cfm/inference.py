"""A session through ``cfm``: from white noise to the residual of the estimate, along the flow."""

import numpy as np
import torch
from torch import Tensor

from ...imaging.volume import Volume
from ...nn.batch import Batch, required
from ...nn.estimate import SCALE
from ...nn.flow import Velocity, euler, even_times, heun
from ...nn.method import Draw
from ...nn.residual import condition_of, flow_of
from ...nn.samplers import randn_like
from ...nn.stage import Nets
from .. import residual
from ..residual import ResidualPrepared
from .settings import CfmSampling, CfmSettings, resolve


def prepare(volume: Volume, sampling: CfmSampling) -> ResidualPrepared[CfmSettings]:
    """What all draws share."""
    prepared: ResidualPrepared[CfmSettings] = residual.load(resolve, volume, sampling)  # type: ignore[arg-type]
    return prepared


def solve(velocity: Velocity, like: Tensor, settings: CfmSettings, generator: torch.Generator) -> tuple[Tensor, int]:
    """(r̂, network calls) from white noise at time 0."""
    noise = randn_like(like, generator)
    if settings.solver == "euler":
        return euler(velocity, noise, even_times(settings.steps)), settings.steps
    return heun(velocity, noise, even_times(settings.steps)), 2 * settings.steps - 1


def sample(prepared: ResidualPrepared[CfmSettings], generator: np.random.Generator) -> Draw:
    """The estimate, and one residual around it."""
    return residual.sample(prepared, generator, solve)


def predict(nets: Nets, batch: Batch, settings: CfmSettings, generator: torch.Generator) -> Tensor:
    """(B, 1, X, Y, Z) float32: what validation judges, the mean of all draws, which one step of Euler gives."""
    mean, scale = required(batch.mean), required(batch.scale)
    velocity = flow_of(nets["flow"], condition_of(mean, scale, batch.input))
    residual = euler(velocity, randn_like(mean, generator), even_times(1))
    return (mean + scale.clamp(*SCALE) * residual).clamp(min=0) * batch.mask
