"""Neighbouring voxels as channels and back: an eighth of the positions, nothing lost (sub-pixel convolution)."""

from torch import Tensor


def pixel_unshuffle3d(image: Tensor, by: int) -> Tensor:
    """(B, C·by³, X/by, Y/by, Z/by): neighbouring voxels of (B, C, X, Y, Z) as channels; nothing is lost."""
    batch, channels, x, y, z = image.shape
    cells = image.reshape(batch, channels, x // by, by, y // by, by, z // by, by)
    return cells.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(batch, channels * by**3, x // by, y // by, z // by)


def pixel_shuffle3d(features: Tensor, by: int) -> Tensor:
    """(B, C, X, Y, Z): the inverse of ``pixel_unshuffle3d`` (sub-pixel convolution's rearrangement)."""
    batch, channels, x, y, z = features.shape
    cells = features.reshape(batch, channels // by**3, by, by, by, x, y, z)
    return cells.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(batch, channels // by**3, x * by, y * by, z * by)
