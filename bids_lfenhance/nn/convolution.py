"""Convolutions in three dimensions that cost a processor less; the same numbers but for rounding.

Winograd's minimal filtering F(4, 3) makes four outputs of six inputs by six multiplications instead of twelve (S.
Winograd, Arithmetic Complexity of Computations, 1980; A. Lavin and S. Gray, Fast algorithms for convolutional neural
networks, CVPR 2016, section 4.3). It is applied to one axis here: the six multiplications are convolutions of slices in
two dimensions, beside which the sums before and after them are small.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from .normalisation import in_place

KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
"""(6, 3): the six kernels of F(4, 3), from the three of one axis."""

TILE = 4
"""Outputs of one F(4, 3)."""

TILES = 2
"""How many at once: what is alive then stays near the processor's cache."""


class Conv3x3x3(nn.Conv3d):
    """``nn.Conv3d(inputs, outputs, 3, padding=1)``; on a processor, without gradients, by minimal filtering."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, outputs, X, Y, Z) of (B, inputs, X, Y, Z)."""
        if not in_place(x):
            return super().forward(x)
        kernel = torch.tensor(KERNEL, dtype=torch.float64)
        six = torch.einsum("jk,oikhw->joihw", kernel, self.weight.double()).to(x.dtype)
        kernels = [one.contiguous(memory_format=torch.channels_last) for one in six]
        batch, _, depth, *sides = x.shape
        shape = (batch, len(self.weight), depth + -depth % TILE, *sides)
        out = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last_3d)
        for image, result in zip(x, out, strict=True):
            _convolve(image.transpose(0, 1), kernels, self.bias, result.transpose(0, 1))
        return out[:, :, :depth]


class Conv1x1x1(nn.Conv3d):
    """``nn.Conv3d(inputs, outputs, 1)`` as one product of matrices: torch unfolds the image for it on one thread."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, outputs, X, Y, Z) of (B, inputs, X, Y, Z), or (n, outputs) of (n, inputs)."""
        return functional.linear(x.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)


def _convolve(slices: Tensor, kernels: list[Tensor], bias: Tensor | None, out: Tensor) -> None:
    """Write the 4 n slices ``out`` of at most as many ``slices``; fastest where these are channels-last."""
    depth = len(slices)
    for start in range(0, len(out), TILE * TILES):
        stop = min(start + TILE * TILES, len(out))
        before, after = max(1 - start, 0), max(stop + 1 - depth, 0)
        here = slices[max(start - 1, 0) : stop + 1]
        if before or after:
            here = functional.pad(here, (0, 0, 0, 0, 0, 0, before, after))
        _minimal_filtering(here, kernels, bias, out[start:stop])


def _minimal_filtering(slices: Tensor, kernels: list[Tensor], bias: Tensor | None, out: Tensor) -> None:
    """Write the 4 n slices ``out`` of 4 n + 2 ``slices``; in place where it can be, for what is alive stays small.

    The bias goes with the second of the products, which every output contains once.
    """
    stop = len(slices) - 5
    d0, d1, d2, d3, d4, d5 = (slices[first : first + stop : TILE] for first in range(6))

    def product(which: int, image: Tensor) -> Tensor:
        return functional.conv2d(image, kernels[which], bias if which == 1 else None, padding=1)

    even, odd = torch.sub(d4, d2, alpha=4), torch.sub(d3, d1, alpha=4)
    m1, m2 = product(1, even + odd), product(2, even.sub_(odd))
    even, odd = torch.sub(d4, d2), torch.sub(d3, d1)
    m3, m4 = product(3, torch.add(even, odd, alpha=2)), product(4, torch.sub(even, odd, alpha=2))
    m0 = product(0, even.add_(torch.sub(d0, d2), alpha=4))
    m5 = product(5, torch.sub(d5, odd, alpha=4).sub_(d3))
    sum12, difference12 = m1 + m2, m1.sub_(m2)
    sum34, difference34 = m3 + m4, m3.sub_(m4)
    torch.add(m0.add_(sum12), sum34, out=out[0::TILE])
    torch.add(difference12, difference34, alpha=2, out=out[1::TILE])
    torch.add(sum12, sum34, alpha=4, out=out[2::TILE])
    torch.add(difference12.add_(m5), difference34, alpha=8, out=out[3::TILE])
