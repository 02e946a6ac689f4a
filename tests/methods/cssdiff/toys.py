"""Textured toy heads for what the guides of ``cssdiff`` learn, and a training without the loop (methods.md §1.4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from bids_lfenhance.methods.cssdiff.loss import stages
from bids_lfenhance.methods.cssdiff.settings import CssDiffSettings
from bids_lfenhance.nn.batch import Batch

FARTHEST = 3
"""Slices that a toy's low field is moved against its high field, at most."""


@dataclass(frozen=True)
class Toy:
    """A session in one contrast, and the k for which its low field's slice i is high field's slice i − k."""

    batch: Batch
    shift: int


@dataclass(frozen=True)
class Texture:
    """``grain`` (3,) SD in voxels, its ``depth``, and how bright the three tissues are under it."""

    grain: tuple[float, float, float] = (2.5, 0.7, 1.0)
    depth: float = 0.12
    tissues: tuple[float, float, float] = (0.25, 0.55, 0.8)


FINE = Texture()
STRIPED = Texture((12.0, 2.0, 1.0), 0.25, (0.4, 0.5, 0.6))
"""A block's stripes go on beyond it: by what is around it one sees that it was turned, and how it should lie."""


def toy(seed: int, slices: int = 48, side: int = 64, shifted: bool = True, texture: Texture = FINE) -> Toy:
    """A blob of three tissues with grain along one axis; low field is recoloured, blurred, noisy and moved."""
    rng = np.random.default_rng(seed)
    room = FARTHEST + 1
    shape = (side, side, slices + 2 * room)
    coarse = ndimage.gaussian_filter(rng.normal(size=shape), (side / 10, side / 10, 1.8))
    grain = ndimage.gaussian_filter(rng.normal(size=shape), texture.grain)
    coarse, grain = coarse / coarse.std(), grain / grain.std()
    tissue = np.stack([coarse < -0.5, (coarse >= -0.5) & (coarse < 0.5), coarse >= 0.5]).astype(float)
    high = np.tensordot(texture.tissues, tissue, 1) + texture.depth * grain
    low = np.tensordot([0.3, 0.75, 0.6], tissue, 1) + 0.06 * grain
    low = ndimage.gaussian_filter(low, (1.2, 1.2, 1.2)) + 0.03 * rng.normal(size=shape)
    x, y = np.meshgrid(*[np.linspace(-1, 1, side)] * 2, indexing="ij")
    inside = np.repeat((x**2 / 0.85 + y**2 < 0.95)[:, :, None], slices, axis=2)
    shift = int(rng.integers(-FARTHEST, FARTHEST + 1)) if shifted else 0
    high = high[:, :, room : room + slices] * inside
    low = low[:, :, room - shift : room - shift + slices] * inside
    return Toy(_batch(low, high, inside), shift)


def _batch(low: np.ndarray, high: np.ndarray, inside: np.ndarray) -> Batch:
    images = np.zeros((2, 1, 3, *inside.shape), np.float32)
    images[:, 0, 0] = low.clip(0, 1), high.clip(0, 1)
    known = torch.tensor([[True, False, False]])
    low_field, high_field = torch.from_numpy(images)
    mask = torch.from_numpy(inside[None, None].copy())
    return Batch(low_field, known, mask, target=high_field, wanted=known)


def learn(stage_names: Sequence[str], settings: CssDiffSettings, nets: dict, batches: Sequence[Batch]) -> None:
    """The networks, trained by these stages: their phases, steps and rates, each step on one batch, in turn."""
    generator = torch.Generator().manual_seed(0)
    for stage in stages(settings):
        if stage.name not in stage_names:
            continue
        moving = {phase.name: [w for name in phase.trains for w in nets[name].parameters()] for phase in stage.phases}
        optimisers = {p.name: torch.optim.AdamW(moving[p.name], p.rate, p.betas, weight_decay=0) for p in stage.phases}
        for step in range(stage.steps):
            batch = batches[step % len(batches)]
            for phase in stage.phases:
                for name, weights in moving.items():
                    for weight in weights:
                        weight.requires_grad_(name == phase.name)
                optimisers[phase.name].param_groups[0]["lr"] = phase.rate * (1 + np.cos(np.pi * step / stage.steps)) / 2
                optimisers[phase.name].zero_grad()
                losses = phase.losses(nets, batch, settings, generator)
                torch.stack(list(losses.values())).sum().backward()
                torch.nn.utils.clip_grad_norm_(moving[phase.name], phase.clip)
                optimisers[phase.name].step()
