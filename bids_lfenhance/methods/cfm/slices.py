"""Volumes as slices for ``cfm``: what the network is shown of them, and their noise.

Everything here lies slice axis first: (B, C, S, U, V), S slices of U × V pixels, whatever the plane.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...nn.batch import Batch
from ...nn.flow import draw_source
from .settings import CfmSettings

AXIS = {"sagittal": 2, "coronal": 3, "axial": 4}
"""Which axis of (B, C, X, Y, Z), RAS, the slices of a plane are stacked along."""

REGION = 4
"""Pixels around the brain that are learned too, so that convolutions know its edge from both sides."""


@dataclass(frozen=True)
class Slices:
    """A batch as slices, padded with zeros to the sides the network takes.

    ``low`` (B, C, S, U, V) the input; ``high`` the target, None in use; ``mask`` (B, 1, S, U, V) bool, ``region`` the
    same and ``REGION`` pixels more in its plane; ``present`` (B, C) contrasts in the input; ``live`` (B, C) those of
    them that are to be made: the others have no state. ``reach`` of the neighbours shown on either side.
    """

    low: Tensor
    high: Tensor | None
    mask: Tensor
    region: Tensor
    present: Tensor
    live: Tensor
    reach: int

    def pick(self, field: Tensor, index: Tensor) -> Tensor:
        """(B·k, C, U, V): the slices ``index`` (B, k) of a field (B, C, S, U, V), zeros beyond its ends."""
        inside = (index >= 0) & (index < field.shape[2])
        items = torch.arange(len(index), device=index.device)[:, None]
        found = field[items, :, index.clamp(0, field.shape[2] - 1)]  # (B, k, C, U, V)
        return (found * inside[:, :, None, None, None]).flatten(0, 1)

    def item(self, number: int) -> "Slices":
        """One item of the batch as a batch of its own."""
        one = slice(number, number + 1)
        high = None if self.high is None else self.high[one]
        parts = (self.mask[one], self.region[one], self.present[one], self.live[one])
        return Slices(self.low[one], high, *parts, self.reach)

    def condition(self, index: Tensor) -> Tensor:
        """(B·k, K, U, V): the slices' low field, that of their neighbours, and planes of 1 for contrasts present."""
        seen = [self.pick(self.low, index + offset) for offset in range(-self.reach, self.reach + 1)]
        planes = self.present.repeat_interleave(index.shape[1], dim=0)[:, :, None, None].to(seen[0])
        return torch.cat([*seen, planes.expand_as(seen[0])], dim=1)


def as_slices(batch: Batch, settings: CfmSettings, multiple: int) -> Slices:
    """The batch as slices of the settings' plane; ``multiple`` of pixels their sides are padded to."""
    axis = AXIS[settings.plane]
    low, mask = (_padded(field.movedim(axis, 2), multiple) for field in (batch.input, batch.mask))
    high = None if batch.target is None else _padded(batch.target.movedim(axis, 2), multiple)
    present = batch.present
    low = low * present[:, :, None, None, None]
    size = 2 * REGION + 1
    wide = functional.max_pool3d(mask.float(), (1, size, size), 1, (0, REGION, REGION)) > 0
    return Slices(low, high, mask, wide, present, batch.live, settings.n_ctx)


def as_volume(slices: Tensor, settings: CfmSettings, shape: torch.Size) -> Tensor:
    """(B, C, X, Y, Z): the inverse of ``as_slices`` for a field of slices; ``shape`` of the volume."""
    axis = AXIS[settings.plane]
    sides = [side for number, side in enumerate(shape) if number >= 2 and number != axis]
    return slices[..., : sides[0], : sides[1]].movedim(2, axis)


def _padded(field: Tensor, multiple: int) -> Tensor:
    return functional.pad(field, (0, -field.shape[-1] % multiple, 0, -field.shape[-2] % multiple))


def draw_noise(like: Tensor, correlation: float, generator: torch.Generator) -> Tensor:
    """(B, C, S, U, V) N(0, 1), each slice ``correlation`` ρ with the one before: ε_s = ρ ε_(s−1) + √(1−ρ²) ν_s.

    One field for the whole volume, so that slices made one by one do not flicker. A slice's own noise
    is white whatever ρ, so that weights may be used with another one than they were trained with.
    """
    noise = draw_source(like, "noise", 0.0, generator)
    for number in range(1, noise.shape[2]) if correlation else ():
        noise[:, :, number] *= (1 - correlation**2) ** 0.5
        noise[:, :, number] += correlation * noise[:, :, number - 1]
    return noise
