"""Settings of ``cfm`` by who decides them; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from ...errors import InputError
from ...nn.method import Description, Plain
from ...nn.settings import Checked, setting
from ..options import LearnedNetwork, LearnedSampling, settings_in_use


@dataclass(frozen=True)
class CfmNetwork(LearnedNetwork):
    """What shapes the networks; the weights store it. Defaults are those of the preset ``paper``."""

    method: ClassVar[str] = "cfm"

    source: Literal["noise", "lf"] = field(
        default="noise",
        metadata=setting("where the way starts: noise, or low field with a little noise", "paper, section 2.1"),
    )
    spread: float = field(
        default=0.2, metadata=setting("SD of the noise on low field with source lf", "docs/methods/cfm.md", least=0)
    )
    plane: Literal["axial", "coronal", "sagittal"] = field(default="axial", metadata=setting("plane of the slices"))
    n_ctx: int = field(
        default=1, metadata=setting("slices shown on either side of a slice", "docs/methods/cfm.md", least=0)
    )
    se: bool = field(
        default=True, metadata=setting("squeeze-and-excitation in the residual blocks", "paper, section 2.2")
    )
    multiscale: bool = field(
        default=True, metadata=setting("several kernel sizes at the input; off: one of 3 x 3", "paper, section 2.2")
    )
    transformer: bool = field(
        default=True, metadata=setting("self-attention at the bottom of the U-Net", "paper, section 2.2")
    )
    pool: Literal["shuffle", "max"] = field(
        default="shuffle",
        metadata=setting(
            "pixel (un)shuffle between levels; max: max-pooling, transposed convolutions", "paper, section 2.2"
        ),
    )
    base: int = field(default=32, metadata=setting("features at full resolution", "docs/methods/cfm.md"))
    bottleneck: int = field(
        default=224,
        metadata=setting("features at the bottom; 224 is next to the published number of parameters"),
    )
    shuffle: int = field(
        default=1, metadata=setting("pixels a side folded into features; 1, the published form, folds none", least=1)
    )
    anchor: float = field(
        default=0.0,
        metadata=setting(
            "SD of high less low field relative to which the network gives the velocity; 0, as published: relative to "
            "nothing",
            least=0,
        ),
    )

    def __post_init__(self) -> None:
        """Check the widths."""
        super().__post_init__()
        if self.base % 8 or self.bottleneck % 8 or min(self.base, self.bottleneck) < 8:
            raise InputError(
                f"Expected --cfm-base and --cfm-bottleneck in multiples of 8, found {self.base} and {self.bottleneck}; "
                "change them."
            )


@dataclass(frozen=True)
class CfmTraining(Checked):
    """How the networks learn; the weights store it. Defaults are those of the preset ``paper``."""

    method: ClassVar[str] = "cfm"

    train_steps: int = field(
        default=16150, metadata=setting("training steps", "200 epochs of 323 volumes, paper, section 3.2")
    )
    rate: float = field(default=1e-4, metadata=setting("learning rate, falling to a hundredth", "docs/methods/cfm.md"))
    decay: float = field(default=1e-5, metadata=setting("weight decay", "docs/methods/cfm.md"))
    batch: int = field(default=4, metadata=setting("patches per training step", "paper, section 3.2", least=1))
    slices: int = field(default=16, metadata=setting("slices learned from in each patch", least=1))
    patch: int = field(
        default=0,
        metadata=setting("pixels a side of the slices learned from; 0: all of the brain, multiples of 16 else"),
    )


@dataclass(frozen=True)
class CfmSampling(LearnedSampling):
    """Options of ``cfm`` each time it is used."""

    method: ClassVar[str] = "cfm"

    mode: Literal["mean", "sample"] = field(
        default="mean",
        metadata=setting(
            "mean: the conditional mean, one call of the network; sample: one possible image a draw, whose spread over "
            "16 draws or so is the uncertainty",
            "docs/methods/cfm.md",
        ),
    )
    steps: int = field(
        default=16,
        metadata=setting(
            "steps from source to image with mode sample; fewer than 16: too little spread",
            "docs/methods/cfm.md",
            least=1,
        ),
    )
    solver: Literal["heun", "euler"] = field(
        default="heun",
        metadata=setting("how a step is taken: euler, the published, needs twice as many", "docs/methods/cfm.md"),
    )
    noise_corr_z: float = field(
        default=0.5,
        metadata=setting(
            "correlation of the noise of neighbouring slices, against flicker", "docs/methods/cfm.md", least=0, below=1
        ),
    )
    slices_at_once: int = field(
        default=16,
        metadata=setting("slices through the network at once, to bound the memory; the same result", least=1),
    )


@dataclass(frozen=True)
class CfmSettings(CfmSampling, CfmTraining, CfmNetwork):
    """All settings of ``cfm`` together, for its functions."""


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

ABOUT = Description(
    "cfm",
    "lf2hf",
    "pairs",
    settings=CfmSettings,
    sampling=CfmSampling,
    network=CfmNetwork,
    training=CfmTraining,
    presets=PRESETS,
    budgets={"sloppy": {}, "cpu": {}, "gpu": {"slices_at_once": 96}},
    sentence="conditional flow matching, slice by slice",
    references=(
        "Low-field MR image quality enhancement using a conditional flow matching model. Preprint; re-derived here",
        "Lipman Y et al. Flow matching for generative modeling. ICLR 2023. arXiv:2210.02747",
    ),
)


def resolve(sampling: CfmSampling, stored: Plain) -> CfmSettings:
    """The settings as they are in use; raise InputError for options that the mode does not use."""
    usual, idle = CfmSampling(), {"mean": ("steps", "solver"), "sample": ("strength",)}[sampling.mode]
    for name in idle:
        if (value := getattr(sampling, name)) != getattr(usual, name):
            other = "sample" if sampling.mode == "mean" else "mean"
            raise InputError(
                f"Expected --cfm-{name} with --cfm-mode {other} alone, found {value} with mode {sampling.mode}, where "
                "it would have no effect; leave it out."
            )
    found: CfmSettings = settings_in_use(ABOUT, sampling, stored)
    return replace(found, strength=1.0) if sampling.mode == "sample" else found
