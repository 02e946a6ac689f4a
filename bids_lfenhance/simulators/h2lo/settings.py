"""Settings of ``h2lo``, as what is trained and as a simulator; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ...nn.method import Description
from ...nn.settings import Checked, setting
from ..simulator import Record


@dataclass(frozen=True)
class H2loNetwork(Checked):
    """What shapes the networks; the weights store it. Defaults are those of the preset ``paper``."""

    contrast: Literal["all", "T1w", "T2w", "FLAIR"] = field(
        default="all", metadata=setting("which operators are trained; each contrast has its own", "paper, section 3.1")
    )
    features: int = field(
        default=128, metadata=setting("basis functions P; all widths follow", "paper, section 3.1", least=4)
    )
    no_siren: bool = field(default=False, metadata=setting("a trunk of ReLU instead of sines", "paper Fig. 2(c)"))
    no_trunk: bool = field(
        default=False, metadata=setting("no basis over space: one linear head", "docs/methods/h2lo.md")
    )


@dataclass(frozen=True)
class H2loTraining(Checked):
    """How the networks learn; the weights store it. Defaults are those of the preset ``paper``."""

    lambda_grad: float = field(
        default=1.0, metadata=setting("weight of the derivatives' loss; 0 drops it", "docs/methods/h2lo.md", least=0)
    )
    gauss_sigma: float = field(
        default=1.0, metadata=setting("σ of the derivatives' kernel, voxels", "paper, section 3.1", above=0)
    )
    voxels: int = field(
        default=8000, metadata=setting("random voxels of L1 in each patch", "paper, section 3.1", least=1)
    )
    block: int = field(
        default=48, metadata=setting("voxels a side of the block whose derivatives are compared", least=5)
    )
    steps: int = field(
        default=52000,
        metadata=setting("training steps", "paper, section 3.1: 500 epochs, of 13 subjects, 8 patches each", least=1),
    )
    rate: float = field(
        default=1e-4, metadata=setting("learning rate, falling to a hundredth", "paper, section 3.1", above=0)
    )
    batch: int = field(default=1, metadata=setting("patches per step, each with all its contrasts", least=1))
    patch: int = field(default=96, metadata=setting("voxels a side of a patch", "docs/methods/h2lo.md", least=16))


@dataclass(frozen=True)
class H2loSampling(Checked):
    """Options of ``h2lo`` each time it is used."""

    weights: str = field(
        default="auto", metadata=setting("folder, .safetensors file or registry name; auto: the bundled ones")
    )
    device: str = field(default="cpu", metadata=setting("where the networks run; the app's --device"))


@dataclass(frozen=True)
class H2loSettings(H2loSampling, H2loTraining, H2loNetwork):
    """All settings of ``h2lo`` together, for its functions."""


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "tiny": {"patch": 36, "block": 20, "steps": 400, "rate": 5e-4},
}
"""What each preset changes; "tiny" trains the published networks on two cores in a quarter of an hour."""

ABOUT = Description(
    "h2lo",
    "hf2lf",
    "pairs",
    settings=H2loSettings,
    sampling=H2loSampling,
    network=H2loNetwork,
    training=H2loTraining,
    presets=PRESETS,
    references=("h2lo",),
)


@dataclass(frozen=True)
class H2loSimulatorSettings(Checked):
    """Options of ``h2lo`` as a simulator."""

    weights: str = field(
        default="auto", metadata=setting("folder, .safetensors file or registry name; auto: the bundled ones")
    )
    motion_mm: float = field(
        default=0.8, metadata=setting("motion between stacks: shift along each axis, mm, SD", least=0, most=20)
    )
    motion_deg: float = field(
        default=0.8, metadata=setting("motion between stacks: turn about each axis, degrees, SD", least=0, most=20)
    )
    snr: float = field(
        default=0.0,
        metadata=setting("white-matter SNR of Rician noise that is added; 0, the published form, adds none", least=0),
    )


@dataclass(frozen=True)
class LearnedRecord(Record):
    """Which operator made the stack (``weights`` as asked for, ``sha256`` of the file), and the noise put on it.

    ``trained_on`` whom the operator has seen: what learns from the stack must not be tested on them.
    """

    weights: str
    sha256: str
    snr: float
    seed: int
    trained_on: tuple[str, ...] = ()
