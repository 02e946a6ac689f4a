"""Settings of ``pfsr`` by who decides them; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ...nn.method import Description, Plain
from ...nn.settings import Checked, setting
from ..options import LearnedNetwork, LearnedSampling, settings_in_use


@dataclass(frozen=True)
class PfsrNetwork(LearnedNetwork):
    """What shapes the networks; the weights store it. Defaults are those of the preset ``paper``."""

    method: ClassVar[str] = "pfsr"

    width: int = field(default=64, metadata=setting("features per layer", "docs/methods/pfsr.md"))
    groups: int = field(default=4, metadata=setting("residual groups", "docs/methods/pfsr.md"))
    blocks: int = field(default=3, metadata=setting("blocks per group", "docs/methods/pfsr.md"))
    reduction: int = field(
        default=16, metadata=setting("features per feature of the attention", "docs/methods/pfsr.md")
    )
    shuffle: int = field(
        default=1, metadata=setting("voxels a side folded into channels; 1, the published form, folds none")
    )
    attention: Literal["local", "global", "none"] = field(
        default="local",
        metadata=setting("what gates a feature: its voxel's features, their mean over the array, nothing"),
    )


@dataclass(frozen=True)
class PfsrTraining(Checked):
    """How the networks learn; the weights store it. Defaults are those of the preset ``paper``."""

    method: ClassVar[str] = "pfsr"

    pretrain_steps: int = field(
        default=22050,
        metadata=setting("steps on simulated pairs; 0 leaves them out", "150 epochs of 147 subjects, 8 patches each"),
    )
    finetune_steps: int = field(
        default=650,
        metadata=setting("steps on real pairs; 0 leaves them out", "50 epochs of 13 subjects, 8 patches each"),
    )
    rate: float = field(default=1e-4, metadata=setting("learning rate on simulated pairs", "docs/methods/pfsr.md"))
    finetune_rate: float = field(default=2e-6, metadata=setting("learning rate on real pairs", "paper, section 3.2"))
    batch: int = field(
        default=8, metadata=setting("patches per step, each with all its contrasts", "docs/methods/pfsr.md")
    )
    patch: int = field(default=64, metadata=setting("voxels a side of a patch", "docs/methods/pfsr.md"))
    ssim_weight: float = field(
        default=0.1, metadata=setting("weight of 1 − SSIM beside L1; 0 drops it", "docs/methods/pfsr.md")
    )


@dataclass(frozen=True)
class PfsrSampling(LearnedSampling):
    """Options of ``pfsr`` each time it is used."""

    method: ClassVar[str] = "pfsr"

    window: int = field(
        default=0,
        metadata=setting(
            "voxels a side that are enhanced at once, to save memory; 0: the whole brain; the same result"
        ),
    )
    noise: float = field(
        default=0.5, metadata=setting("fresh noise of each draw, as a multiple of the scan's; 0: only flips and shifts")
    )


@dataclass(frozen=True)
class PfsrSettings(PfsrSampling, PfsrTraining, PfsrNetwork):
    """All settings of ``pfsr`` together, for its functions."""


PRESETS: Mapping[str, Plain] = {
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

ABOUT = Description(
    "pfsr",
    "lf2hf",
    "pairs",
    settings=PfsrSettings,
    sampling=PfsrSampling,
    network=PfsrNetwork,
    training=PfsrTraining,
    presets=PRESETS,
    budgets={"sloppy": {}, "cpu": {}, "gpu": {}},
    draws=4,
    sentence="a residual convolutional network, each contrast by itself, after PF-SR as used in",
    references=("h2lo", "rcan"),
)


def resolve(sampling: PfsrSampling, stored: Plain) -> PfsrSettings:
    """The settings as they are in use of weights that store these."""
    return settings_in_use(ABOUT, sampling, stored)
