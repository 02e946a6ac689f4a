"""What ``pfsr`` minimises: L1 + 0.1 (1 − SSIM) inside the brain, of each contrast on its own (methods.md §4.2)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...nn.ssim import masked_mean, ssim

if TYPE_CHECKING:
    from .recipe import PfsrSettings


def singles(batch: Mapping[str, Tensor], which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """((N,) item, (N,) contrast, (N, 1, X, Y, Z) input): every contrast of every item that ``which`` (B, C) allows."""
    item, contrast = which.nonzero(as_tuple=True)
    return item, contrast, batch["input"][item, contrast][:, None]


def losses(
    nets: Mapping[str, nn.Module], batch: Mapping[str, Tensor], settings: "PfsrSettings", generator: torch.Generator
) -> dict[str, Tensor]:
    """``l1`` and the weighted ``ssim``, scalars: means over the items of what each costs by itself.

    So that a batch may be cut up and its parts averaged. An item costs the mean over its wanted contrasts; without any
    of them, or without brain, nothing.
    """
    item, contrast, image = singles(batch, batch["present"] & batch["wanted"])
    target = batch["target"][item, contrast][:, None]
    inside = batch["mask"][item]
    if not len(item):
        nothing = torch.stack([parameter.sum() for parameter in nets["enhancer"].parameters()]).sum() * 0.0
        return {"l1": nothing, "ssim": nothing}
    predicted = nets["enhancer"](image, contrast).float()
    items = len(batch["input"])
    share = 1 / (items * torch.bincount(item, minlength=items)[item])
    return {
        "l1": (share * masked_mean((predicted - target).abs(), inside)).sum(),
        "ssim": settings.ssim_weight * (share * (1 - ssim(predicted, target, inside))).sum(),
    }
