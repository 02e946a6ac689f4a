"""Settings of ``pfsr`` by who decides them; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ...nn.method import Description
from ...nn.settings import Checked, JsonObject, setting
from ..options import AskedFusion, NetworkSampling, settings_with


@dataclass(frozen=True)
class PfsrNetwork(Checked):
    """The image that the network starts from, and what shapes it; the weights store both.

    Defaults are those of the preset ``paper``.
    """

    fusion: AskedFusion = field(
        default="mean",
        metadata=setting(
            "what is enhanced: mean, the plain mean of the stacks; sr, the super-resolved image of interp; restored, "
            "the same in the contrast of high field, given to it tissue by tissue as inr does; sharp, that with a "
            "quarter of the smoothing: noise is left to the network, and what is not applied of its change is the "
            "smooth image's",
            "docs/methods/inr.md",
        ),
    )
    width: int = field(default=64, metadata=setting("features per layer", "docs/methods/pfsr.md", least=1))
    groups: int = field(default=4, metadata=setting("residual groups", "docs/methods/pfsr.md", least=1))
    blocks: int = field(default=3, metadata=setting("blocks per group", "docs/methods/pfsr.md", least=1))
    reduction: int = field(
        default=16, metadata=setting("reduction ratio of the channel attention", "docs/methods/pfsr.md", least=1)
    )
    shuffle: int = field(
        default=1, metadata=setting("voxels a side folded into channels; 1, the published form, folds none", least=1)
    )
    attention: Literal["local", "global", "none"] = field(
        default="local",
        metadata=setting("what gates a feature: its voxel's features, their mean over the array, nothing"),
    )


@dataclass(frozen=True)
class PfsrTraining(Checked):
    """How the networks learn; the weights store it. Defaults are those of the preset ``paper``."""

    pretrain_steps: int = field(
        default=22050,
        metadata=setting(
            "steps on simulated pairs; 0 leaves them out", "150 epochs of 147 subjects, 8 patches each", least=0
        ),
    )
    finetune_steps: int = field(
        default=650,
        metadata=setting("steps on real pairs; 0 leaves them out", "50 epochs of 13 subjects, 8 patches each", least=0),
    )
    rate: float = field(
        default=1e-4, metadata=setting("learning rate on simulated pairs", "docs/methods/pfsr.md", above=0)
    )
    finetune_rate: float = field(
        default=2e-6, metadata=setting("learning rate on real pairs", "paper, section 3.2", above=0)
    )
    batch: int = field(
        default=8, metadata=setting("patches per step, each with all its contrasts", "docs/methods/pfsr.md", least=1)
    )
    patch: int = field(default=64, metadata=setting("voxels a side of a patch", "docs/methods/pfsr.md", least=16))
    ssim_weight: float = field(
        default=0.1, metadata=setting("weight of 1 − SSIM beside L1; 0 drops it", "docs/methods/pfsr.md", least=0)
    )


@dataclass(frozen=True)
class PfsrSampling(NetworkSampling):
    """Options of ``pfsr`` each time it is used."""

    strength: float = field(
        default=0.0,
        metadata=setting(
            "share of the network's change that is applied to each draw, to 1; 0: the weights' own; a network knows "
            "its own simulator too well",
            least=0,
            most=1,
        ),
    )
    contrast: Literal["auto", "none", "restored"] = field(
        default="auto",
        metadata=setting(
            "contrast of the result: restored, that of high field tissue by tissue, as inr does; none, that of the "
            "scan, given back where the network started from another; auto, as the weights ask for, and else as the "
            "network left it",
            "docs/methods/inr.md",
        ),
    )
    window: int = field(
        default=0,
        metadata=setting(
            "voxels a side that are enhanced at once, to save memory; 0: the whole brain; the same result", least=0
        ),
    )
    noise: float = field(
        default=0.5,
        metadata=setting("fresh noise of each draw, as a multiple of the scan's; 0: only flips and shifts", least=0),
    )


@dataclass(frozen=True)
class PfsrSettings(PfsrSampling, PfsrTraining, PfsrNetwork):
    """All settings of ``pfsr`` together, for its functions."""


PRESETS: Mapping[str, JsonObject] = {
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


def resolve(sampling: PfsrSampling, stored: JsonObject) -> PfsrSettings:
    """The settings in use with weights that store ``stored``.

    ``strength`` 0 and ``contrast`` auto are replaced by what the weights store, if anything.
    """
    strength = sampling.strength or stored.get("strength", 0.0)
    contrast = stored.get("contrast", "auto") if sampling.contrast == "auto" else sampling.contrast
    return settings_with(ABOUT, replace(sampling, strength=strength, contrast=contrast), stored)
