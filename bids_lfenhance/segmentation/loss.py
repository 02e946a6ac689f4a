"""What the network of the regions minimises: cross-entropy and one minus the mean soft Dice (Milletari et al. 2016)."""

import torch
from torch import Tensor
from torch.nn import functional

from ..nn.batch import Batch, required
from ..nn.pixel_shuffle import pixel_unshuffle3d
from ..nn.stage import Nets, Phase, Stage
from .network import CELL
from .settings import RegionsSettings

VOXELS = 2
"""Voxels of each cell that a step draws: neighbours teach the same, and logits of all cost more than the network."""

SMOOTH = 25.0
"""Voxels added above and below the Dice of a region, so that one that only grazes the patch weighs little."""


def losses(nets: Nets, batch: Batch, settings: RegionsSettings, generator: torch.Generator) -> dict[str, Tensor]:
    """``ce`` and ``dice``, scalars: means over the items; ``VOXELS`` of the eight in each cell are evaluated."""
    target = pixel_unshuffle3d(required(batch.target), CELL).long()
    voxels = torch.randperm(CELL**3, generator=generator, device=target.device)[:VOXELS]
    likely = nets["regions"](batch.input, required(batch.template_coordinates), voxels).float().log_softmax(dim=1)
    wanted = target[:, voxels]
    return {"ce": functional.nll_loss(likely, wanted), "dice": 1 - soft_dice(likely.exp(), wanted)}


def soft_dice(posterior: Tensor, target: Tensor) -> Tensor:
    """Mean over items and over the channels that an item has, of 2|P·T| / (|P| + |T|); channel 0 is none of them.

    ``posterior`` (B, C, …) in [0, 1]; ``target`` (B, …) int64 channels.
    """
    items, channels = posterior.shape[:2]
    flat, wanted = posterior.flatten(2), target.flatten(1)
    hit = torch.zeros(items, channels, device=flat.device).scatter_add(1, wanted, flat.gather(1, wanted[:, None])[:, 0])
    size = torch.zeros(items, channels, device=flat.device).scatter_add(
        1, wanted, torch.ones_like(wanted, dtype=flat.dtype)
    )
    score = (2 * hit + SMOOTH) / (flat.sum(dim=2) + size + SMOOTH)
    present = (size > 0).float()
    present[:, 0] = 0
    return (score * present).sum() / present.sum().clamp(min=1)


def stages(settings: RegionsSettings) -> tuple[Stage, ...]:
    """One stage on images synthesised while it runs: no two steps see the same."""
    phase = Phase("regions", ("regions",), losses, settings.rate)
    return (Stage("regions", (phase,), settings.steps, settings.batch, settings.shape, "labels", settings.steps // 50),)
