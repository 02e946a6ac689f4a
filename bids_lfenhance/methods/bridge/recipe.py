"""Settings of ``bridge``, how it is trained, and its record."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...errors import InputError
from ...imaging.volume import Volume
from ...nn.method import Draw, Learning, Method, Phase, Stage
from ..options import CONTRAST, FUSION, PRECISION, WEIGHTS, AskedContrast, AskedFusion, Precision, as_trained, told

if TYPE_CHECKING:
    import torch

    from ...nn.method import Batch, Nets


K = 400
"""Where the bridge crosses in the paper (§2.3)."""


@dataclass(frozen=True)
class BridgeSettings:
    """Options of ``bridge``; the defaults are the ``paper`` preset's. Those of the networks come from the weights."""

    weights: str = field(default="auto", metadata=WEIGHTS)
    device: str = field(default="cpu", metadata=told("where the networks run; the app's --device"))
    precision: Precision = field(default="bf16", metadata=PRECISION)
    fusion: AskedFusion = field(default="mean", metadata=FUSION)
    mode: Literal["auto", "mean", "sample"] = field(
        default="auto",
        metadata=told("mean: the bridge's image; sample: diffused from it; auto: as the weights ask, and else sample"),
    )
    sampler: Literal["conditional", "unconditional_ddim", "alg1_tweedie", "alg1_literal", "repaint"] = field(
        default="conditional",
        metadata=told(
            "from noise to image: DDIM that sees the bridge's image; or, not seeing it, DDIM, the paper's Algorithm 1 "
            "with Tweedie's formula or with its Eq. 11 as printed, RePaint",
            "methods.md §2.3",
        ),
    )
    k: int = field(
        default=0,
        metadata=told("noise level, of 1000, at which the bridge crosses; 0: that of the training, 400", "paper §2.3"),
    )
    start: int = field(default=0, metadata=told("noise level at which the diffusion starts; 0: that of the bridge"))
    steps: int = field(
        default=10, metadata=told("levels from there to the image; 0: every one, as Algorithm 1 is printed")
    )
    j: int = field(default=3, metadata=told("repeats at each level, of Algorithm 1 and RePaint", "paper §2.3"))
    bridge: bool = field(
        default=True, metadata=told("translate the noisy low field; off leaves it as it is", "paper Table 1")
    )
    crossings: int = field(
        default=1,
        metadata=told(
            "noises with which the low field crosses, whose mean is the bridge's image: 2 to 4 take out most of the "
            "noise that it lets through",
            "1 published; methods.md §2.3b",
        ),
    )
    diffusion: bool = field(
        default=True, metadata=told("diffuse from the bridge's image; off returns that", "paper Table 1")
    )
    strength: float = field(
        default=0.0,
        metadata=told(
            "share of the change that is applied to each draw, to 1; 0: the weights' own, and in training all of it: "
            "a network knows its own simulator too well"
        ),
    )
    contrast: AskedContrast = field(default="auto", metadata=CONTRAST)
    window: int = field(
        default=0, metadata=told("voxels a side that are looked at at once; 0: what the weights were made for")
    )
    windows: Literal["per_step", "per_window"] = field(
        default="per_step",
        metadata=told(
            "diffuse all windows together, blended inside every step; or, as published, each by itself from noise of "
            "its own, blended at the end",
            "methods.md §6.6",
        ),
    )
    overlap: float = field(default=0.5, metadata=told("share of a window that its neighbour sees too", "published .7"))
    window_batch: int = field(default=1, metadata=told("windows at once: memory against time; the same result"))
    bridge_net: Literal["swin", "unet"] = field(
        default="swin",
        metadata=told("network of the bridge: Swin UNETR, or the one of the prior", "paper §2.3", by="network"),
    )
    bridge_width: int = field(default=48, metadata=told("features of the bridge", "methods.md §2.1", by="network"))
    bridge_time: bool = field(
        default=True, metadata=told("tell the bridge the noise level; the paper does not say", "§2.1", by="network")
    )
    width: int = field(
        default=64, metadata=told("features of the prior at its highest level", "methods.md §2.1", by="network")
    )
    levels: int = field(default=4, metadata=told("levels of the U-Nets", "methods.md §2.1", by="network"))
    blocks: int = field(default=2, metadata=told("blocks per level of the U-Nets", "methods.md §2.1", by="network"))
    attention: bool = field(
        default=True, metadata=told("attention at the lowest level of the U-Nets", "methods.md §2.1", by="network")
    )
    shuffle: int = field(
        default=1, metadata=told("voxels a side folded into channels; 1, the published form, folds none", by="network")
    )
    predicts: Literal["velocity", "correction"] = field(
        default="velocity",
        metadata=told(
            "what the prior says: v, or what the image is more than the bridge's, for folded voxels, whose few "
            "features cannot hand all the noise through",
            "methods.md §2.3",
            by="network",
        ),
    )
    lean: bool = field(
        default=True,
        metadata=told("in training compute features twice instead of keeping them: less memory", by="training"),
    )
    lowest: int = field(
        default=250, metadata=told("lowest noise level the bridge is trained on", "paper §2.3", by="network")
    )
    highest: int = field(default=750, metadata=told("highest noise level of the training", "paper §2.3", by="network"))
    bridge_steps: int = field(
        default=100_000, metadata=told("training steps of the bridge", "methods.md §2.4", by="training")
    )
    prior_steps: int = field(
        default=200_000, metadata=told("training steps of the prior", "methods.md §2.4", by="training")
    )
    bridge_rate: float = field(
        default=2e-4, metadata=told("learning rate of the bridge", "methods.md §2.4", by="training")
    )
    rate: float = field(default=3e-4, metadata=told("learning rate of the prior", "paper §3", by="training"))
    batch: int = field(default=8, metadata=told("patches per step", "methods.md §2.4", by="training"))
    patch: int = field(
        default=128, metadata=told("voxels a side of a patch, left-right and front-back", "paper §3", by="network")
    )
    patch_z: int = field(default=32, metadata=told("voxels of a patch from foot to head", "paper §3", by="network"))
    folds: int = field(
        default=5,
        metadata=told(
            "parts into which the training people are cut: the prior is shown what a bridge makes that was trained on "
            "the other parts, which costs a training of the bridge for every part but one; 0: the bridge's own image",
            "methods.md §2.3b",
            by="training",
        ),
    )
    identity: int = field(
        default=1,
        metadata=told(
            "after how many steps the bridge is told to leave high field alone; 0: never", "§2.1", by="training"
        ),
    )
    ssim: float = field(
        default=0.1, metadata=told("weight of 1 − SSIM in the prior's loss; 0 drops it", "§2.1", by="training")
    )
    sobel: float = field(
        default=0.1, metadata=told("weight of the edges in the prior's loss; 0 drops it", "§2.1", by="training")
    )
    condition_drop: float = field(
        default=0.1,
        metadata=told("chance that the prior is not shown the bridge's image; 1: never is", "§2.3b", by="network"),
    )
    condition_blur: float = field(
        default=0.7,
        metadata=told("most blur of the bridge's image that the prior learns from, SD in mm", "§2.3b", by="training"),
    )
    condition_noise: float = field(
        default=0.03, metadata=told("most noise on that image, SD as a share of half the range", "§2.3b", by="training")
    )

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
        "lean": False,
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
    if not 0 <= s.strength <= 1:
        raise InputError(f"Expected --bridge-strength between 0 and 1, found {s.strength}; change it.")
    if s.folds < 0 or s.folds == 1:
        raise InputError(
            f"Expected --bridge-folds of 2 or more, or 0, found {s.folds}; one part has no other to learn from."
        )
    if s.diffuses and not 0 <= s.steps <= s.first:
        raise InputError(
            f"Expected --bridge-steps from 1 to {s.first}, the levels there are from where the diffusion starts, or 0 "
            f"for all of them, found {s.steps}; change it."
        )
    for name in ("j", "crossings", "window_batch"):
        if (found := getattr(s, name)) < 1:
            flag = f"--bridge-{name.replace('_', '-')}"
            raise InputError(f"Expected {flag} of at least 1, found {found}; choose 1 or more.")
    if s.sampler == "conditional" and s.diffusion and s.condition_drop >= 1:
        raise InputError(
            f"Expected --bridge-condition-drop below 1 for the conditional sampler, found {s.condition_drop}; choose "
            "another --bridge-sampler."
        )
    return s


def used(settings: BridgeSettings, weights: Mapping[str, Any]) -> BridgeSettings:
    """The settings as they are in use of weights trained with others; an ``InputError`` where they do not fit.

    What the user leaves open is as it was in the training. Weights without a bridge or a prior can do without; those
    with both may be asked to.
    """
    wanted = as_trained(settings, weights)
    usual = {name: getattr(settings, name) or weights.get(name, 0) for name in ("k", "window")}
    parts = {name: weights[name] and getattr(settings, name) for name in ("bridge", "diffusion")}
    if weights["bridge"] != weights["diffusion"] and not any(parts.values()):
        has = "a bridge" if weights["bridge"] else "a prior"
        raise InputError(f"Expected to use what there is in the weights, {has} alone, found it off; leave it on.")
    mode = weights.get("mode", "auto") if settings.mode == "auto" else settings.mode
    return checked(replace(wanted, mode=mode, **usual, **parts))


def build(settings: BridgeSettings) -> "dict[str, torch.nn.Module]":
    """``bridge`` and ``prior``, each where it is wanted: see ``network``."""
    # Torch is heavy: the command line reads the settings above without it.
    from .network import Deaf, Swin, UNet

    s = checked(settings)
    nets: dict[str, torch.nn.Module] = {}
    if s.bridge and s.bridge_net == "swin":
        nets["bridge"] = Swin(6, 3, s.bridge_width)
    elif s.bridge:
        nets["bridge"] = UNet(6, 3, s.bridge_width, s.levels, s.blocks, s.attention, s.shuffle, s.lean)
    if s.bridge and not s.bridge_time:
        nets["bridge"] = Deaf(nets["bridge"])
    if s.diffusion:
        nets["prior"] = UNet(9, 3, s.width, s.levels, s.blocks, s.attention, s.shuffle, s.lean)
    return nets


def bridge_name(fold: int | None) -> str:
    """The network that does not know the people of a fold; None: the one that knows all, and is used."""
    return "bridge" if fold is None else f"bridge-{fold}"


def stages(settings: BridgeSettings) -> tuple[Stage, ...]:
    """The bridge on pairs at one noise level; bridges on parts of the people, so that the prior, which comes last, is
    shown what a bridge makes of people it does not know (methods.md §2.3b, §2.4).
    """
    s, patch = settings, (settings.patch, settings.patch, settings.patch_z)
    # Normalised weights are not to decay (methods.md §2.3c).
    decay = 1e-5 if s.bridge_net == "swin" else 0.0

    def learned(fold: int | None = None) -> list[Phase]:
        name, rates = bridge_name(fold), (s.bridge_rate, (0.9, 0.99), decay)
        tag = name.removeprefix("bridge")
        cross = Phase(f"cross{tag}", (name,), partial(_cross, field="low", fold=fold), *rates)
        stay = Phase(f"stay{tag}", (name,), partial(_cross, field="high", fold=fold), *rates, every=s.identity or 1)
        return [cross, stay] if s.identity else [cross]

    denoise = Phase("denoise", ("prior",), _denoise, s.rate, (0.9, 0.99))
    found = []
    if s.bridge:
        found.append(Stage("bridge", tuple(learned()), s.bridge_steps, s.batch, patch, "all", s.bridge_steps // 40))
    if s.bridge and s.diffusion and s.folds:
        phases = tuple(phase for fold in range(s.folds) for phase in learned(fold))
        warmup = s.bridge_steps // 40
        found.append(Stage("folds", phases, s.bridge_steps, s.batch, patch, "all", warmup, measured=False))
    if s.diffusion:
        found.append(Stage("prior", (denoise,), s.prior_steps, s.batch, patch, "all", s.prior_steps // 40))
    return tuple(stage for stage in found if stage.steps)


def predict(nets: "Nets", batch: "Batch", settings: BridgeSettings, generator: "torch.Generator") -> "torch.Tensor":
    """(B, C, X, Y, Z) high field, normalised; zero for contrasts that are not in the input."""
    from .sampler import enhance_batch

    return enhance_batch(nets, batch, settings, generator)


def prepare(volume: Volume, settings: BridgeSettings) -> Mapping[str, Any]:
    """What all draws share: the trained networks and their settings."""
    from .sampler import set_up

    return set_up(volume, settings)


def sample(nets: Mapping[str, Any], volume: Volume, settings: BridgeSettings, generator: np.random.Generator) -> Draw:
    """One draw: noise of its own, across the bridge, and down to an image."""
    from .sampler import draw

    return draw(nets, volume, settings, generator)


def helpers(nets: "Nets", settings: BridgeSettings, people: int) -> "dict[str, torch.nn.Module]":
    """A bridge for every fold, such as the bridge is before it learns."""
    s = settings
    if not (s.bridge and s.diffusion and s.folds):
        return {}
    if people < s.folds:
        raise InputError(
            f"Expected at least {s.folds} people to train on with --bridge-folds {s.folds}, found {people}; choose "
            "fewer folds, or 0."
        )
    return {bridge_name(fold): deepcopy(nets["bridge"]) for fold in range(s.folds)}


def _cross(
    nets: "Nets", batch: "Batch", settings: Any, generator: "torch.Generator", field: Any, fold: int | None
) -> "Mapping[str, torch.Tensor]":
    from .loss import cross

    return cross(nets, batch, settings, generator, field, fold)


def _denoise(nets: "Nets", batch: "Batch", settings: Any, generator: "torch.Generator") -> "Mapping[str, torch.Tensor]":
    from .loss import denoise

    return denoise(nets, batch, settings, generator)


def fit(nets: Mapping[str, Any], volume: Volume, limit: int) -> Mapping[str, Any]:
    """``nets`` with no more windows at once than fit."""
    from .sampler import fit

    return fit(nets, volume, limit)


METHOD = Method(
    "bridge",
    BridgeSettings,
    "lf2hf",
    "pairs",
    sample,
    draws=4,
    budgets={"sloppy": {"steps": 2, "overlap": 0.25}, "cpu": {"overlap": 0.25}, "gpu": {"window_batch": 8}},
    prepare=prepare,
    fit=fit,
    learning=Learning(build, stages, predict, PRESETS, helpers=helpers),
    used=used,
)
