"""What ``fusionnet`` minimises: the error of the estimate, and apart from it the likelihood of that error."""

import torch
from torch import Tensor

from ...nn.batch import BEYOND_BRAIN, Batch, required
from ...nn.estimate import LOG_SCALE
from ...nn.stage import Nets, Phase, Stage
from ...nn.unet3d import apply_padded
from .settings import FusionNetSettings

LESION = 3.0
"""Weight of a lesion's voxel beyond that of any voxel of the brain, which is one."""

SQUARE, EDGES, SPREAD = 2.0, 0.3, 0.02
"""Shares of the squared error, of the error of forward differences, and of the likelihood, beside the L1 error."""


def losses(nets: Nets, batch: Batch, settings: FusionNetSettings, generator: torch.Generator) -> dict[str, Tensor]:
    """``l1``, ``l2``, ``edges``, ``nll``, weighted scalars, means over the items.

    ``nll`` is the negative log likelihood of a Laplace distribution of the error, which is detached, so that learning
    the scale does not change the estimate.
    """
    target = required(batch.target)
    output = apply_padded(nets["estimate"], batch.input)
    mean = batch.input[:, :1] + output[:, :1]
    log_scale = output[:, 1:2].clamp(*LOG_SCALE)
    brain = batch.mask.float()
    weight = brain * (1 + LESION * required(batch.lesions)) + BEYOND_BRAIN
    weight = weight / weight.sum(dim=(1, 2, 3, 4), keepdim=True) / len(batch)
    error = (mean - target).abs()
    steps = sum((mean.diff(dim=axis) - target.diff(dim=axis)).abs().mean() for axis in (2, 3, 4))
    return {
        "l1": (weight * error).sum(),
        "l2": SQUARE * (weight * error.square()).sum(),
        "edges": EDGES * torch.as_tensor(steps),
        "nll": SPREAD * (weight * (error.detach() * torch.exp(-log_scale) + log_scale)).sum(),
    }


def stages(settings: FusionNetSettings) -> tuple[Stage, ...]:
    """One stage: the rate climbs for a sixtieth of the steps, then falls as a cosine."""
    phase = Phase("estimate", ("estimate",), losses, settings.rate, betas=(0.9, 0.98), decay=1e-4)
    warmup = settings.train_steps // 60
    return (
        Stage("estimate", (phase,), settings.train_steps, settings.batch, settings.shape, warmup=warmup, floor=0.001),
    )
