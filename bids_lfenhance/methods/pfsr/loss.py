"""What ``pfsr`` minimises: L1 + 0.1 (1 − SSIM) inside the brain, of each contrast on its own."""

import torch
from torch import Tensor

from ...nn.batch import Batch, required
from ...nn.ssim import masked_mean, ssim
from ...nn.stage import Nets, Phase, Stage
from .settings import PfsrSettings, PfsrTraining


def singles(batch: Batch, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """((N,) item, (N,) contrast, (N, 1, X, Y, Z) input): every contrast of every item that ``which`` (B, C) allows."""
    item, contrast = which.nonzero(as_tuple=True)
    return item, contrast, batch.input[item, contrast][:, None]


def losses(nets: Nets, batch: Batch, settings: PfsrTraining, generator: torch.Generator) -> dict[str, Tensor]:
    """``l1`` and the weighted ``ssim``, scalars: means over the items, so that a batch can be split and averaged.

    The loss of an item is the mean over its wanted contrasts; 0 without any of them, or without brain.
    """
    item, contrast, image = singles(batch, batch.live)
    target = required(batch.target)[item, contrast][:, None]
    inside = batch.mask[item]
    if not len(item):
        nothing = torch.stack([parameter.sum() for parameter in nets["enhancer"].parameters()]).sum() * 0.0
        return {"l1": nothing, "ssim": nothing}
    predicted = nets["enhancer"](image, contrast).float()
    items = len(batch.input)
    share = 1 / (items * torch.bincount(item, minlength=items)[item])
    return {
        "l1": (share * masked_mean((predicted - target).abs(), inside)).sum(),
        "ssim": settings.ssim_weight * (share * (1 - ssim(predicted, target, inside))).sum(),
    }


def stages(settings: PfsrSettings) -> tuple[Stage, ...]:
    """Simulated pairs, then real ones with a slow start and an early floor (paper, section 3.2); none of 0 steps."""
    patch = (settings.patch,) * 3
    first = Phase("enhance", ("enhancer",), losses, settings.rate)
    then = Phase("enhance", ("enhancer",), losses, settings.finetune_rate)
    # The network starts as the identity: without a warm-up, the loss doubled before it fell.
    warmup = settings.pretrain_steps // 40
    pretrain = Stage("pretrain", (first,), settings.pretrain_steps, settings.batch, patch, "simulated", warmup)
    finetune = Stage(
        "finetune", (then,), settings.finetune_steps, settings.batch, patch, "pairs", settings.finetune_steps * 4 // 50,
        0.25,
    )  # fmt: skip
    return tuple(stage for stage in (pretrain, finetune) if stage.steps)
