"""What networks are given: items of a training step, or one session in use, as tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor

Item: TypeAlias = Mapping[str, Any]
"""One item of a batch by the names of its fields, without the first axis: numpy arrays; ``stacks`` another mapping."""

Index: TypeAlias = "slice | Tensor"
"""Which items of a batch: a slice, (N,) bool or (N,) int64."""

AXIAL, CORONAL, SAGITTAL, ISOTROPIC, NO_SLOT = 0, 1, 2, 3, -1
"""Values of ``Stacks.slot``: by the axis of the slices; isotropic; a stack that only fills up the batch."""


@dataclass(frozen=True, eq=False)
class _Tensors:
    """Tensors that share their first axis; a field may be None."""

    def __len__(self) -> int:
        return next(len(value) for value in self._parts().values())

    def __getitem__(self, index: Index) -> Self:
        """Some of the items."""
        return replace(self, **{name: value[index] for name, value in self._parts().items()})

    def to(self, device: torch.device | str) -> Self:
        """The same on a device."""
        return replace(self, **{name: value.to(device) for name, value in self._parts().items()})

    def _parts(self) -> "dict[str, Tensor | Stacks]":
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Stacks(_Tensors):
    """The K stacks of one contrast behind each of B items, interpolated once, linearly, to the items' grid.

    ``image`` (B, K, X, Y, Z) float32, 0 outside the field of view; ``covered`` (B, K, X, Y, Z) bool, the field of view;
    ``slot`` (B, K) int64, ``AXIAL`` … ``ISOTROPIC`` by geometry, ``NO_SLOT`` where an item has fewer stacks;
    ``fwhm`` (B, K, 3) float32, mm along the axes of the grid; ``sigma`` (B, K) float32, SD of the noise in units of
    ``image``.
    """

    image: Tensor
    covered: Tensor
    slot: Tensor
    fwhm: Tensor
    sigma: Tensor


@dataclass(frozen=True, eq=False)
class Batch(_Tensors):
    """B items of C contrasts on one grid (1 mm, RAS), scaled and zero outside the brain.

    ``input`` (B, C, X, Y, Z) float32, what is mapped; ``present`` (B, C) bool, contrasts in the input; ``mask``
    (B, 1, X, Y, Z) bool, brain. In training ``target`` (B, C, X, Y, Z) and ``wanted`` (B, C) bool, contrasts in it;
    ``person`` (B,) int64, number of the person. ``place`` (B, 4, 4) voxel → common space; ``where``
    (B, 3, X/2, Y/2, Z/2) common space of the cells of a label map. ``mean`` and ``scale`` (B, C, X, Y, Z), the estimate
    and the SD of its error, for methods that sample the residual; ``stacks`` behind the input; ``lesions``
    (B, 1, X, Y, Z) share of lesion, 0 to 1.
    """

    input: Tensor
    present: Tensor
    mask: Tensor
    target: Tensor | None = None
    wanted: Tensor | None = None
    person: Tensor | None = None
    place: Tensor | None = None
    where: Tensor | None = None
    mean: Tensor | None = None
    scale: Tensor | None = None
    stacks: Stacks | None = None
    lesions: Tensor | None = None

    @property
    def live(self) -> Tensor:
        """(B, C) bool: contrasts in the input that are also wanted; without targets, those in the input."""
        return self.present if self.wanted is None else self.present & self.wanted

    def without_target(self) -> "Batch":
        """What a network may see: without the answer."""
        return replace(self, target=None)


def collate(items: Sequence[Item]) -> Batch:
    """The items stacked along a new first axis, as tensors on the CPU."""
    parts = {name: _stacked([item[name] for item in items]) for name in items[0] if name != "stacks"}
    if "stacks" not in items[0]:
        return Batch(**parts)
    of_stacks = [item["stacks"] for item in items]
    stacks = Stacks(**{name: _stacked([one[name] for one in of_stacks]) for name in of_stacks[0]})
    return Batch(**parts, stacks=stacks)


def _stacked(arrays: Sequence[np.ndarray]) -> Any:
    return torch.from_numpy(np.stack(arrays))


def required(field: Tensor | None) -> Tensor:
    """The field of a batch, which must be there: ``required(batch.target)``."""
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
