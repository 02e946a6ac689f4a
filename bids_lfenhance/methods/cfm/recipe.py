"""Settings of ``cfm``, how it is trained, and its record."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...config import CONTRASTS
from ...errors import InputError
from ...imaging.volume import Volume
from ...nn.method import Draw, Learning, Method, Phase, Stage
from ..options import CONTRAST, FUSION, PRECISION, WEIGHTS, AskedContrast, AskedFusion, Precision, as_trained, told

if TYPE_CHECKING:
    import torch

    from ...nn.method import Batch, Nets


@dataclass(frozen=True)
class CfmSettings:
    """Options of ``cfm``; the defaults are the ``paper`` preset's. Those of the network come from the weights."""

    weights: str = field(default="auto", metadata=WEIGHTS)
    device: str = field(default="cpu", metadata=told("where the network runs; the app's --device"))
    precision: Precision = field(default="bf16", metadata=PRECISION)
    fusion: AskedFusion = field(default="mean", metadata=FUSION)
    mode: Literal["mean", "sample"] = field(
        default="mean",
        metadata=told(
            "mean: the conditional mean, one call of the network; sample: one possible image a draw, whose spread over "
            "16 draws or so is the uncertainty",
            "methods.md §5",
        ),
    )
    steps: int = field(
        default=16,
        metadata=told("steps from source to image with mode sample; fewer than 16: too little spread", "methods.md §5"),
    )
    solver: Literal["heun", "euler"] = field(
        default="heun",
        metadata=told("how a step is taken: euler, the published, needs twice as many", "methods.md §5"),
    )
    strength: float = field(
        default=0.0,
        metadata=told(
            "share of the change that is applied with mode mean, to 1; 0: the weights' own, and in training all of it: "
            "a network knows its own simulator too well"
        ),
    )
    contrast: AskedContrast = field(default="auto", metadata=CONTRAST)
    noise_corr_z: float = field(
        default=0.5, metadata=told("correlation of the noise of neighbouring slices, against flicker", "methods.md §5")
    )
    slices_at_once: int = field(
        default=16, metadata=told("slices through the network at once, to bound the memory; the same result")
    )
    source: Literal["noise", "lf"] = field(
        default="noise",
        metadata=told("where the way starts: noise, or low field with a little noise", "paper §2.1", by="network"),
    )
    spread: float = field(
        default=0.2, metadata=told("SD of the noise on low field with source lf", "methods.md §5", by="network")
    )
    plane: Literal["axial", "coronal", "sagittal"] = field(
        default="axial", metadata=told("plane of the slices", by="network")
    )
    n_ctx: int = field(
        default=1, metadata=told("slices shown on either side of a slice", "methods.md §5", by="network")
    )
    se: bool = field(
        default=True, metadata=told("squeeze-and-excitation in the residual blocks", "paper §2.2", by="network")
    )
    multiscale: bool = field(
        default=True, metadata=told("several kernel sizes at the input; off: one of 3 x 3", "paper §2.2", by="network")
    )
    transformer: bool = field(
        default=True, metadata=told("self-attention at the bottom of the U-Net", "paper §2.2", by="network")
    )
    pool: Literal["shuffle", "max"] = field(
        default="shuffle",
        metadata=told(
            "pixel (un)shuffle between levels; max: max-pooling, transposed convolutions", "paper §2.2", by="network"
        ),
    )
    base: int = field(default=32, metadata=told("features at full resolution", "methods.md §5", by="network"))
    bottleneck: int = field(
        default=224,
        metadata=told("features at the bottom; 224 is next to the published number of parameters", by="network"),
    )
    shuffle: int = field(
        default=1, metadata=told("pixels a side folded into features; 1, the published form, folds none", by="network")
    )
    anchor: float = field(
        default=0.0,
        metadata=told(
            "SD of high less low field that the velocity is told relative to; 0, as published: relative to nothing",
            by="network",
        ),
    )
    train_steps: int = field(
        default=16150, metadata=told("training steps", "200 epochs of 323 volumes, paper §3.2", by="training")
    )
    rate: float = field(
        default=1e-4, metadata=told("learning rate, falling to a hundredth", "methods.md §5", by="training")
    )
    decay: float = field(default=1e-5, metadata=told("weight decay", "methods.md §5", by="training"))
    batch: int = field(default=4, metadata=told("patches per training step", "paper §3.2", by="training"))
    slices: int = field(default=16, metadata=told("slices learnt from in each patch", by="training"))
    patch: int = field(
        default=0,
        metadata=told(
            "pixels a side of the slices learnt from; 0: all of the brain, multiples of 16 else", by="training"
        ),
    )

    def __post_init__(self) -> None:
        """Refuses what cannot be used, with an ``InputError``."""
        least = {"steps": 1, "slices_at_once": 1, "slices": 1, "batch": 1, "shuffle": 1}
        for name, low in {**least, "n_ctx": 0, "anchor": 0, "spread": 0, "noise_corr_z": 0}.items():
            if not getattr(self, name) >= low:
                flag, found = f"--cfm-{name.replace('_', '-')}", getattr(self, name)
                raise InputError(f"Expected {flag} of at least {low}, found {found}; change it.")
        if not 0 <= self.strength <= 1:
            raise InputError(f"Expected --cfm-strength between 0 and 1, found {self.strength}; change it.")
        if not self.noise_corr_z < 1:
            raise InputError(f"Expected --cfm-noise-corr-z below 1, found {self.noise_corr_z}; choose 0.5.")
        if self.base % 8 or self.bottleneck % 8 or min(self.base, self.bottleneck) < 8:
            raise InputError(
                f"Expected --cfm-base and --cfm-bottleneck in multiples of 8, found {self.base} and {self.bottleneck}; "
                "change them."
            )


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "tiny": {
        "base": 32,
        "bottleneck": 128,
        "shuffle": 2,
        "anchor": 0.1,
        "train_steps": 2000,
        "rate": 1e-3,
        "batch": 2,
        "slices": 4,
    },
}
"""What each preset changes; "tiny": 3.0 M parameters, 92 GFLOP a step and so 184 TFLOP, half an hour on one core."""

SIDES = (160, 192, 160)
"""Voxels along x, y, z within which a brain and its margin fit, multiples of 16."""

THICK = 18
"""Slices of a patch: as many as the paper preset learns from, and a neighbour on either side."""


def used(settings: CfmSettings, weights: Mapping[str, Any]) -> CfmSettings:
    """The settings as they are in use; an ``InputError`` for what the user set and the mode has no use for."""
    usual, idle = CfmSettings(), {"mean": ("steps", "solver"), "sample": ("strength",)}[settings.mode]
    for name in idle:
        if (found := getattr(settings, name)) != getattr(usual, name):
            other = "sample" if settings.mode == "mean" else "mean"
            raise InputError(
                f"Expected --cfm-{name} with --cfm-mode {other} alone, found {found} with mode {settings.mode}, where "
                "it would have no effect; leave it out."
            )
    return replace(as_trained(settings, weights), **({"strength": 1.0} if settings.mode == "sample" else {}))


def build(settings: CfmSettings) -> "dict[str, torch.nn.Module]":
    """``velocity``: see ``network.VelocityNet``."""
    # Torch is heavy: the command line reads the settings above without it.
    from .network import VelocityNet

    s, channels = settings, len(CONTRASTS)
    condition = channels * (2 * s.n_ctx + 1) + channels
    return {
        "velocity": VelocityNet(
            channels, condition, s.base, s.bottleneck, s.shuffle, s.se, s.multiscale, s.transformer, s.pool
        )
    }


def stages(settings: CfmSettings) -> tuple[Stage, ...]:
    """One stage, on all examples there are: the rate climbs, then falls as a cosine to a hundredth (paper §3.2)."""
    sides = [settings.patch or side for side in SIDES]
    sides[("sagittal", "coronal", "axial").index(settings.plane)] = THICK
    phase = Phase("flow", ("velocity",), _losses, settings.rate, decay=settings.decay)
    # Few steps up to the full rate: Adam's moments are not worth much before.
    warmup = settings.train_steps // 40
    patch = (sides[0], sides[1], sides[2])
    return (Stage("flow", (phase,), settings.train_steps, settings.batch, patch, "all", warmup),)


def predict(nets: "Nets", batch: "Batch", settings: CfmSettings, generator: "torch.Generator") -> "torch.Tensor":
    """(B, C, X, Y, Z) high field, normalised; zero for contrasts that are not in the input."""
    from .sampler import enhance_batch

    return enhance_batch(nets, batch, settings, generator)


def prepare(volume: Volume, settings: CfmSettings) -> Mapping[str, Any]:
    """What all draws share: the trained network and its settings."""
    from .sampler import set_up

    return set_up(volume, settings)


def sample(nets: Mapping[str, Any], volume: Volume, settings: CfmSettings, generator: np.random.Generator) -> Draw:
    """One draw, from fresh noise."""
    from .sampler import draw

    return draw(nets, volume, settings, generator)


def varies(settings: CfmSettings) -> bool:
    """Whether draws differ: the conditional mean is one image."""
    return settings.mode == "sample"


def _losses(nets: "Nets", batch: "Batch", settings: Any, generator: "torch.Generator") -> "Mapping[str, torch.Tensor]":
    from .loss import losses

    return losses(nets, batch, settings, generator)


def fit(nets: Mapping[str, Any], volume: Volume, limit: int) -> Mapping[str, Any]:
    """``nets`` with no more slices at once than fit."""
    from .sampler import fit

    return fit(nets, volume, limit)


METHOD = Method(
    "cfm",
    CfmSettings,
    "lf2hf",
    "pairs",
    sample,
    budgets={"sloppy": {}, "cpu": {}, "gpu": {"slices_at_once": 96}},
    prepare=prepare,
    fit=fit,
    learning=Learning(build, stages, predict, PRESETS),
    varies=varies,
    used=used,
)
