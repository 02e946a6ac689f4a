"""A network that sees windows, used on a whole field: blended inside every step of a sampler, over one state.

There is one state and one noise for the field; windows are cut from them, so where two overlap they see the same noise
to the bit, and their answers are blended before the sampler goes on: no seams can arise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from ..errors import InputError

EDGE = 4.0
"""Half a window in SDs of its Gaussian weight: at the edge a window counts e⁻⁸ of what it counts in the middle."""


@dataclass(frozen=True)
class Windows:
    """``size`` of a window in voxels, one number an axis; ``overlap`` of neighbours, a share of it; ``batch`` at once.

    Raises InputError where there would be no windows.
    """

    size: tuple[int, ...]
    overlap: float = 0.5
    batch: int = 1

    def __post_init__(self) -> None:
        if min(self.size) < 1 or self.batch < 1:
            raise InputError(
                f"Expected windows of at least one voxel and one at a time, found {self.size} and {self.batch}; "
                "choose larger ones.",
                code="bad-setting",
            )
        if not 0 <= self.overlap < 1:
            raise InputError(
                f"Expected an overlap from 0 to below 1, found {self.overlap}; choose 0.5.", code="bad-setting"
            )

    def corners(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The first voxel of each window on a field of ``shape``, no side of which is smaller than a window's.

        As few as reach the overlap, spread evenly: the last one ends where the field ends.
        """
        return list(product(*(self._starts(side, size) for side, size in zip(shape, self.size, strict=True))))

    def _starts(self, side: int, size: int) -> list[int]:
        stride = max(1, math.floor(size * (1 - self.overlap) + 1e-9))  # 20·(1 − 0.9) is a little less than 2
        gaps = math.ceil((side - size) / stride)
        return [round(i * (side - size) / gaps) for i in range(gaps + 1)] if gaps else [0]

    def weight(self, like: Tensor) -> Tensor:
        """(*size) Gaussian, 1 in the middle, positive everywhere, in the dtype and on the device of ``like``."""
        weight = torch.ones((), dtype=torch.float64)
        for size in self.size:
            place = (torch.arange(size, dtype=torch.float64) + 0.5) / size * 2 - 1
            weight = weight[..., None] * torch.exp(-((EDGE * place) ** 2) / 2)
        return weight.to(like)


def blend(network: Callable[[Tensor], Tensor], field: Tensor, windows: Windows) -> Tensor:
    """(B, C', …) in the dtype of ``field`` (B, C, …): the results of a network on windows of it, blended.

    ``network`` maps (N, C, *size) to (N, C', *size), N ≤ ``windows.batch``, over the windows of all items; a voxel gets
    the mean over its windows, weighted by a Gaussian about their centres. How many windows go at once changes rounding
    only. A field smaller than a window is mirrored outwards, so that its noise stays noise, and cropped back.
    """
    shape = tuple(field.shape[2:])
    wide = _mirrored(field, windows.size)
    weight = windows.weight(field)
    boxes = [
        tuple(slice(start, start + side) for start, side in zip(corner, windows.size, strict=True))
        for corner in windows.corners(tuple(wide.shape[2:]))
    ]
    places = list(product(range(len(wide)), boxes))
    total, weights = field.new_zeros(()), field.new_zeros(wide.shape[2:])
    for first in range(0, len(places), windows.batch):
        group = places[first : first + windows.batch]
        answers = network(torch.stack([wide[item][:, *box] for item, box in group])).to(field.dtype)
        if first == 0:  # only now is it known how many channels come back
            total = field.new_zeros((len(wide), answers.shape[1], *wide.shape[2:]))
        for (item, box), answer in zip(group, answers, strict=True):
            total[item][:, *box] += weight * answer
    for box in boxes:
        weights[box] += weight
    return (total / weights)[:, :, *(slice(0, side) for side in shape)]


def _mirrored(field: Tensor, size: tuple[int, ...]) -> Tensor:
    """(B, C, …) no side of which is smaller than ``size``: mirrored beyond the last voxel, as often as it takes."""
    for axis, least in enumerate(size, start=2):
        side = field.shape[axis]
        if side < least:
            index = torch.arange(least, device=field.device) % (2 * side)
            field = field.index_select(axis, torch.minimum(index, 2 * side - 1 - index))
    return field
