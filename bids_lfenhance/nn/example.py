"""One example of a training: where its arrays lie, and what is known of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import InputError
from .settings import JsonObject

Kind = Literal["simulated", "pairs", "labels", "heads", "maps", "stacks"]
"""Low and high field, simulated or acquired; a label map with its warps, of the whole head; high field, or a label map
of the brain, as bytes, from which low field is simulated while a network learns; acquired stacks and high field, as
bytes, for a network that learns from both."""


@dataclass(frozen=True)
class Example:
    """One session's low and high field on one grid (1 mm, RAS), scaled by ``Scale`` and zero outside the brain.

    ``contrasts`` field → the contrasts that ``low`` and ``high`` hold, in the order of ``CONTRASTS``; ``to_template``
    (4, 4) voxel → common-space coordinates in about [−1, 1]; ``affine`` (4, 4) voxel → RAS+ mm; ``scales`` field → what
    each contrast was divided by; ``origin`` where it comes from (plain JSON; a simulated one: the simulator's record);
    ``sources`` (path, sha256) of the files behind it; ``curves`` contrast → (2, K) intensities, those of high field and
    what they become in the contrast of low field, where a network shall aim at that; ``resolution`` (n, 4, 3) float32
    mm, of "stacks", as ``training.acquired``. ``dataset`` and ``subject`` name the person.
    """

    folder: Path
    kind: Kind
    dataset: str
    subject: str
    session: str
    contrasts: Mapping[str, tuple[str, ...]]
    to_template: np.ndarray
    affine: np.ndarray
    scales: Mapping[str, tuple[float, ...]]
    origin: JsonObject
    sources: tuple[tuple[str, str], ...]
    curves: Mapping[str, np.ndarray]
    resolution: np.ndarray

    @property
    def person(self) -> str:
        """``dataset/subject``: the same name for one person in every session and split."""
        return f"{self.dataset}/{self.subject}" if self.dataset else self.subject

    @cached_property
    def low(self) -> np.ndarray:
        """(n, X, Y, Z) float16, memory-mapped: low field, the contrasts of ``contrasts["low"]``."""
        return self._array("low")

    @cached_property
    def high(self) -> np.ndarray:
        """(n, X, Y, Z), memory-mapped: high field, contrasts as ``contrasts["high"]``; float16, of "heads" uint8."""
        return self._array("high")

    @cached_property
    def mask(self) -> np.ndarray:
        """(X, Y, Z) bool, memory-mapped: brain."""
        return self._array("mask")

    @cached_property
    def labels(self) -> np.ndarray:
        """(X, Y, Z) uint8, memory-mapped: a label map, of the kinds "labels" and "maps", which have no images."""
        return self._array("labels")

    @cached_property
    def slots(self) -> np.ndarray:
        """(n, 4, X, Y, Z) uint8, memory-mapped: acquired stacks, of the kind "stacks"."""
        return self._array("slots")

    @cached_property
    def covered(self) -> np.ndarray:
        """(n, 4, X, Y, Z) uint8, memory-mapped: 1 where a stack covers."""
        return self._array("covered")

    @cached_property
    def template_coordinates(self) -> np.ndarray:
        """(W, 3, X/2, Y/2, Z/2) float16, memory-mapped: where the label map's cells lie in common space, by W warps."""
        return self._array("template_coordinates")

    def _array(self, name: str) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        try:
            array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"Expected an array in {path}, found none that can be read; write it again.") from error
        return array
