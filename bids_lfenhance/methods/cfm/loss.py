"""What ``cfm`` minimises: the squared error of the velocity about the brain (Lipman et al. 2023, Eq. 9)."""

import torch
from torch import Tensor, nn

from ...nn.batch import Batch
from ...nn.flow import flow_pair
from ...nn.stage import Nets, Phase, Stage
from .network import VelocityNet
from .path import start_from, velocity
from .settings import CfmSettings
from .slices import Slices, as_slices, draw_noise

SIDES = (160, 192, 160)
"""Voxels along x, y, z within which a brain and its margin fit, multiples of 16."""

THICK = 18
"""Slices of a patch: as many as the paper preset learns from, and a neighbour on either side."""


def losses(nets: Nets, batch: Batch, settings: CfmSettings, generator: torch.Generator) -> dict[str, Tensor]:
    """``velocity``, a scalar: the mean over items of the mean over their wanted contrasts.

    Of each patch some slices are taken, each with a time of its own, uniform in [0, 1], and its part of one noise. An
    item without wanted contrasts or without brain costs nothing.
    """
    network = nets["velocity"]
    assert isinstance(network, VelocityNet)
    slices = as_slices(batch, settings, network.multiple)
    index = choose(slices, settings.slices, generator)
    noise = draw_noise(slices.low, settings.noise_corr_z, generator)
    time = torch.rand(index.shape, generator=generator, device=generator.device).to(index.device)
    return {"velocity": flow_loss(network, slices, index, noise, time, settings)}


def choose(slices: Slices, count: int, generator: torch.Generator) -> Tensor:
    """(B, k) indices of ``count`` slices of each item at most: with all their neighbours, and with brain before others.

    Where the patch is too thin for neighbours, of all slices.
    """
    sides, reach = slices.mask.shape[2], slices.reach
    inner = range(reach, sides - reach) if sides > 2 * reach else range(sides)
    brain = slices.mask[:, 0, inner.start : inner.stop].flatten(2).any(dim=2)
    drawn = torch.rand(brain.shape, generator=generator, device=generator.device).to(brain.device)
    return (drawn + brain).topk(min(count, len(inner)), dim=1).indices + inner.start


def flow_loss(
    network: nn.Module, slices: Slices, index: Tensor, noise: Tensor, time: Tensor, settings: CfmSettings
) -> Tensor:
    """The loss of slices ``index`` (B, k) with their ``noise`` (B, C, S, U, V) at ``time`` (B, k): a scalar."""
    assert slices.high is not None
    items, count = index.shape
    live = slices.live.repeat_interleave(count, dim=0)[:, :, None, None]
    low, high = (slices.pick(field, index) for field in (slices.low, slices.high))
    start = start_from(slices.pick(noise, index), low, live, settings)
    moments = time.flatten()
    state, wanted = flow_pair(start, high * live, moments)
    found, unit = velocity(network, state, low * live, slices.condition(index), moments, settings)
    inside = slices.pick(slices.region, index)
    errors = (((found - wanted) / unit).square() * inside).unflatten(0, (items, count)).sum(dim=(1, 3, 4))  # (B, C)
    mean = errors / inside.unflatten(0, (items, count)).sum(dim=(1, 3, 4)).clamp(min=1)
    cost: Tensor = (mean * slices.live).sum(dim=1) / slices.live.sum(dim=1).clamp(min=1)
    return cost.mean()


def stages(settings: CfmSettings) -> tuple[Stage, ...]:
    """One stage, on all examples there are: the rate climbs, then falls as a cosine to a hundredth."""
    sides = [settings.patch or side for side in SIDES]
    sides[("sagittal", "coronal", "axial").index(settings.plane)] = THICK
    phase = Phase("flow", ("velocity",), losses, settings.rate, decay=settings.decay)
    # Few steps up to the full rate: Adam's moments are not worth much before.
    warmup = settings.train_steps // 40
    patch = (sides[0], sides[1], sides[2])
    return (Stage("flow", (phase,), settings.train_steps, settings.batch, patch, "all", warmup),)
