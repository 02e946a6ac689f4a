"""Settings of ``regions``, the segmentation, by who decides them; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..nn.method import Description
from ..nn.settings import Checked, JsonObject, setting


@dataclass(frozen=True)
class RegionsNetwork(Checked):
    """What shapes the network; the weights store it. The defaults are as large as SynthSeg's network."""

    width: int = field(
        default=64, metadata=setting("features of the first level; level n has n times as many", least=1)
    )
    levels: int = field(
        default=5, metadata=setting("levels of the network, each half as fine as the one before", least=1)
    )
    patch: int = field(
        default=128, metadata=setting("voxels a side of what is seen of a head, an eighth more front to back", least=16)
    )

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of the levels."""
        return tuple(self.width * n for n in range(1, self.levels + 1))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of what is seen of a head at once."""
        return self.patch, max(self.patch, self.patch * 7 // 6 // 16 * 16), self.patch


@dataclass(frozen=True)
class RegionsTraining(Checked):
    """How the network learns; the weights store it."""

    steps: int = field(default=100_000, metadata=setting("optimiser steps", least=1))
    rate: float = field(default=1e-3, metadata=setting("learning rate at its height", above=0))
    batch: int = field(default=2, metadata=setting("heads per step", least=1))


@dataclass(frozen=True)
class RegionsSampling(Checked):
    """Options of ``regions`` each time it is used."""

    weights: str = field(
        default="auto", metadata=setting("folder, .safetensors file or registry name; auto: the bundled")
    )
    device: str = field(default="cpu", metadata=setting("where the network runs; the app's --device"))


@dataclass(frozen=True)
class RegionsSettings(RegionsSampling, RegionsTraining, RegionsNetwork):
    """All settings of ``regions`` together, for its functions."""


PRESETS: Mapping[str, JsonObject] = {
    "paper": {},
    "tiny": {"width": 32, "levels": 4, "rate": 3e-3, "steps": 1800, "batch": 1, "patch": 80},
}
"""What each preset changes; "tiny" trains in about half an hour of one core with native bfloat16."""

ABOUT = Description(
    "regions",
    "regions",
    "labels",
    settings=RegionsSettings,
    sampling=RegionsSampling,
    network=RegionsNetwork,
    training=RegionsTraining,
    presets=PRESETS,
)
