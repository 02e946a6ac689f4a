"""``interp``: the stacks of each contrast fused on the canonical grid, nothing learnt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ...config import CONTRASTS
from ...imaging import fusion
from ...imaging.volume import Volume
from ...nn.method import Draw, Method


@dataclass(frozen=True)
class InterpSettings:
    """Options of ``interp``."""

    fusion: Literal["mean", "sr"] = field(
        default="sr",
        metadata={
            "help": "how stacks become one image: plain mean, or super-resolution that knows the slice profile",
            "source": "targets.md §3: the plain mean is the low-field baseline",
        },
    )


def sample(nets: Mapping[str, Any], volume: Volume, settings: InterpSettings, generator: np.random.Generator) -> Draw:
    """The fused session, (C, X, Y, Z); a contrast without stacks keeps the image it came with."""
    image = np.zeros_like(volume.image)
    for contrast in volume.contrasts:
        image[CONTRASTS.index(contrast)] = _fuse(volume, contrast, settings.fusion)
    return Draw(image, {"fusion": settings.fusion, "nfe": 0, "warnings": []})


def _fuse(volume: Volume, contrast: str, kind: str) -> np.ndarray:
    # Sums of floats depend on their order: sorted, the order in which files were found cannot change a byte.
    stacks = sorted(volume.stacks_of(contrast), key=lambda stack: stack.name)
    if not stacks:
        return volume.channel(contrast)
    if kind == "mean":
        return fusion.fuse_mean(stacks, volume.grid)
    return fusion.fuse_sr(stacks, volume.grid, mask=volume.mask)


METHOD = Method("interp", InterpSettings, "lf2hf", "nothing", sample, budgets={"sloppy": {}, "cpu": {}, "gpu": {}})
