"""How the settings of methods tell of themselves, and what several of them tell alike."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal

Decides = Literal["user", "network", "training"]
"""Who decides a setting where trained weights are used: the user; or they do, as it belongs to what was learnt, or to
how."""


def told(text: str, source: str = "our choice", by: Decides = "user") -> dict[str, str]:
    """Metadata of a field: what it does, where its default comes from, and who decides it in use."""
    return {"help": text, "source": source, "by": by}


def decided(settings: type, *by: Decides) -> frozenset[str]:
    """The names of the fields that one of these decides in use; what does not say is the user's.

    >>> from .pfsr.recipe import PfsrSettings
    >>> sorted(decided(PfsrSettings, "user"))
    ['contrast', 'device', 'noise', 'precision', 'strength', 'weights', 'window']
    """
    return frozenset(f.name for f in fields(settings) if f.metadata.get("by", "user") in by)


def as_trained(settings: Any, weights: Mapping[str, Any]) -> Any:
    """The settings as they are in use: with all that the user does not decide as the ``weights`` have it.

    ``weights`` are the settings they were trained with; one they do not know keeps its default. ``strength`` 0 and
    ``contrast`` auto, where the user left them so, are theirs too.
    """
    theirs = decided(type(settings), "network", "training")
    trained = {name: value for name, value in weights.items() if name in theirs}
    strength = settings.strength or weights.get("strength", 0.0)
    contrast = weights.get("contrast", "auto") if settings.contrast == "auto" else settings.contrast
    return replace(settings, **trained, strength=strength, contrast=contrast)


WEIGHTS = told(
    "folder of a training, .safetensors file, name of the registry, or https://...#sha256=...; auto: the bundled"
)
"""Metadata of ``weights`` in a method that learns."""

AskedFusion = Literal["mean", "sr", "restored", "sharp"]

FUSION = told(
    "what is enhanced: mean, the plain mean of the stacks; sr, the super-resolved image of interp; restored, the same "
    "in the contrast of high field, given to it tissue by tissue as inr does; sharp, that with a quarter of the "
    "smoothing: noise is left to the network, and what is not applied of its change is the smooth image's",
    "methods.md §3.1",
    "network",
)
"""Metadata of ``fusion`` in a method that learns: see ``contrast.shown``."""

IN_HIGH_FIELD_CONTRAST = ("restored", "sharp")
"""Fusions that change contrast, so that a network need not: it aims at high field in the contrast of low field."""

Precision = Literal["bf16", "fp32"]

PRECISION = told("numbers the networks multiply: bf16, where the processor does so natively, or fp32")
"""Metadata of ``precision`` in a method that learns; a training has its own."""

AskedContrast = Literal["auto", "none", "restored"]

CONTRAST = told(
    "contrast of the result: restored, that of high field tissue by tissue, as inr does; none, that of the scan, given "
    "back where the network was shown another; auto, as the weights ask for, and else as the network left it",
    "methods.md §3.1",
)
"""Metadata of ``contrast`` in a method that learns: see ``contrast.finished``."""
