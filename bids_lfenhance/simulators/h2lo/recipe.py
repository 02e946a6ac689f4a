"""Settings of ``h2lo``, how it is trained (a method from high to low field), and its record as a simulator."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...config import CONTRASTS
from ...imaging.grid import Grid
from ...imaging.volume import Stack, Volume
from ...nn.method import Draw, Learning, Method, Phase, Stage
from ..presets import Preset
from ..simulator import Record, Simulator, random_motion, rows, told
from ..source import HighField

if TYPE_CHECKING:
    import torch

    from ...nn.method import Batch, Nets


@dataclass(frozen=True)
class H2loSettings:
    """Options of ``h2lo`` as a method to be trained; the defaults are the ``paper`` preset's."""

    weights: str = field(default="auto", metadata=told("folder, .safetensors file or registry name; auto: the bundled"))
    device: str = field(default="cpu", metadata=told("where the networks run; the app's --device"))
    contrast: Literal["all", "T1w", "T2w", "FLAIR"] = field(
        default="all", metadata=told("which operators are trained; each contrast has its own", "paper §3.1")
    )
    features: int = field(default=128, metadata=told("basis functions P; all widths follow", "paper §3.1"))
    no_siren: bool = field(default=False, metadata=told("a trunk of ReLU instead of sines", "paper Fig. 2(c)"))
    no_trunk: bool = field(default=False, metadata=told("no basis over space: one linear head", "methods.md §4.1"))
    lambda_grad: float = field(default=1.0, metadata=told("weight of the derivatives' loss; 0 drops it", "§4.1"))
    gauss_sigma: float = field(default=1.0, metadata=told("σ of the derivatives' kernel, voxels", "paper §3.1"))
    voxels: int = field(default=8000, metadata=told("random voxels of L1 in each patch", "paper §3.1"))
    block: int = field(default=48, metadata=told("voxels a side of the block whose derivatives are compared"))
    steps: int = field(
        default=52000, metadata=told("training steps", "paper §3.1: 500 epochs, of 13 subjects, 8 patches each")
    )
    rate: float = field(default=1e-4, metadata=told("learning rate, falling to a hundredth", "paper §3.1"))
    batch: int = field(default=1, metadata=told("patches per step, each with all its contrasts"))
    patch: int = field(default=96, metadata=told("voxels a side of a patch", "methods.md §4.1"))


NETWORK = ("features", "no_siren", "no_trunk")
"""The settings that shape the networks: with trained weights they are the weights'."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "tiny": {"patch": 36, "block": 20, "steps": 400, "rate": 5e-4},
}
"""What each preset changes; "tiny" trains the published networks on two cores in a quarter of an hour."""


def build(settings: H2loSettings) -> "dict[str, torch.nn.Module]":
    """One ``network.Operator`` for each contrast, by its name."""
    # Torch is heavy: the command line reads the settings above without it.
    from .network import Operator

    wanted = CONTRASTS if settings.contrast == "all" else (settings.contrast,)
    return {name: Operator(settings.features, not settings.no_siren, not settings.no_trunk) for name in wanted}


def stages(settings: H2loSettings) -> tuple[Stage, ...]:
    """One stage on pairs, in which every contrast's operator has its own phase: they share nothing."""
    wanted = CONTRASTS if settings.contrast == "all" else (settings.contrast,)
    phases = tuple(Phase(name, (name,), partial(_losses, name), settings.rate) for name in wanted)
    return (Stage("operator", phases, settings.steps, settings.batch, (settings.patch,) * 3, "pairs"),)


def predict(nets: "Nets", batch: "Batch", settings: H2loSettings, generator: "torch.Generator") -> "torch.Tensor":
    """(B, C, X, Y, Z) low field, normalised; zero for contrasts without high field or without an operator."""
    from .operate import degrade_batch

    return degrade_batch(nets, batch)


def prepare(volume: Volume, settings: H2loSettings) -> Mapping[str, Any]:
    """The trained operators and where the head lies in common space."""
    from .operate import set_up

    return set_up(volume, settings)


def sample(nets: Mapping[str, Any], volume: Volume, settings: H2loSettings, generator: np.random.Generator) -> Draw:
    """The low field of a high-field volume; nothing in it is random."""
    from .operate import degrade

    return degrade(nets, volume, settings)


def _losses(
    name: str, nets: "Nets", batch: "Batch", settings: Any, generator: "torch.Generator"
) -> "Mapping[str, torch.Tensor]":
    from .loss import losses

    return losses(name, nets, batch, settings, generator)


METHOD = Method(
    "h2lo",
    H2loSettings,
    "hf2lf",
    "pairs",
    sample,
    budgets={"sloppy": {}, "cpu": {}, "gpu": {}},
    prepare=prepare,
    learning=Learning(build, stages, predict, PRESETS),
)


@dataclass(frozen=True)
class SimulateSettings:
    """Options of ``h2lo`` as a simulator."""

    weights: str = field(default="auto", metadata=told("folder, .safetensors file or registry name; auto: the bundled"))
    motion_mm: float = field(default=0.8, metadata=told("motion between stacks: shift along each axis, mm, SD"))
    motion_deg: float = field(default=0.8, metadata=told("motion between stacks: turn about each axis, degrees, SD"))
    snr: float = field(
        default=0.0,
        metadata=told("white-matter SNR of Rician noise that is added; 0, the published form, adds none"),
    )


@dataclass(frozen=True)
class Learnt(Record):
    """Which operator made the stack (``weights`` as asked for, ``sha256`` of the file), and the noise put on it.

    ``trained_on`` whom the operator has seen: what learns from the stack must not be tested on them.
    """

    weights: str
    sha256: str
    snr: float
    seed: int
    trained_on: tuple[str, ...] = ()


def _draw(source: HighField, preset: Preset, settings: SimulateSettings, generator: np.random.Generator) -> Learnt:
    """Motion and the seed of the noise: all that is random about a map that was learnt."""
    from .operate import weights_for

    motion = random_motion(generator, settings.motion_mm, settings.motion_deg, source.grid.corners().mean(axis=0))
    seed = int(generator.integers(2**63))
    loaded = weights_for(settings.weights, (source.contrast,))
    made_by = (str(settings.weights), loaded.sha256, settings.snr, seed, tuple(loaded.trained_on))
    return Learnt(source.contrast, preset.plane, rows(motion), *made_by)


def _apply(source: HighField, geometry: Grid, record: Learnt) -> Stack:
    """The operator's low field of this head, read at the voxels of the stack."""
    from .operate import apply

    return apply(source, geometry, record)


SIMULATOR = Simulator("h2lo", SimulateSettings, Learnt, _draw, _apply, fused=True)
