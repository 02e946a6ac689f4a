"""Settings of ``regions``, how the network is trained, and its record: torch is not needed to read them."""

from collections.abc import Mapping
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
    steps: int = field(default=100_000, metadata=_told("optimiser steps"))
    rate: float = field(default=1e-3, metadata=_told("learning rate at its height"))
    batch: int = field(default=2, metadata=_told("heads per step"))
    patch: int = field(
        default=128, metadata=_told("voxels a side of what is seen of a head, an eighth more front to back")
    )

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of the five levels and of the last layer."""
        w = self.width
        return (w, 2 * w, 3 * w, 4 * w, 5 * w, w)


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "tiny": {"width": 32, "steps": 2200, "batch": 1, "patch": 96},
}
"""What each preset changes; "tiny" trains in about two hours of one core with native bfloat16."""


def build(settings: RegionsSettings) -> "dict[str, torch.nn.Module]":
    """``regions``: see ``network.RegionNet``."""
    from .network import RegionNet

    return {"regions": RegionNet(settings.widths)}


def stages(settings: RegionsSettings) -> tuple[Stage, ...]:
    """One stage on images painted while it runs: no two steps see the same."""
    side = settings.patch
    phase = Phase("regions", ("regions",), _losses, settings.rate)
    shape = (side, side * 7 // 6 // 16 * 16, side)
    return (Stage("regions", (phase,), settings.steps, settings.batch, shape, "labels", settings.steps // 50),)


def predict(nets: "Nets", batch: "Batch", settings: RegionsSettings, generator: "torch.Generator") -> "torch.Tensor":
    """(B, 33, X, Y, Z) posteriors of the channels of ``regions``, float32, summing to 1."""
    posteriors: torch.Tensor = nets["regions"](batch["input"], batch["place"]).float().softmax(dim=1)
    return posteriors


def _losses(nets: "Nets", batch: "Batch", settings: Any, generator: "torch.Generator") -> "Mapping[str, torch.Tensor]":
    from .loss import losses

    return losses(nets, batch, settings, generator)


def _draw(example: Any, shape: tuple[int, int, int], generator: np.random.Generator) -> dict[str, np.ndarray]:
    from .paint import paint_patch

    return paint_patch(example.labels, example.place, shape, generator)


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
    learning=Learning(build, stages, predict, PRESETS, _draw, _judge, ("dice", "dice_low", "dice_thin")),
)
