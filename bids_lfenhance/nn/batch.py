"""What networks are given: items of a training step, or one session in use, as tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor

Item: TypeAlias = Mapping[str, Any]
"""One item of a batch by the names of its fields, numpy arrays without the first axis."""

BEYOND_BRAIN = 0.03
"""Weight of a voxel outside the brain in a loss, where there is little to learn; inside it is one more."""

Index: TypeAlias = "slice | Tensor"
"""Which items of a batch: a slice, (N,) bool or (N,) int64."""


@dataclass(frozen=True, eq=False)
class Batch:
    """B items of C contrasts on one grid (1 mm, RAS), scaled and zero outside the brain.

    ``input`` (B, C, X, Y, Z) float32, what is mapped; ``present`` (B, C) bool, contrasts in the input; ``mask``
    (B, 1, X, Y, Z) bool, brain. In training ``target`` (B, C, X, Y, Z) and ``wanted`` (B, C) bool, contrasts in it.
    ``to_template`` (B, 4, 4) voxel → common space; ``template_coordinates`` (B, 3, X/2, Y/2, Z/2) of the cells of a
    label map in common space. ``mean`` and ``scale`` (B, C, X, Y, Z), the estimate and the SD of its error, for methods
    that sample the residual; ``lesions`` (B, 1, X, Y, Z) share of lesion, 0 to 1.
    """

    input: Tensor
    present: Tensor
    mask: Tensor
    target: Tensor | None = None
    wanted: Tensor | None = None
    to_template: Tensor | None = None
    template_coordinates: Tensor | None = None
    mean: Tensor | None = None
    scale: Tensor | None = None
    lesions: Tensor | None = None

    def __len__(self) -> int:
        return len(self.input)

    def __getitem__(self, index: Index) -> Self:
        """Some of the items."""
        return replace(self, **{name: value[index] for name, value in self._tensors().items()})

    def to(self, device: torch.device | str) -> Self:
        """The same on a device."""
        return replace(self, **{name: value.to(device) for name, value in self._tensors().items()})

    def _tensors(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self).items() if value is not None}

    @property
    def live(self) -> Tensor:
        """(B, C) bool: contrasts in the input that are also wanted; without targets, those in the input."""
        return self.present if self.wanted is None else self.present & self.wanted

    def without_target(self) -> "Batch":
        """What a network may see: without the answer."""
        return replace(self, target=None)


def collate(items: Sequence[Item]) -> Batch:
    """The items stacked along a new first axis, as tensors on the CPU."""
    return Batch(**{name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]})


def required(field: Tensor | None) -> Tensor:
    """A field of a batch that may be None, as in ``required(batch.target)``; ``TypeError`` where it is."""
    if field is None:
        raise TypeError("this batch lacks a field that the method needs")
    return field


PAIR = "pair"
"""Name of an acquired session; others are simulated."""


@dataclass(frozen=True, eq=False)
class ValidationSession:
    """A whole head, a batch of one with its target, by which a training is scored.

    ``name`` of the session; ``own``: the contrast of the scan is kept.
    """

    name: str
    own: bool
    batch: Batch
