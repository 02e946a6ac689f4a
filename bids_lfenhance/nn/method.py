"""One shape for every method: a record of functions, never a subclass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..imaging.volume import Volume

if TYPE_CHECKING:  # torch takes a second to import, and the command line reads these records without it
    import torch

    from .weights import Loaded

    Nets = Mapping[str, torch.nn.Module]
    Batch = Mapping[str, torch.Tensor]
    Scores = Mapping[str, float]
    Losses = Callable[[Nets, Batch, Any, torch.Generator], Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class Draw:
    """One output of a method: ``image`` (C, X, Y, Z) float32 on the volume's grid, and what there is to tell of it.

    ``record`` holds plain JSON values (losses, fitted contrast vector, warnings under the key ``"warnings"``);
    ``maps`` images of its shape beside it, by the names that the method's ``shows`` gives.
    """

    image: np.ndarray
    record: Mapping[str, Any]
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Enhanced:
    """What ``enhance`` returns.

    ``image`` (C, X, Y, Z) float32, the mean over draws; ``std`` the voxelwise SD over draws, or None for one draw;
    ``provenance`` plain JSON values: method, settings, seed, number of draws, each draw's record, seconds; ``maps`` the
    means over draws of the draws' maps.
    """

    image: np.ndarray
    std: np.ndarray | None
    provenance: Mapping[str, Any]
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Phase:
    """What one optimiser does in every step of a stage.

    ``trains`` names the networks it moves; ``losses(nets, batch, settings, generator)`` returns weighted scalars by
    name, whose sum is minimised; ``rate`` is Adam's at its height, with ``betas`` and decoupled ``decay``; ``clip``
    bounds the norm of the gradient; the phase runs in every ``every``-th step. ``means`` names networks whose running
    mean the losses also get, as ``<name>-mean``, never with a gradient.
    """

    name: str
    trains: tuple[str, ...]
    losses: "Losses"
    rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    decay: float = 0.0
    clip: float = 1.0
    every: int = 1
    means: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """A part of a training: its phases alternate in every step.

    ``data`` is what it learns from: "simulated", "pairs", "labels" or "all"; where there is none of it, everything
    there is. ``steps`` optimiser steps; ``batch`` patches a step over all processes; ``patch`` (3,) voxels of the
    canonical grid; the rate climbs over ``warmup`` steps and falls as a cosine to ``floor`` times its height, or is
    halved ``halvings`` times at even distances if there are any. What is made of whole volumes does not yet depend on
    a stage that is not ``measured``: it ends with its last weights.
    """

    name: str
    phases: tuple[Phase, ...]
    steps: int
    batch: int
    patch: tuple[int, int, int]
    data: Literal["simulated", "pairs", "labels", "all"] = "all"
    warmup: int = 0
    floor: float = 0.01
    measured: bool = True
    halvings: int = 0


@dataclass(frozen=True)
class Learning:
    """How a method is trained.

    ``build(settings)`` makes its networks, by name, randomly initialised from torch's global generator, which the
    caller seeds; ``stages(settings)`` are run in order; ``predict(nets, batch, settings, generator)`` maps a batch of
    whole volumes (the keys of a training batch but ``target``) to (B, C, X, Y, Z), for validation and for ``sample``.
    ``presets`` maps "paper", "small" or "tiny" to the settings it changes.
    What does not learn from low and high field says how: ``draw(example, shape, generator)`` makes an item of a batch,
    ``judge(nets, example, settings, device)`` gives a whole example its ``scores``, by name, the higher the better; the
    first decides which weights are kept. ``begin(nets, examples)`` sets what is counted rather than descended to, from
    the training's examples, before the first step. ``helpers(nets, settings, people)`` makes networks that only a
    training on so many people needs: they go into its checkpoints, not into the weights.
    """

    build: "Callable[[Any], dict[str, torch.nn.Module]]"
    stages: Callable[[Any], tuple[Stage, ...]]
    predict: "Callable[[Nets, Batch, Any, torch.Generator], torch.Tensor]"
    presets: Mapping[str, Mapping[str, Any]]
    draw: Callable[[Any, tuple[int, int, int], np.random.Generator], dict[str, np.ndarray]] | None = None
    judge: "Callable[[Nets, Any, Any, torch.device], Scores] | None" = None
    scores: tuple[str, ...] = ("psnr",)
    begin: "Callable[[Nets, Sequence[Any]], None] | None" = None
    helpers: "Callable[[Nets, Any, int], dict[str, torch.nn.Module]] | None" = None


def _always(settings: Any) -> bool:
    return True


@dataclass(frozen=True)
class Method:
    """A way from low field to high field, from high to low, or from an image to its regions.

    ``settings`` is the frozen dataclass of the method's own options: each field carries a default and
    ``metadata={"help": …, "source": …}``, from which the command line's ``--<name>-<field>`` is made; a field that
    takes one of few words is a ``Literal``.
    ``learns_from``: "pairs", "hf", "labels" (label maps), "scan" (``sample`` fits, then queries; no checkpoint) or
    "nothing".
    ``prepare(volume, settings)`` returns what all draws share (weights, a fused base, a fitted contrast vector), so
    that it is paid for once; ``fit(nets, volume, limit)`` returns it such that no more than ``limit`` bytes are needed,
    or raises InputError; ``sample(nets, volume, settings, generator) -> Draw`` draws once, given it as ``nets``.
    ``draws`` is how many draws ``enhance`` takes unless told otherwise; more than one only makes sense where
    ``varies(settings)``: where ``sample`` uses its generator. ``learning`` is there for what learns from pairs or high
    field. ``budgets`` maps a budget ("sloppy", "cpu", "gpu") to the settings it changes. ``shows(loaded)`` names the
    maps that draws with these weights come with, in the contrasts that the weights know, and says of each what it is
    ("Description", "Units": they go into its sidecar). ``used(settings, theirs)`` is what the settings are in use of
    weights that were trained with ``theirs``, or raises InputError; ``prepare`` hands it on as ``"settings"``.
    """

    name: str
    settings: type
    maps: Literal["lf2hf", "hf2lf", "regions"]
    learns_from: Literal["pairs", "hf", "labels", "scan", "nothing"]
    sample: Callable[[Mapping[str, Any], Volume, Any, np.random.Generator], Draw]
    draws: int = 1
    budgets: Mapping[str, Mapping[str, Any]] | None = None
    prepare: Callable[[Volume, Any], Mapping[str, Any]] | None = None
    learning: Learning | None = None
    varies: Callable[[Any], bool] = _always
    fit: Callable[[Mapping[str, Any], Volume, int], Mapping[str, Any]] | None = None
    shows: "Callable[[Loaded], Mapping[str, Mapping[str, str]]] | None" = None
    used: Callable[[Any, Mapping[str, Any]], Any] | None = None
