"""Options of use that learned methods share; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal, TypeVar

from ..nn.method import Description
from ..nn.settings import Checked, JsonObject, setting

AskedFusion = Literal["mean", "sr", "restored", "sharp"]

Precision = Literal["bf16", "fp32"]

COARSER = "choose smaller weights, or --sloppy, whose grid is coarser"
"""Advice where the smallest size does not fit into memory."""

IN_HIGH_FIELD_CONTRAST = ("restored", "sharp")
"""Fusions whose image has high-field contrast before a network sees it."""


@dataclass(frozen=True)
class NetworkSampling(Checked):
    """Options of every method with networks, each time it is used."""

    weights: str = field(
        default="auto",
        metadata=setting(
            "folder of a training, .safetensors file, name of the registry, or https://...#sha256=...; auto: the "
            "bundled"
        ),
    )
    device: str = field(default="cpu", metadata=setting("where the networks run; the app's --device"))
    precision: Precision = field(
        default="bf16",
        metadata=setting("arithmetic of the networks: bf16, where the processor supports it, or fp32"),
    )


TargetContrast = Literal["auto", "own", "high-field", "learned"]

SHARES: Mapping[str, float] = {"own": 0.0, "auto": 0.5, "high-field": 1.0}
"""How much of the change from the scan's contrast to that of high field is made in T1w. A low-field scan does not tell
which contrast the high field of its site has: half was better than none or all in the mean of four people of three
scanners, and at most .3 dB worse than the better of these (docs/methods/fusionnet.md)."""


@dataclass(frozen=True)
class EstimateSampling(NetworkSampling):
    """Options of every method that builds on the learned estimate."""

    target_contrast: TargetContrast = field(
        default="auto",
        metadata=setting(
            "contrast of T1w: own, that of the scan; high-field, as an MPRAGE at 3 T has it, by a curve of intensity; "
            "auto, half way between the two; learned, that of the high field that the weights were trained on (T2w and "
            "FLAIR keep their own)",
            "docs/methods/fusionnet.md",
        ),
    )


S = TypeVar("S")


def settings_with(about: Description[S], sampling: NetworkSampling, stored: JsonObject) -> S:
    """The settings of a method: network and training as the weights store them, the rest as ``sampling`` has them."""
    asked = {item.name: getattr(sampling, item.name) for item in fields(about.sampling)}
    return about.settings(**settings_of_weights(about, stored), **asked)


def settings_of_weights(about: Description, stored: JsonObject) -> JsonObject:
    """Network and training settings as weights store them, without those that the method no longer has."""
    names = {item.name for kind in (about.network, about.training, about.measured) if kind for item in fields(kind)}
    known = {name: value for name, value in stored.items() if name in names}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in known.items()}
