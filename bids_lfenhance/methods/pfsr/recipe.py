"""Settings of ``pfsr``, how it is trained, and its record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...errors import InputError
from ...imaging.volume import Volume
from ...nn.method import Draw, Learning, Method, Phase, Stage
from ..options import CONTRAST, FUSION, PRECISION, WEIGHTS, AskedContrast, AskedFusion, Precision, as_trained, told

if TYPE_CHECKING:
    import torch

    from ...nn.method import Batch, Nets


@dataclass(frozen=True)
class PfsrSettings:
    """Options of ``pfsr``; the defaults are the ``paper`` preset's. Those of the network come from the weights."""

    weights: str = field(default="auto", metadata=WEIGHTS)
    device: str = field(default="cpu", metadata=told("where the network runs; the app's --device"))
    precision: Precision = field(default="bf16", metadata=PRECISION)
    fusion: AskedFusion = field(default="mean", metadata=FUSION)
    window: int = field(
        default=0,
        metadata=told("voxels a side that are enhanced at once, to save memory; 0: the whole brain; the same result"),
    )
    noise: float = field(
        default=0.5, metadata=told("fresh noise of each draw, as a multiple of the scan's; 0: only flips and shifts")
    )
    strength: float = field(
        default=0.0,
        metadata=told(
            "share of the network's change that is applied, to 1; 0: the weights' own, and in training all of it: a "
            "network knows its own simulator too well"
        ),
    )
    contrast: AskedContrast = field(default="auto", metadata=CONTRAST)
    width: int = field(default=64, metadata=told("features per layer", "methods.md §4.2", by="network"))
    groups: int = field(default=4, metadata=told("residual groups", "methods.md §4.2", by="network"))
    blocks: int = field(default=3, metadata=told("blocks per group", "methods.md §4.2", by="network"))
    reduction: int = field(
        default=16, metadata=told("features per feature of the attention", "methods.md §4.2", by="network")
    )
    shuffle: int = field(
        default=1, metadata=told("voxels a side folded into channels; 1, the published form, folds none", by="network")
    )
    attention: Literal["local", "global", "none"] = field(
        default="local",
        metadata=told("what gates a feature: its voxel's features, their mean over the array, nothing", by="network"),
    )
    pretrain_steps: int = field(
        default=22050,
        metadata=told(
            "steps on simulated pairs; 0 leaves them out", "150 epochs of 147 subjects, 8 patches each", by="training"
        ),
    )
    finetune_steps: int = field(
        default=650,
        metadata=told(
            "steps on real pairs; 0 leaves them out", "50 epochs of 13 subjects, 8 patches each", by="training"
        ),
    )
    rate: float = field(
        default=1e-4, metadata=told("learning rate on simulated pairs", "methods.md §4.2", by="training")
    )
    finetune_rate: float = field(
        default=2e-6, metadata=told("learning rate on real pairs", "paper §3.2", by="training")
    )
    batch: int = field(
        default=8, metadata=told("patches per step, each with all its contrasts", "methods.md §4.2", by="training")
    )
    patch: int = field(default=64, metadata=told("voxels a side of a patch", "methods.md §4.2", by="training"))
    ssim_weight: float = field(
        default=0.1, metadata=told("weight of 1 − SSIM beside L1; 0 drops it", "§4.2", by="training")
    )

    def __post_init__(self) -> None:
        """Refuses what cannot be used, with an ``InputError``."""
        if not 0 <= self.strength <= 1:
            raise InputError(f"Expected --pfsr-strength between 0 and 1, found {self.strength}; change it.")


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "tiny": {
        "shuffle": 2,
        "width": 32,
        "groups": 3,
        "blocks": 3,
        "reduction": 8,
        "patch": 48,
        "pretrain_steps": 2000,
        "finetune_steps": 200,
        "rate": 1e-3,
        "finetune_rate": 1e-4,
        "batch": 2,
    },
}
"""What each preset changes; "tiny" trains on two cores in half an hour."""


def build(settings: PfsrSettings) -> "dict[str, torch.nn.Module]":
    """``enhancer``: see ``network.Enhancer``."""
    # Torch is heavy: the command line reads the settings above without it.
    from .network import Enhancer

    s = settings
    if s.attention == "global" and s.window:
        raise InputError(
            f"Expected --pfsr-window 0 with global attention, which looks at the whole brain, found {s.window}; leave "
            "it out."
        )
    return {"enhancer": Enhancer(s.width, s.groups, s.blocks, s.reduction, s.shuffle, s.attention)}


def stages(settings: PfsrSettings) -> tuple[Stage, ...]:
    """Simulated pairs, then real ones with a slow start and an early floor (paper §3.2); none of 0 steps."""
    patch = (settings.patch,) * 3
    first = Phase("enhance", ("enhancer",), _losses, settings.rate)
    then = Phase("enhance", ("enhancer",), _losses, settings.finetune_rate)
    # From the identity the first steps at full rate lead astray: the loss doubled before it fell.
    warmup = settings.pretrain_steps // 40
    pretrain = Stage("pretrain", (first,), settings.pretrain_steps, settings.batch, patch, "simulated", warmup)
    finetune = Stage(
        "finetune", (then,), settings.finetune_steps, settings.batch, patch, "pairs", settings.finetune_steps * 4 // 50,
        0.25,
    )  # fmt: skip
    return tuple(stage for stage in (pretrain, finetune) if stage.steps)


def predict(nets: "Nets", batch: "Batch", settings: PfsrSettings, generator: "torch.Generator") -> "torch.Tensor":
    """(B, C, X, Y, Z) high field, normalised; zero for contrasts that are not in the input."""
    from .sampler import enhance_batch

    return enhance_batch(nets, batch, settings)


def prepare(volume: Volume, settings: PfsrSettings) -> Mapping[str, Any]:
    """What all draws share: the trained network and its settings."""
    from .sampler import set_up

    return set_up(volume, settings)


def sample(nets: Mapping[str, Any], volume: Volume, settings: PfsrSettings, generator: np.random.Generator) -> Draw:
    """One draw: flipped or shifted at random, with fresh noise, and enhanced."""
    from .sampler import draw

    return draw(nets, volume, settings, generator)


def _losses(nets: "Nets", batch: "Batch", settings: Any, generator: "torch.Generator") -> "Mapping[str, torch.Tensor]":
    from .loss import losses

    return losses(nets, batch, settings, generator)


def fit(nets: Mapping[str, Any], volume: Volume, limit: int) -> Mapping[str, Any]:
    """``nets`` with windows that fit."""
    from .sampler import fit

    return fit(nets, volume, limit)


METHOD = Method(
    "pfsr",
    PfsrSettings,
    "lf2hf",
    "pairs",
    sample,
    draws=4,
    budgets={"sloppy": {}, "cpu": {}, "gpu": {}},
    prepare=prepare,
    fit=fit,
    learning=Learning(build, stages, predict, PRESETS),
    used=as_trained,
)
