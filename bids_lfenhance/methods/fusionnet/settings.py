"""Settings of ``fusionnet`` by who decides them; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...nn.method import Description
from ...nn.settings import Checked, JsonObject, OnlineTraining, setting
from ..options import EstimateSampling


@dataclass(frozen=True)
class FusionNetNetwork(Checked):
    """What shapes the network; the weights store it."""

    width: int = field(default=32, metadata=setting("features at full resolution, doubled level by level", least=8))
    levels: int = field(default=4, metadata=setting("resolutions of the U-Net", least=2))


@dataclass(frozen=True)
class FusionNetMeasured(Checked):
    """What a training measures in the end; the weights store it."""

    error_factor: float = field(
        default=1.0,
        metadata=setting("calibration factor of the error scale, fitted on validation subjects", above=0),
    )


@dataclass(frozen=True)
class FusionNetTraining(OnlineTraining):
    """How the network learns; the weights store it."""

    train_steps: int = field(default=12000, metadata=setting("training steps", least=1))
    rate: float = field(default=5e-4, metadata=setting("learning rate, falling as a cosine", above=0))
    batch: int = field(default=2, metadata=setting("patches a step, half of them in each target contrast", least=2))
    patch: int = field(
        default=144,
        metadata=setting("voxels a side of a patch, a fifth more front to back; 144 holds a brain", least=16),
    )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of a patch; the network sees whole heads in use, and normalises otherwise where there is less air."""
        return self.patch, max(self.patch, self.patch * 11 // 9 // 16 * 16), self.patch


@dataclass(frozen=True)
class FusionNetSettings(EstimateSampling, FusionNetTraining, FusionNetNetwork, FusionNetMeasured):
    """All settings of ``fusionnet`` together, for its functions."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of each level."""
        return tuple(self.width * 2**level for level in range(self.levels))


PRESETS: Mapping[str, JsonObject] = {
    "default": {},
    "tiny": {"width": 16, "train_steps": 4000, "batch": 2, "patch": 48, "pool": 16, "renew": 4},
    "finetune": {"rate": 5e-5, "train_steps": 600, "pool": 24, "renew": 4},
}
"""What each preset changes; "default": the size of the bundled weights, 5.9 M parameters, for a GPU; "tiny": 1.5 M,
for two cores; "finetune": from the bundled weights on, on pairs of a scanner."""

ABOUT = Description(
    "fusionnet",
    "lf2hf",
    "heads",
    settings=FusionNetSettings,
    sampling=EstimateSampling,
    network=FusionNetNetwork,
    training=FusionNetTraining,
    measured=FusionNetMeasured,
    presets=PRESETS,
    budgets={"sloppy": {}, "cpu": {}, "gpu": {}},
    gives_error_std=True,
    sentence="a 3D U-Net that fuses the stacks of a contrast into one image and tells the scale of its error, trained "
    "on low field simulated anew for every step",
    references=("unet", "kendall"),
)
