"""Volumes as axial slices in [−1, 1] for ``cssdiff``: (B, S, C, U, V), S slices of U × V pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...nn.batch import Batch
from .network import Encoder

MULTIPLE = 16
"""Of pixels, that the sides of slices are padded to: the networks halve them, the discriminator four times."""

LEAST = 32
"""Pixels a side of the smallest slice."""

AROUND = 2
"""Slices on either side of a slice whose tokens the denoiser is shown."""


@dataclass(frozen=True)
class Slices:
    """A batch as slices, background −1. ``low``, ``high`` (None in use) and ``mask`` (B, S, C or 1, U, V).

    ``present`` (B, C) contrasts in the input; ``live`` (B, C) those of them that are to be made.
    """

    low: Tensor
    high: Tensor | None
    mask: Tensor
    present: Tensor
    live: Tensor

    def seen(self, item: Tensor, index: Tensor, reach: int) -> Tensor:
        """(N, K, U, V) of slices ``index`` (N,) of items (N,): low field, neighbours', planes of 1 where present."""
        last = self.low.shape[1] - 1
        offsets = [0, *(o for o in range(-reach, reach + 1) if o)]
        found = [self.low[item, (index + offset).clamp(0, last)] for offset in offsets]
        planes = self.present[item][:, :, None, None].to(found[0]).expand_as(found[0])
        return torch.cat([*found, planes], dim=1)


def as_slices(batch: Batch) -> Slices:
    """The batch as slices; a contrast that is not in the input is background."""
    present = batch.present
    low = batch.input * present[:, :, None, None, None]
    high = None if batch.target is None else _sliced(2 * batch.target - 1, -1)
    return Slices(_sliced(2 * low - 1, -1), high, _sliced(batch.mask.float(), 0) > 0, present, batch.live)


def as_volume(slices: Tensor, shape: torch.Size) -> Tensor:
    """(B, C, X, Y, Z) from slices of it in [−1, 1], back in its units."""
    return (slices[..., : shape[2], : shape[3]].permute(0, 2, 3, 4, 1) + 1) / 2


def _sliced(field: Tensor, value: float) -> Tensor:
    """(B, S, C, U, V), padded with ``value``."""
    more = padding(field.shape[2:4])
    return functional.pad(field.permute(0, 4, 1, 2, 3), (0, more[1], 0, more[0]), value=value)


def padding(sides: Sequence[int]) -> list[int]:
    """Pixels that are added to the first two of the sides."""
    return [max(-side % MULTIPLE, LEAST - side) for side in sides[:2]]


def embed(encoder: Encoder, stack: Tensor, present: Tensor) -> Tensor:
    """(B, S, ``TOKEN``): every slice of stacks (B, S, C, U, V)."""
    count = stack.shape[1]
    return encoder(stack.flatten(0, 1), present.repeat_interleave(count, dim=0)).unflatten(0, (-1, count))


def tokens_of(embedded: Tensor, item: Tensor, index: Tensor) -> Tensor:
    """(N, 2·``AROUND`` + 1, ``TOKEN``): those of the slices and their neighbours, the ends repeated."""
    offsets = torch.arange(-AROUND, AROUND + 1, device=index.device)
    return embedded[item[:, None], (index[:, None] + offsets).clamp(0, embedded.shape[1] - 1)]
