"""Group normalisation that needs no second image, on a processor where nothing is learned.

Between two convolutions every voxel is normalised, scaled, added to and bent by itself. Done to a whole brain one after
the other, each of these reads and writes all of it; here they are done to a few voxels while those are in the cache.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

NUMBERS = 2**18
"""How many numbers are in the processor's cache at once: 1 MiB."""


def in_place(x: Tensor) -> bool:
    """Whether what an image was may be overwritten: on a processor, without gradients, in the precision it has."""
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")


def voxels(image: Tensor, norm: nn.GroupNorm) -> tuple[Tensor, ...]:
    """(n, C) parts of an image (C, X, Y, Z), in order, as many voxels each as ``normalised`` takes at once.

    Views of the image where its channels are last.
    """
    return image.movedim(0, -1).flatten(0, -2).split(max(NUMBERS // norm.num_channels, 1))


def normalised(image: Tensor, norm: nn.GroupNorm) -> Iterator[Tensor]:
    """The ``voxels`` of an image (C, X, Y, Z), channels last, each part overwritten by what ``norm`` makes of it."""
    parts = voxels(image, norm)
    scale, shift = _moments(parts, norm)
    for part in parts:
        yield torch.addcmul(shift, part, scale, out=part)


def _moments(parts: tuple[Tensor, ...], norm: nn.GroupNorm) -> tuple[Tensor, Tensor]:
    """(C,) factors and (C,) summands of a normalisation, from the means and variances of its groups."""
    near = parts[0].mean(0)  # subtracted first: squares of what is far from zero are not exact
    total, squares = (torch.zeros(len(near), dtype=torch.float64) for _ in range(2))
    for part in parts:
        apart = part - near
        total += apart.sum(0)
        squares += apart.square_().sum(0)
    count = sum(len(part) for part in parts)
    offset = total / count
    mean, variance = near + offset, squares / count - offset**2
    of_group = mean.unflatten(0, (norm.num_groups, -1)).mean(1, keepdim=True)
    spread = variance.unflatten(0, (norm.num_groups, -1)) + (mean.unflatten(0, (norm.num_groups, -1)) - of_group) ** 2
    each = (norm.num_groups, norm.num_channels // norm.num_groups)
    scale = (spread.mean(1, keepdim=True) + norm.eps).rsqrt().expand(each).flatten() * norm.weight
    shift = norm.bias - of_group.expand(each).flatten() * scale
    return scale.to(near.dtype), shift.to(near.dtype)
