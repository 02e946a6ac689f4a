"""Settings that the learned methods share: the user's options, and what weights store of the image they start from."""

from dataclasses import dataclass, field, fields, replace
from typing import Literal, TypeVar

from ..nn.method import Description, Plain
from ..nn.settings import Checked, setting

AskedFusion = Literal["mean", "sr", "restored", "sharp"]

AskedContrast = Literal["auto", "none", "restored"]

Precision = Literal["bf16", "fp32"]

COARSER = "choose smaller weights, or --sloppy, whose grid is coarser"
"""Advice where the smallest size does not fit into memory."""

IN_HIGH_FIELD_CONTRAST = ("restored", "sharp")
"""Fusions that change contrast, so that a network need not: it aims at high field in the contrast of low field."""


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


@dataclass(frozen=True)
class LearnedSampling(NetworkSampling):
    """Options of the methods that start from a fused image."""

    strength: float = field(
        default=0.0,
        metadata=setting(
            "share of the network's change that is applied to each draw, to 1; 0: the weights' own; a network knows "
            "its own simulator too well",
            least=0,
            most=1,
        ),
    )
    contrast: AskedContrast = field(
        default="auto",
        metadata=setting(
            "contrast of the result: restored, that of high field tissue by tissue, as inr does; none, that of the "
            "scan, given back where the network started from another; auto, as the weights ask for, and else as the "
            "network left it",
            "docs/methods/inr.md",
        ),
    )


TargetContrast = Literal["auto", "own", "high-field"]


@dataclass(frozen=True)
class EstimateSampling(NetworkSampling):
    """Options of every method that stands on the learned estimate."""

    target_contrast: TargetContrast = field(
        default="auto",
        metadata=setting(
            "contrast of the result: own, that of the scan; high-field, T1w as an MPRAGE at 3 T has it (others keep "
            "their own); auto: own",
            "docs/methods/fusionnet.md",
        ),
    )


@dataclass(frozen=True)
class LearnedNetwork(Checked):
    """What weights store of the image their network starts from."""

    fusion: AskedFusion = field(
        default="mean",
        metadata=setting(
            "what is enhanced: mean, the plain mean of the stacks; sr, the super-resolved image of interp; restored, "
            "the same in the contrast of high field, given to it tissue by tissue as inr does; sharp, that with a "
            "quarter of the smoothing: noise is left to the network, and what is not applied of its change is the "
            "smooth image's",
            "docs/methods/inr.md",
        ),
    )


S = TypeVar("S")


def settings_in_use(about: Description[S], sampling: LearnedSampling, stored: Plain) -> S:
    """The settings of a method as they are in use: network and training as the weights store them, else the user's.

    ``stored`` are the settings in the weights; one they do not know keeps its default. ``strength`` 0 and ``contrast``
    auto, where the user left them so, are the weights' too.
    """
    strength = sampling.strength or stored.get("strength", 0.0)
    contrast = stored.get("contrast", "auto") if sampling.contrast == "auto" else sampling.contrast
    return settings_with(about, replace(sampling, strength=strength, contrast=contrast), stored)


def settings_with(about: Description[S], sampling: NetworkSampling, stored: Plain) -> S:
    """The settings of a method: network and training as the weights store them, the rest as ``sampling`` has them."""
    asked = {item.name: getattr(sampling, item.name) for item in fields(about.sampling)}
    return about.settings(**settings_of_weights(about, stored), **asked)


def settings_of_weights(about: Description, stored: Plain) -> Plain:
    """Network and training settings as weights store them, those that are known today."""
    names = {item.name for kind in (about.network, about.training, about.found) if kind for item in fields(kind)}
    known = {name: value for name, value in stored.items() if name in names}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in known.items()}
