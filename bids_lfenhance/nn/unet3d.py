"""One residual 3D U-Net: for the estimate, and, with a time, for the flow of its residual."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .convolution import Conv1x1x1, Conv3x3x3
from .noise_embedding import EMBEDDING, embedding_network, sinusoids
from .normalisation import in_place, normalised, voxels

GROUPS = 8
"""Groups of every normalisation."""


class ResidualBlock3d(nn.Module):
    """Two 3×3×3 convolutions with GroupNorm and SiLU beside a shortcut; a time embedding scales and shifts the first.

    (B, in, X, Y, Z) → (B, out, X, Y, Z).
    """

    def __init__(self, features_in: int, features_out: int, timed: bool) -> None:
        super().__init__()
        self.conv1 = Conv3x3x3(features_in, features_out)
        self.norm1 = nn.GroupNorm(GROUPS, features_out)
        self.conv2 = Conv3x3x3(features_out, features_out)
        self.norm2 = nn.GroupNorm(GROUPS, features_out)
        same = features_in == features_out
        self.shortcut = nn.Identity() if same else Conv1x1x1(features_in, features_out)
        self.time = nn.Linear(EMBEDDING, 2 * features_out) if timed else None

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """(B, out, X, Y, Z)."""
        timed = None if self.time is None or embedding is None else self.time(embedding)
        if in_place(x):
            return self._in_place(x, timed)
        hidden = functional.silu(self.norm1(self.conv1(x)))
        if timed is not None:
            scale, shift = timed[..., None, None, None].chunk(2, dim=1)
            hidden = hidden * (1 + scale) + shift
        hidden = self.norm2(self.conv2(hidden))
        return functional.silu(hidden + self.shortcut(x), inplace=not self.training)

    def _in_place(self, x: Tensor, timed: Tensor | None) -> Tensor:
        """The same, with half as much memory beside ``x``; ``timed`` (B, 2 · out)."""
        hidden = self.conv1(x)
        for number, image in enumerate(hidden):
            for part in normalised(image, self.norm1):
                functional.silu(part, inplace=True)
                if timed is not None:
                    scale, shift = timed[number].chunk(2)
                    torch.addcmul(shift, part, 1 + scale, out=part)
        hidden = self.conv2(hidden)
        for before, image in zip(x, hidden, strict=True):
            for was, part in zip(voxels(before, self.norm2), normalised(image, self.norm2), strict=True):
                part.add_(self.shortcut(was))
                functional.silu(part, inplace=True)
        return hidden


class UNet3d(nn.Module):
    """A residual U-Net on (B, in, X, Y, Z) → (B, out, X, Y, Z) float32, sides multiples of ``multiple``.

    ``widths`` features a level, strided 2×2×2 convolutions between them; the last convolution starts at zero. With
    ``timed`` a call takes ``time`` (B,), the time of the flow in [0, 1].
    """

    def __init__(self, features_in: int, features_out: int, widths: Sequence[int], timed: bool = False) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        ins = [features_in, *widths[:-1]]
        up = list(reversed(widths[:-1]))
        deeper = list(reversed(widths[1:]))
        self.encoder = nn.ModuleList(ResidualBlock3d(i, o, timed) for i, o in zip(ins, widths, strict=True))
        self.down = nn.ModuleList(nn.Conv3d(width, width, 2, stride=2) for width in widths[:-1])
        self.up = nn.ModuleList(nn.ConvTranspose3d(i, o, 2, stride=2) for i, o in zip(deeper, up, strict=True))
        self.decoder = nn.ModuleList(ResidualBlock3d(2 * width, width, timed) for width in up)
        self.last = Conv1x1x1(widths[0], features_out)
        self.time = embedding_network() if timed else None
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """(B, out, X, Y, Z)."""
        embedding = None if self.time is None or time is None else self.time(sinusoids(time))
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(x, embedding)
            if level < len(self.down):
                skips.append(x)
                x = self.down[level](x)
        for widen, block in zip(self.up, self.decoder, strict=True):
            x = block(torch.cat([widen(x), skips.pop()], dim=1), embedding)
        out: Tensor = self.last(x)
        return out


def apply_padded(network: nn.Module, x: Tensor, *more: Tensor) -> Tensor:
    """(B, out, …) float32 of a U-Net in two or three dimensions, for sides of any length: padded with zeros, cut back.

    Its ``multiple`` is what it needs sides to be multiples of.
    """
    multiple = int(getattr(network, "multiple", 1))
    sides = x.shape[2:]
    pad = [amount for side in reversed(sides) for amount in (0, -side % multiple)]
    form = torch.channels_last_3d if len(sides) == 3 else torch.channels_last
    out: Tensor = network(functional.pad(x, pad).contiguous(memory_format=form), *more).float()
    for axis, side in enumerate(sides, start=2):
        out = out.narrow(axis, 0, side)
    return out
