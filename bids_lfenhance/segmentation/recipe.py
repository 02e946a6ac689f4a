"""Settings of ``regions``, how the network is trained, and its record: torch is not needed to read them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..imaging.volume import Volume
from ..nn.method import Draw, Learning, Method, Phase, Stage

if TYPE_CHECKING:
    import torch

    from ..nn.method import Batch, Nets


def _told(text: str) -> dict[str, str]:
    return {"help": text, "source": "our choice"}


@dataclass(frozen=True)
class RegionsSettings:
    """Options of ``regions``; the defaults are the ``paper`` preset's, as large as SynthSeg's network."""

    weights: str = field(
        default="auto", metadata=_told("folder, .safetensors file or registry name; auto: the bundled")
    )
    device: str = field(default="cpu", metadata=_told("where the network runs; the app's --device"))
    width: int = field(default=64, metadata=_told("features of the first level; level n has n times as many"))
    levels: int = field(default=5, metadata=_told("levels of the network, each half as fine as the one before"))
    steps: int = field(default=100_000, metadata=_told("optimiser steps"))
    rate: float = field(default=1e-3, metadata=_told("learning rate at its height"))
    batch: int = field(default=2, metadata=_told("heads per step"))
    patch: int = field(
        default=128, metadata=_told("voxels a side of what is seen of a head, an eighth more front to back")
    )

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of the levels."""
        return tuple(self.width * n for n in range(1, self.levels + 1))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of what is seen of a head at once."""
        return self.patch, max(self.patch, self.patch * 7 // 6 // 16 * 16), self.patch


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "tiny": {"width": 32, "levels": 4, "rate": 3e-3, "steps": 1800, "batch": 1, "patch": 80},
}
"""What each preset changes; "tiny" trains in about half an hour of one core with native bfloat16."""


def build(settings: RegionsSettings) -> "dict[str, torch.nn.Module]":
    """``regions``: see ``network.RegionNet``."""
    from .network import RegionNet

    return {"regions": RegionNet(settings.widths, settings.shape)}


def stages(settings: RegionsSettings) -> tuple[Stage, ...]:
    """One stage on images painted while it runs: no two steps see the same."""
    phase = Phase("regions", ("regions",), _losses, settings.rate)
    return (Stage("regions", (phase,), settings.steps, settings.batch, settings.shape, "labels", settings.steps // 50),)


def predict(nets: "Nets", batch: "Batch", settings: RegionsSettings, generator: "torch.Generator") -> "torch.Tensor":
    """(B, 33, X, Y, Z) posteriors of the channels of ``regions``, float16, summing to 1."""
    logits: torch.Tensor = nets["regions"](batch["input"], batch["where"])
    for part in logits.split(32, dim=-1):  # in place: a second (33, X, Y, Z) would be most of the memory
        part.copy_(part.float().softmax(dim=1))
    return logits


def _losses(nets: "Nets", batch: "Batch", settings: Any, generator: "torch.Generator") -> "Mapping[str, torch.Tensor]":
    from .loss import losses

    return losses(nets, batch, settings, generator)


def _draw(example: Any, shape: tuple[int, int, int], generator: np.random.Generator) -> dict[str, np.ndarray]:
    from .paint import paint_patch

    return paint_patch(example.labels, example.where, shape, generator)


def _begin(nets: "Nets", examples: Sequence[Any]) -> None:
    import torch

    from .atlas import build_atlas

    found = build_atlas((example.labels, example.where[0]) for example in examples)
    atlas: torch.Tensor = nets["regions"].atlas  # type: ignore[assignment]
    atlas.copy_(torch.from_numpy(found))


def _judge(nets: "Nets", example: Any, settings: RegionsSettings, device: "torch.device") -> Mapping[str, float]:
    from .judge import judge

    return judge(nets, example, settings, device)


def _sample(nets: Mapping[str, Any], volume: Volume, settings: RegionsSettings, generator: np.random.Generator) -> Draw:
    raise InputError("Expected a method that enhances, found regions, which segments; choose another --method.")


METHOD = Method(
    "regions",
    RegionsSettings,
    "regions",
    "labels",
    _sample,
    learning=Learning(build, stages, predict, PRESETS, _draw, _judge, ("dice", "dice_low", "dice_thin"), _begin),
)
