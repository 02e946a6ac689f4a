"""What the network of the regions minimises: cross-entropy and one minus the mean soft Dice (Milletari et al. 2016)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..nn.fold import fold
from .network import FOLD

VOXELS = 2
"""Of each cell, drawn for every step: neighbours teach the same, and the answers of all cost more than the network."""

SMOOTH = 25.0
"""Voxels added above and below the Dice of a region, so that one that only grazes the patch weighs little."""


def losses(
    nets: Mapping[str, nn.Module], batch: Mapping[str, Tensor], settings: Any, generator: torch.Generator
) -> dict[str, Tensor]:
    """``ce`` and ``dice``, scalars: means over the items; ``VOXELS`` of the eight in each cell are asked for."""
    target = fold(batch["target"], FOLD).long()
    voxels = torch.randperm(FOLD**3, generator=generator, device=target.device)[:VOXELS]
    likely = nets["regions"](batch["input"], batch["where"], voxels).float().log_softmax(dim=1)
    wanted = target[:, voxels]
    return {"ce": functional.nll_loss(likely, wanted), "dice": 1 - soft_dice(likely.exp(), wanted)}


def soft_dice(posterior: Tensor, target: Tensor) -> Tensor:
    """Mean over items and over the channels that an item has, of 2|P·T| / (|P| + |T|); channel 0 is none of them.

    ``posterior`` (B, C, …) in [0, 1]; ``target`` (B, …) int64 channels.
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
