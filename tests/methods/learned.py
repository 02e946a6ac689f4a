"""Networks of learned methods and simulators without their training, and batches for them."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.methods import get_trainable
from bids_lfenhance.nn.batch import Batch
from bids_lfenhance.nn.method import Trainable
from bids_lfenhance.nn.weights import save_weights
from bids_lfenhance.segmentation.warps import places
from bids_lfenhance.simulators.source import COMMON_MM

from ..oracle import phantom_head
from ..segmentation.heads import STRAIGHT

HIGH = {"T1w": (0.2, 0.6, 0.95), "T2w": (0.95, 0.6, 0.4), "FLAIR": (0.1, 0.9, 0.6)}
LOW = {"T1w": (0.3, 0.7, 0.85), "T2w": (0.9, 0.5, 0.45), "FLAIR": (0.2, 0.8, 0.7)}
"""Made-up means of CSF, GM, WM, far enough apart to be learnt."""


def untrained(method: Trainable[Any], settings: Any, seed: int = 0, spread: float = 0.05) -> dict[str, torch.nn.Module]:
    """The method's networks with every parameter moved a little: nothing stays at the zero it starts from."""
    torch.manual_seed(seed)
    nets = method.build(settings)
    with torch.no_grad():
        for net in nets.values():
            for parameter in net.parameters():
                parameter.add_(spread * torch.randn(parameter.shape))
    return nets


def untrained_weights(name: str, folder: Path, contrasts: tuple[str, ...] = CONTRASTS, **changes: Any) -> Path:
    """A folder of weights of the tiny preset that nobody trained."""
    method = get_trainable(name)
    settings = method.about.settings(**{**method.about.presets["tiny"], **changes})
    recipe = {"method": name, "contrasts": list(contrasts), "settings": asdict(settings)}
    return save_weights(folder, untrained(method, settings), recipe, "drawn, not learned")


def batch_of(maps: str, size: int = 24, seeds: tuple[int, ...] = (0,), missing: tuple[str, ...] = ()) -> Batch:
    """Whole phantoms as a batch: low field blurred and recoloured; which is the input, ``maps`` says."""
    if maps == "regions":
        return _painted(size, seeds)
    items = [_pair(seed, size) for seed in seeds]
    low, high, mask, to_template = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*items, strict=True))
    present = torch.tensor([[name not in missing for name in CONTRASTS]] * len(seeds))
    given, wanted = (low, high) if maps == "lf2hf" else (high, low)
    given = given * present[:, :, None, None, None]
    everything = torch.ones_like(present)
    return Batch(given, present, mask, target=wanted, wanted=everything, to_template=to_template)


def _pair(seed: int, size: int) -> tuple[np.ndarray, ...]:
    _, affine, tissue = phantom_head(size, np.random.default_rng(seed))
    mask = tissue.sum(axis=0) > 0.5
    high = np.stack([np.tensordot(HIGH[name], tissue, 1) for name in CONTRASTS]) * mask
    low = np.stack([ndimage.gaussian_filter(np.tensordot(LOW[name], tissue, 1), 1.0) for name in CONTRASTS]) * mask
    to_template = np.diag([1 / COMMON_MM] * 3 + [1]) @ affine
    return low.astype(np.float32), high.astype(np.float32), mask[None], to_template.astype(np.float32)


def _painted(size: int, seeds: tuple[int, ...]) -> Batch:
    """Phantoms with their regions, as the network of the regions gets them."""
    items = []
    for seed in seeds:
        _, affine, tissue = phantom_head(size, np.random.default_rng(seed))
        brain = tissue.sum(axis=0) > 0.5
        image = np.tensordot(HIGH["T1w"], tissue, 1)
        channel = np.where(brain, np.array([16, 2, 1])[tissue.argmax(axis=0)], 0).astype(np.uint8)
        where = places(STRAIGHT, Grid(affine, image.shape))
        items.append((image[None] / image[brain].mean(), channel[None], where))
    image, target, where = (np.stack(arrays) for arrays in zip(*items, strict=True))
    arrays = {
        "input": image.astype(np.float32),
        "target": target,
        "mask": target > 0,
        "template_coordinates": where.astype(np.float32),
    }
    fields = {key: torch.from_numpy(value) for key, value in arrays.items()}
    present = torch.ones(len(seeds), 1, dtype=torch.bool)
    return Batch(present=present, **fields)


def joined(batches: Sequence[Batch]) -> Batch:
    """The items of all of them."""
    names = [name for name, value in vars(batches[0]).items() if value is not None]
    return Batch(**{name: torch.cat([getattr(batch, name) for batch in batches]) for name in names})


def fit(
    method: Trainable[Any], settings: Any, nets: Any, batches: Sequence[Any], steps: int, rate: float
) -> list[float]:
    """The losses of plain Adam on these batches in turn, all phases of the last stage in each step."""
    phases = method.stages(settings)[-1].phases
    optimisers = [torch.optim.Adam([w for n in p.trains for w in nets[n].parameters()], rate) for p in phases]
    generator, found = torch.Generator().manual_seed(0), []
    for batch in islice(cycle(batches), steps):
        total = 0.0
        for phase, optimiser in zip(phases, optimisers, strict=True):
            optimiser.zero_grad()
            loss = torch.stack(list(phase.losses(nets, batch, settings, generator).values())).sum()
            loss.backward()
            optimiser.step()
            total += float(loss.detach())
        found.append(total)
    return found
