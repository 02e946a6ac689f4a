"""Settings of ``cssdiff`` by who decides them; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...errors import InputError
from ...nn.method import Description
from ...nn.settings import Checked, JsonObject, setting
from ..residual_options import ResidualMeasured, ResidualSampling, ResidualTraining, ResidualTrainingSettings

HEADS = 4
"""Heads of every attention."""


@dataclass(frozen=True)
class CssDiffNetwork(Checked):
    """What shapes the networks; the weights store it. Defaults are those of the preset ``paper``."""

    width: int = field(
        default=64,
        metadata=setting("features of the denoiser at its finest level, then 2, 3, 4 times as many", least=8),
    )

    def __post_init__(self) -> None:
        """Check the width."""
        super().__post_init__()
        if self.width % HEADS:
            raise InputError(f"Expected the width of cssdiff in multiples of {HEADS}, found {self.width}; change it.")

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of each level."""
        return tuple(self.width * times for times in (1, 2, 3, 4))


@dataclass(frozen=True)
class CssDiffTraining(ResidualTraining):
    """How the networks learn; the weights store it. Defaults are those of the preset ``paper``."""

    train_steps: int = field(default=20_000, metadata=setting("training steps", least=1))
    rate: float = field(default=6e-4, metadata=setting("learning rate, falling as a cosine", above=0))
    batch: int = field(default=8, metadata=setting("slabs a step", least=1))
    slices: int = field(default=6, metadata=setting("slices learned from in each slab", least=2))
    slab: int = field(default=64, metadata=setting("slices of a slab", least=16))
    crop: int = field(default=128, metadata=setting("pixels a side of what the denoiser is shown of a slice", least=16))
    sgp: float = field(
        default=0.02, metadata=setting("weight of the contrastive loss (Eq. 19)", "docs/methods/cssdiff.md", least=0)
    )
    dropout: float = field(
        default=0.2,
        metadata=setting("share of the tokens' numbers dropped in training", "paper, section 4", least=0, below=1),
    )


@dataclass(frozen=True)
class CssDiffSampling(ResidualSampling):
    """Options of ``cssdiff`` each time it is used."""

    slices_at_once: int = field(
        default=16,
        metadata=setting("slices through the network at once, at most, to bound the memory; the same result", least=1),
    )


@dataclass(frozen=True)
class CssDiffSettings(CssDiffSampling, CssDiffTraining, CssDiffNetwork, ResidualTrainingSettings):
    """All settings of ``cssdiff`` together, for its functions."""


PRESETS: Mapping[str, JsonObject] = {
    "paper": {},
    "tiny": {"width": 32, "train_steps": 3000, "rate": 1.5e-3, "batch": 2, "crop": 96, "pool": 24, "renew": 32},
}
"""What each preset changes; "tiny": 1.8 M parameters, for one core."""

ABOUT = Description(
    "cssdiff",
    "lf2hf",
    "heads",
    settings=CssDiffSettings,
    sampling=CssDiffSampling,
    network=CssDiffNetwork,
    training=CssDiffTraining,
    measured=ResidualMeasured,
    presets=PRESETS,
    budgets={"sloppy": {"steps": 2}, "cpu": {}, "gpu": {"slices_at_once": 96}},
    gives_error_std=True,
    sentence="a learned estimate, with draws around it by diffusion of its standardised residual, slice by slice, "
    "guided by an encoder of slices",
    references=("cssdiff", "corrdiff"),
)
