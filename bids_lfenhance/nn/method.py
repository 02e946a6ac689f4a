"""One shape for every method: a record of functions, never a subclass."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..imaging.volume import Volume


@dataclass(frozen=True)
class Draw:
    """One output of a method: ``image`` (C, X, Y, Z) float32 on the volume's grid, and what there is to tell of it.

    ``record`` holds plain JSON values (losses, fitted contrast vector, warnings under the key ``"warnings"``).
    """

    image: np.ndarray
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Enhanced:
    """What ``enhance`` returns.

    ``image`` (C, X, Y, Z) float32, the mean over draws; ``std`` the voxelwise SD over draws, or None for one draw;
    ``provenance`` plain JSON values: method, settings, seed, number of draws, each draw's record, seconds.
    """

    image: np.ndarray
    std: np.ndarray | None
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Method:
    """A way from low field to high field.

    ``settings`` is the frozen dataclass of the method's own options: each field carries a default and
    ``metadata={"help": …, "source": …}``, from which the command line's ``--<name>-<field>`` is made; a field that
    takes one of few words is a ``Literal``.
    ``learns_from``: "pairs", "hf", "scan" (``sample`` fits, then queries; no checkpoint) or "nothing".
    ``prepare(volume, settings)`` returns what all draws share (weights, a fused base, a fitted contrast vector), so
    that it is paid for once; ``sample(nets, volume, settings, generator) -> Draw`` draws once, given it as ``nets``.
    ``draws`` is how many draws ``enhance`` takes unless told otherwise; more than one only makes sense where
    ``sample`` uses its generator. ``budgets`` maps a budget ("sloppy", "cpu", "gpu") to the settings it changes.
    """

    name: str
    settings: type
    maps: Literal["lf2hf", "hf2lf"]
    learns_from: Literal["pairs", "hf", "scan", "nothing"]
    sample: Callable[[Mapping[str, Any], Volume, Any, np.random.Generator], Draw]
    draws: int = 1
    budgets: Mapping[str, Mapping[str, Any]] | None = None
    prepare: Callable[[Volume, Any], Mapping[str, Any]] | None = None
