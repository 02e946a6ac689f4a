"""Settings of ``bridge`` by who decides them; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from ...errors import InputError
from ...nn.method import Description, Plain
from ...nn.settings import Checked, setting
from ..options import LearnedNetwork, LearnedSampling, settings_in_use

K = 400
"""Where the bridge crosses in the paper, section 2.3."""


@dataclass(frozen=True)
class BridgeNetwork(LearnedNetwork):
    """What shapes the networks; the weights store it. Defaults are those of the preset ``paper``."""

    method: ClassVar[str] = "bridge"

    bridge_net: Literal["swin", "unet"] = field(
        default="swin",
        metadata=setting("network of the bridge: Swin UNETR, or the one of the prior", "paper, section 2.3"),
    )
    bridge_width: int = field(default=48, metadata=setting("features of the bridge", "docs/methods/bridge.md"))
    bridge_time: bool = field(
        default=True,
        metadata=setting("tell the bridge the noise level; the paper does not say", "docs/methods/bridge.md"),
    )
    width: int = field(
        default=64, metadata=setting("features of the prior at its highest level", "docs/methods/bridge.md")
    )
    levels: int = field(default=4, metadata=setting("levels of the U-Nets", "docs/methods/bridge.md"))
    blocks: int = field(default=2, metadata=setting("blocks per level of the U-Nets", "docs/methods/bridge.md"))
    attention: bool = field(
        default=True, metadata=setting("attention at the lowest level of the U-Nets", "docs/methods/bridge.md")
    )
    shuffle: int = field(
        default=1, metadata=setting("voxels a side folded into channels; 1, the published form, folds none")
    )
    predicts: Literal["velocity", "correction"] = field(
        default="velocity",
        metadata=setting(
            "what the prior says: v, or what the image is more than the bridge's, for folded voxels, whose few "
            "features cannot hand all the noise through",
            "docs/methods/bridge.md",
        ),
    )
    lowest: int = field(
        default=250, metadata=setting("lowest noise level the bridge is trained on", "paper, section 2.3")
    )
    highest: int = field(default=750, metadata=setting("highest noise level of the training", "paper, section 2.3"))
    patch: int = field(
        default=128, metadata=setting("voxels a side of a patch, left-right and front-back", "paper, section 3")
    )
    patch_z: int = field(default=32, metadata=setting("voxels of a patch from foot to head", "paper, section 3"))
    condition_drop: float = field(
        default=0.1,
        metadata=setting(
            "chance that the prior is not shown the bridge's image; 1: never is", "docs/methods/bridge.md"
        ),
    )


@dataclass(frozen=True)
class BridgeParts(Checked):
    """What is trained, and may be chosen again in use: the weights store it, the user may change it."""

    mode: Literal["auto", "mean", "sample"] = field(
        default="auto",
        metadata=setting(
            "mean: the bridge's image; sample: diffused from it; auto: as the weights ask, and else sample"
        ),
    )
    k: int = field(
        default=0,
        metadata=setting(
            "noise level, of 1000, at which the bridge crosses; 0: that of the training, 400", "paper, section 2.3"
        ),
    )
    bridge: bool = field(
        default=True, metadata=setting("translate the noisy low field; off leaves it as it is", "paper Table 1")
    )
    diffusion: bool = field(
        default=True, metadata=setting("diffuse from the bridge's image; off returns that", "paper Table 1")
    )
    window: int = field(
        default=0, metadata=setting("voxels a side that are looked at at once; 0: what the weights were made for")
    )


@dataclass(frozen=True)
class BridgeTraining(BridgeParts):
    """How the networks learn; the weights store it. Defaults are those of the preset ``paper``."""

    method: ClassVar[str] = "bridge"

    gradient_checkpointing: bool = field(
        default=True,
        metadata=setting("in training compute features twice instead of keeping them: less memory"),
    )
    bridge_steps: int = field(
        default=100_000, metadata=setting("training steps of the bridge", "docs/methods/bridge.md")
    )
    prior_steps: int = field(default=200_000, metadata=setting("training steps of the prior", "docs/methods/bridge.md"))
    bridge_rate: float = field(default=2e-4, metadata=setting("learning rate of the bridge", "docs/methods/bridge.md"))
    rate: float = field(default=3e-4, metadata=setting("learning rate of the prior", "paper, section 3"))
    batch: int = field(default=8, metadata=setting("patches per step", "docs/methods/bridge.md"))
    folds: int = field(
        default=5,
        metadata=setting(
            "parts into which the training people are cut: the prior is shown what a bridge makes that was trained on "
            "the other parts, which costs a training of the bridge for every part but one; 0: the bridge's own image",
            "docs/methods/bridge.md",
            least=0,
        ),
    )
    identity: int = field(
        default=1,
        metadata=setting(
            "after how many steps the bridge learns to leave high field unchanged; 0: never", "docs/methods/bridge.md"
        ),
    )
    ssim: float = field(
        default=0.1, metadata=setting("weight of 1 − SSIM in the prior's loss; 0 drops it", "docs/methods/bridge.md")
    )
    sobel: float = field(
        default=0.1, metadata=setting("weight of the edges in the prior's loss; 0 drops it", "docs/methods/bridge.md")
    )
    condition_blur: float = field(
        default=0.7,
        metadata=setting(
            "most blur of the bridge's image that the prior learns from, SD in mm", "docs/methods/bridge.md"
        ),
    )
    condition_noise: float = field(
        default=0.03,
        metadata=setting("most noise on that image, SD as a share of half the range", "docs/methods/bridge.md"),
    )


@dataclass(frozen=True)
class BridgeSampling(BridgeParts, LearnedSampling):
    """Options of ``bridge`` each time it is used."""

    method: ClassVar[str] = "bridge"

    sampler: Literal["conditional", "unconditional_ddim", "alg1_tweedie", "alg1_literal", "repaint"] = field(
        default="conditional",
        metadata=setting(
            "from noise to image: DDIM that sees the bridge's image; or, not seeing it, DDIM, the paper's Algorithm 1 "
            "with Tweedie's formula or with its Eq. 11 as printed, RePaint",
            "docs/methods/bridge.md",
        ),
    )
    start: int = field(
        default=0, metadata=setting("noise level at which the diffusion starts; 0: that of the bridge", least=0)
    )
    steps: int = field(
        default=10, metadata=setting("levels from there to the image; 0: every one, as Algorithm 1 is printed", least=0)
    )
    j: int = field(
        default=3, metadata=setting("repeats at each level, of Algorithm 1 and RePaint", "paper, section 2.3", least=1)
    )
    crossings: int = field(
        default=1,
        metadata=setting(
            "noises with which the low field crosses, whose mean is the bridge's image: 2 to 4 take out most of the "
            "noise that it lets through",
            "1 published; docs/methods/bridge.md",
            least=1,
        ),
    )
    windows: Literal["per_step", "per_window"] = field(
        default="per_step",
        metadata=setting(
            "diffuse all windows together, blended inside every step; or, as published, each by itself from noise of "
            "its own, blended at the end",
            "docs/methods/bridge.md",
        ),
    )
    overlap: float = field(
        default=0.5, metadata=setting("share of a window that its neighbour sees too", "published .7")
    )
    window_batch: int = field(
        default=1, metadata=setting("windows at once: memory against time; the same result", least=1)
    )


@dataclass(frozen=True)
class BridgeSettings(BridgeSampling, BridgeTraining, BridgeNetwork):
    """All settings of ``bridge`` together, for its functions."""

    @property
    def crossing(self) -> int:
        """The noise level at which the bridge crosses."""
        return self.k or K

    @property
    def first(self) -> int:
        """The noise level at which the diffusion starts."""
        return self.start or self.crossing

    @property
    def diffuses(self) -> bool:
        """Whether a draw is diffused, or is the bridge's image."""
        return self.diffusion and not (self.bridge and self.mode == "mean")


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "tiny": {
        "bridge_net": "unet",
        "bridge_width": 24,
        "width": 24,
        "levels": 3,
        "blocks": 1,
        "attention": False,
        "shuffle": 2,
        "predicts": "correction",
        "gradient_checkpointing": False,
        "k": 50,
        "lowest": 25,
        "highest": 150,
        "bridge_steps": 900,
        "prior_steps": 500,
        "bridge_rate": 2e-2,
        "rate": 2e-2,
        "batch": 2,
        "patch": 48,
        "patch_z": 48,
        "window": 256,
        "folds": 2,
        "identity": 4,
    },
}
"""What each preset changes; "tiny" trains on one core in half an hour, sees, all convolutions, a brain at once, and
crosses at little noise: ten people do not teach what more of it takes away (docs/results.md)."""

ABOUT = Description(
    "bridge",
    "lf2hf",
    "pairs",
    settings=BridgeSettings,
    sampling=BridgeSampling,
    network=BridgeNetwork,
    training=BridgeTraining,
    presets=PRESETS,
    budgets={"sloppy": {"steps": 2, "overlap": 0.25}, "cpu": {"overlap": 0.25}, "gpu": {"window_batch": 8}},
    draws=4,
    sentence="bridged denoising diffusion, all contrasts together",
    references=(
        "Imre B et al. Bridged denoising diffusion in ultra-low field MRI enhancement challenge. Re-derived here",
        "Karras T et al. Analyzing and improving the training dynamics of diffusion models. CVPR 2024. "
        "arXiv:2312.02696",
    ),
)


def checked(settings: BridgeSettings) -> BridgeSettings:
    """The settings, where they make sense together; an ``InputError`` in one sentence where they do not."""
    s = settings
    if not (s.bridge or s.diffusion):
        raise InputError(
            "Expected the bridge, the diffusion or both, found --no-bridge-bridge and --no-bridge-diffusion; leave one."
        )
    if not 1 <= s.lowest <= s.crossing <= s.highest <= 990:
        raise InputError(
            f"Expected --bridge-k from {s.lowest} to {s.highest}, the levels of the training, found {s.crossing}; "
            "choose one."
        )
    if not 0 <= s.start <= s.highest:
        raise InputError(
            f"Expected --bridge-start from 0 to {s.highest}, the highest level of the training, found {s.start}; "
            "choose a lower one."
        )
    if s.folds < 0 or s.folds == 1:
        raise InputError(
            f"Expected --bridge-folds of 2 or more, or 0, found {s.folds}; one part has no other to learn from."
        )
    if s.diffuses and not 0 <= s.steps <= s.first:
        raise InputError(
            f"Expected --bridge-steps from 1 to {s.first}, the levels there are from where the diffusion starts, or 0 "
            f"for all of them, found {s.steps}; change it."
        )
    if s.sampler == "conditional" and s.diffusion and s.condition_drop >= 1:
        raise InputError(
            f"Expected --bridge-condition-drop below 1 for the conditional sampler, found {s.condition_drop}; choose "
            "another --bridge-sampler."
        )
    return s


def resolve(sampling: BridgeSampling, stored: Plain) -> BridgeSettings:
    """The settings as they are in use of weights that store these; raise InputError where they do not fit.

    What the user leaves open is as it was in the training. Weights without a bridge or a prior can do without; those
    with both may be asked to.
    """
    wanted: BridgeSettings = settings_in_use(ABOUT, sampling, stored)
    usual = {name: getattr(sampling, name) or stored.get(name, 0) for name in ("k", "window")}
    parts = {name: stored[name] and getattr(sampling, name) for name in ("bridge", "diffusion")}
    if stored["bridge"] != stored["diffusion"] and not any(parts.values()):
        has = "a bridge" if stored["bridge"] else "a prior"
        raise InputError(f"Expected to use what there is in the weights, {has} alone, found it off; leave it on.")
    mode = stored.get("mode", "auto") if sampling.mode == "auto" else sampling.mode
    return checked(replace(wanted, mode=mode, **usual, **parts))
