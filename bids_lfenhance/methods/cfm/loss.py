"""What ``cfm`` minimises: the squared error of the velocity of the residual (Lipman et al. 2023, Eq. 9)."""

import torch
from torch import Tensor

from ...nn.batch import BEYOND_BRAIN, Batch, required
from ...nn.flow import flow_pair, logit_normal_times, randn_like
from ...nn.residual import condition_of, standardise
from ...nn.stage import Nets, Phase, Stage
from .settings import CfmSettings


def losses(nets: Nets, batch: Batch, settings: CfmSettings, generator: torch.Generator) -> dict[str, Tensor]:
    """``velocity``, a scalar: each item has one time, most often in the middle of the flow.

    ``batch``: ``input`` (B, 17, X, Y, Z) what the estimate was made of, ``mean`` and ``scale`` (B, 1, X, Y, Z) the
    estimate, ``target`` (B, 1, X, Y, Z) high field.
    """
    mean, scale = required(batch.mean), required(batch.scale)
    residual = standardise(required(batch.target), mean, scale)
    time = logit_normal_times(len(batch), generator).to(mean.device)
    state, wanted = flow_pair(randn_like(residual, generator), residual, time)
    velocity = nets["flow"](torch.cat([state, condition_of(mean, scale, batch.input)], dim=1), time)
    weight = batch.mask.float() + BEYOND_BRAIN
    return {"velocity": (weight * (velocity.float() - wanted).square()).sum() / weight.sum()}


def stages(settings: CfmSettings) -> tuple[Stage, ...]:
    """One stage: the rate climbs for a sixtieth of the steps, then falls as a cosine."""
    phase = Phase("flow", ("flow",), losses, settings.rate, betas=(0.9, 0.98), decay=1e-4)
    patch = (settings.patch,) * 3
    return (Stage("flow", (phase,), settings.train_steps, settings.batch, patch, warmup=settings.train_steps // 60),)
