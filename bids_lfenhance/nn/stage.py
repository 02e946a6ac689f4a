"""A training in parts: what each learns from, which networks its phases update, and what they minimise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch

from .batch import Batch

Nets: TypeAlias = Mapping[str, torch.nn.Module]
"""Networks by name."""

Losses: TypeAlias = Callable[[Nets, Batch, Any, torch.Generator], Mapping[str, torch.Tensor]]
"""Losses by name, scalars, of a batch: networks, batch, settings of the method, randomness."""


@dataclass(frozen=True)
class Phase:
    """What one optimiser does in every step of a stage.

    ``trains`` names the networks it updates; ``losses(nets, batch, settings, generator)`` returns weighted scalars by
    name, whose sum is minimised; ``rate`` is the peak learning rate of Adam, with ``betas`` and decoupled ``decay``;
    ``clip`` bounds the norm of the gradient.
    """

    name: str
    trains: tuple[str, ...]
    losses: Losses
    rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    decay: float = 0.0
    clip: float = 1.0


@dataclass(frozen=True)
class Stage:
    """A part of a training: its phases alternate in every step.

    ``data`` is what it learns from: "simulated", "pairs", "labels" or "all"; where there is none of it, everything
    there is. ``steps`` optimiser steps; ``batch`` patches a step over all processes; ``patch`` (3,) voxels of the
    canonical grid; the rate climbs over ``warmup`` steps and falls as a cosine to ``floor`` times its peak.
    """

    name: str
    phases: tuple[Phase, ...]
    steps: int
    batch: int
    patch: tuple[int, int, int]
    data: Literal["simulated", "pairs", "labels", "all"] = "all"
    warmup: int = 0
    floor: float = 0.01
