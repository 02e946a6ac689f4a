"""Settings of ``cssdiff`` by who decides them; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ...config import CONTRASTS
from ...errors import InputError
from ...nn.method import Description, Plain
from ...nn.settings import Checked, setting
from ..options import LearnedNetwork, LearnedSampling, settings_in_use

CHANNELS = len(CONTRASTS)


@dataclass(frozen=True)
class CssDiffNetwork(LearnedNetwork):
    """What shapes the networks; the weights store it. Defaults are those of the preset ``paper``."""

    method: ClassVar[str] = "cssdiff"

    sgp: bool = field(default=True, metadata=setting("tell the denoiser which slice it is in", "paper Table 2"))
    ccd: bool = field(
        default=True,
        metadata=setting("the cycle-constrained chain; off: plain conditional diffusion", "paper Table 2"),
    )
    chain: Literal["conditional", "literal"] = field(
        default="conditional",
        metadata=setting(
            "the chain goes from noise to high field, shown low field at every step; literal: from low field itself, "
            "as Eq. 7 is printed",
            "docs/methods/cssdiff.md",
        ),
    )
    steps: int = field(
        default=4, metadata=setting("steps of the chain, in training and use", "docs/methods/cssdiff.md", least=1)
    )
    n_ctx: int = field(
        default=1, metadata=setting("slices shown on either side of a slice", "docs/methods/cssdiff.md", least=0)
    )
    width: int = field(
        default=64, metadata=setting("features of the denoiser at full resolution", "docs/methods/cssdiff.md")
    )
    levels: int = field(
        default=4, metadata=setting("levels of the denoiser", "docs/methods/cssdiff.md", least=2, most=5)
    )
    blocks: int = field(default=2, metadata=setting("blocks per level of the denoiser", "docs/methods/cssdiff.md"))
    shuffle: int = field(
        default=1,
        metadata=setting("pixels a side folded into features of the denoiser; 1, the published form: none"),
    )
    reverse_width: int = field(
        default=64, metadata=setting("features of the reverse generator", "docs/methods/cssdiff.md")
    )

    def __post_init__(self) -> None:
        """Check the widths and levels."""
        super().__post_init__()
        if self.width % 32 or self.width < 32:
            raise InputError(f"Expected the width of cssdiff in multiples of 32, found {self.width}; change it.")
        if self.shuffle < 1 or 16 % (self.shuffle * 2 ** (self.levels - 1)):
            raise InputError(
                f"Expected the shuffle of cssdiff such that 16 pixels are halved by all levels, found {self.shuffle} "
                f"with {self.levels} levels; choose 1."
            )


@dataclass(frozen=True)
class CssDiffTraining(Checked):
    """How the networks learn; the weights store it. Defaults are those of the preset ``paper``."""

    method: ClassVar[str] = "cssdiff"

    lsc: bool = field(default=True, metadata=setting("hold local structure against a restorer's", "paper Table 2"))
    reverse: Literal["learned", "simulator"] = field(
        default="learned",
        metadata=setting(
            "what takes high field back to low field: a network, or physics, which cannot agree with the chain on "
            "anything",
            "docs/methods/cssdiff.md",
        ),
    )
    reverse_fwhm: float = field(default=3.0, metadata=setting("width of the profile of that physics, voxels", above=0))
    discriminator_width: int = field(
        default=64, metadata=setting("features of the discriminators", "docs/methods/cssdiff.md")
    )
    gradient_checkpointing: bool = field(
        default=True,
        metadata=setting("compute features of the chain twice instead of keeping them: less memory"),
    )
    sgp_positive: Literal["index", "shift", "window", "argmax"] = field(
        default="window",
        metadata=setting(
            "which slice of high field belongs to one of low field: the same, that after one shift per volume, the "
            "most alike about that one, or, as printed (Eq. 18), the most alike of all",
            "docs/methods/cssdiff.md",
        ),
    )
    temperature: float = field(
        default=0.1, metadata=setting("τ of the contrastive loss", "docs/methods/cssdiff.md", above=0)
    )
    lsc_block: int = field(
        default=8, metadata=setting("pixels a side of the blocks spoilt", "docs/methods/cssdiff.md", least=2)
    )
    lsc_masked: float = field(default=0.4, metadata=setting("share of the blocks taken out", "docs/methods/cssdiff.md"))
    lsc_turned: float = field(default=0.3, metadata=setting("share of the blocks turned", "docs/methods/cssdiff.md"))
    lsc_untouched: float = field(
        default=0.25, metadata=setting("share of the slices left whole", "docs/methods/cssdiff.md")
    )
    alpha: float = field(
        default=0.1, metadata=setting("α, weight of 1 − SSIM in the restorer's loss", "docs/methods/cssdiff.md")
    )
    adversarial: float = field(
        default=0.05, metadata=setting("λ1, weight of the discriminators", "docs/methods/cssdiff.md")
    )
    cycle: float = field(default=1.0, metadata=setting("λ2, weight of the cycle", "docs/methods/cssdiff.md"))
    rho: float = field(
        default=0.5, metadata=setting("ρ, weight of the cycle from high field", "docs/methods/cssdiff.md")
    )
    path: float = field(default=0.1, metadata=setting("λ3, weight of the path", "docs/methods/cssdiff.md"))
    paired_l1: float = field(
        default=1.0,
        metadata=setting("weight of the paired absolute error; 0: without", "docs/methods/cssdiff.md"),
    )
    structure: float = field(default=0.1, metadata=setting("weight of the restorer's loss", "docs/methods/cssdiff.md"))
    r1: float = field(default=0.05, metadata=setting("γ of R1 on the discriminator", "docs/methods/cssdiff.md"))
    reverse_noise: float = field(
        default=0.03,
        metadata=setting("SD of the noise that the reverse generator is given", "docs/methods/cssdiff.md"),
    )
    dropout: float = field(
        default=0.2,
        metadata=setting("share of the slice's tokens dropped in training", "paper, section 4", least=0, below=1),
    )
    sgp_steps: int = field(
        default=20_000, metadata=setting("training steps of the slice encoder", "docs/methods/cssdiff.md")
    )
    lsc_steps: int = field(
        default=20_000, metadata=setting("training steps of the restorer", "docs/methods/cssdiff.md")
    )
    warm_steps: int = field(
        default=20_000, metadata=setting("training steps of the denoiser alone", "docs/methods/cssdiff.md")
    )
    chain_steps: int = field(default=80_000, metadata=setting("training steps of the chain", "docs/methods/cssdiff.md"))
    rate: float = field(
        default=2e-4, metadata=setting("learning rate of denoiser and reverse generator", "docs/methods/cssdiff.md")
    )
    paper_lr: bool = field(
        default=False,
        metadata=setting(
            "the paper's rate for denoiser and chain: 0.002, halved every twelfth of a stage", "paper, section 4"
        ),
    )
    batch: int = field(default=4, metadata=setting("patches per training step", least=1))
    slices: int = field(default=4, metadata=setting("slices learned from in each patch", least=1))
    patch: int = field(
        default=0,
        metadata=setting("pixels a side of the slices learned from; 0: all of the brain, multiples of 16 else"),
    )


@dataclass(frozen=True)
class CssDiffSampling(LearnedSampling):
    """Options of ``cssdiff`` each time it is used."""

    method: ClassVar[str] = "cssdiff"

    ddim_steps: int = field(
        default=50, metadata=setting("steps of DDIM without the chain", "docs/methods/cssdiff.md", least=1)
    )
    lsc_refine: float = field(
        default=0.0,
        metadata=setting(
            "share of the restorer's answer in the result, to 0.3; 0: none of it",
            "docs/methods/cssdiff.md",
            least=0,
            most=0.3,
        ),
    )
    slices_at_once: int = field(
        default=16,
        metadata=setting("slices through the networks at once, to bound the memory; the same result", least=1),
    )


@dataclass(frozen=True)
class CssDiffSettings(CssDiffSampling, CssDiffTraining, CssDiffNetwork):
    """All settings of ``cssdiff`` together, for its functions."""

    def __post_init__(self) -> None:
        """Check what concerns several fields."""
        super().__post_init__()
        if self.lsc_refine and not (self.lsc and self.ccd):
            raise InputError(
                "Expected lsc and ccd on in the training for lsc_refine, found one off; leave lsc_refine out."
            )


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "tiny": {
        "width": 32,
        "levels": 3,
        "blocks": 1,
        "shuffle": 4,
        "reverse_width": 16,
        "discriminator_width": 16,
        "gradient_checkpointing": False,
        "sgp_steps": 400,
        "lsc_steps": 400,
        "warm_steps": 2000,
        "chain_steps": 120,
        "rate": 1e-3,
        "batch": 1,
        "slices": 8,
    },
}
"""What each preset changes; "tiny": 4.4 M parameters to enhance, 1.2 M for its own maps; half an hour of one core."""

ABOUT = Description(
    "cssdiff",
    "lf2hf",
    "pairs",
    settings=CssDiffSettings,
    sampling=CssDiffSampling,
    network=CssDiffNetwork,
    training=CssDiffTraining,
    presets=PRESETS,
    budgets={"sloppy": {}, "cpu": {}, "gpu": {"slices_at_once": 96}},
    draws=4,
    sentence="a cycle-constrained chain of diffusion steps, slice by slice",
    references=("cssdiff",),
)


def resolve(sampling: CssDiffSampling, stored: Plain) -> CssDiffSettings:
    """The settings as they are in use; raise InputError for DDIM options with weights that have a chain."""
    if stored["ccd"] and sampling.ddim_steps != CssDiffSampling.ddim_steps:
        raise InputError(
            f"Expected ddim_steps with weights without a chain (trained with ccd=false) alone, found "
            f"{sampling.ddim_steps} and a chain of {stored['steps']} steps; leave it out."
        )
    found: CssDiffSettings = settings_in_use(ABOUT, sampling, stored)
    return found


def seen_channels(settings: CssDiffNetwork) -> int:
    """Channels that condition the denoiser: low field, its neighbours, and which contrasts are present."""
    return CHANNELS * (2 * settings.n_ctx + 1) + CHANNELS
