"""What the network of the regions minimises: cross-entropy and one minus the mean soft Dice (Milletari et al. 2016)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SMOOTH = 100.0
"""Voxels added above and below the Dice of a region, so that one that only grazes the patch weighs little."""


def losses(
    nets: Mapping[str, nn.Module], batch: Mapping[str, Tensor], settings: Any, generator: torch.Generator
) -> dict[str, Tensor]:
    """``ce`` and ``dice``, scalars: means over the items."""
    logits = nets["regions"](batch["input"], batch["place"]).float()
    target = batch["target"][:, 0].long()
    likely = logits.log_softmax(dim=1)
    return {"ce": functional.nll_loss(likely, target), "dice": 1 - soft_dice(likely.exp(), target)}


def soft_dice(posterior: Tensor, target: Tensor) -> Tensor:
    """Mean over items and over the channels that an item has, of 2|P·T| / (|P| + |T|); channel 0 is none of them.

    ``posterior`` (B, C, X, Y, Z) in [0, 1]; ``target`` (B, X, Y, Z) int64 channels.
    """
    items, channels = posterior.shape[:2]
    flat, wanted = posterior.flatten(2), target.flatten(1)
    hit = torch.zeros(items, channels, device=flat.device).scatter_add(1, wanted, flat.gather(1, wanted[:, None])[:, 0])
    there = torch.zeros(items, channels, device=flat.device).scatter_add(
        1, wanted, torch.ones_like(wanted, dtype=flat.dtype)
    )
    score = (2 * hit + SMOOTH) / (flat.sum(dim=2) + there + SMOOTH)
    present = (there > 0).float()
    present[:, 0] = 0
    return (score * present).sum() / present.sum().clamp(min=1)
