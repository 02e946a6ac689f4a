"""Differentiable structural similarity, and the mean inside a mask."""

from functools import cache

import torch
from torch import Tensor

from ..imaging.ssim import RADIUS, SIGMA, similarity


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """(N,) the mean of each image where ``mask``, both (N, 1, X, Y, Z); 0 where there is nothing to average."""
    axes = (1, 2, 3, 4)
    return (values * mask).sum(dim=axes) / mask.sum(dim=axes).clamp(min=1)


def ssim(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """(N,) mean structural similarity inside the mask, in [−1, 1], as ``evaluation.ssim`` defines it.

    All (N, 1, X, Y, Z) with a data range of 1; windows of 11³ voxels, σ 1.5, that fit into the array. Without any
    such window inside the mask the images count as alike: 1.
    """
    inside = mask[..., RADIUS:-RADIUS, RADIUS:-RADIUS, RADIUS:-RADIUS]
    # One mean is taken from both first: variances as differences of squares then keep their digits.
    middle = target.mean(dim=(1, 2, 3, 4), keepdim=True)
    x, y = predicted.float() - middle, target.float() - middle
    mean_x, mean_y, xx, yy, xy = _smooth(torch.cat([x, y, x * x, y * y, x * y], dim=1)).split(1, dim=1)
    var_x, var_y, cov = xx - mean_x * mean_x, yy - mean_y * mean_y, xy - mean_x * mean_y
    return 1 - masked_mean(1 - similarity(mean_x + middle, mean_y + middle, var_x, var_y, cov), inside)


def _smooth(fields: Tensor) -> Tensor:
    """(N, F, X−10, Y−10, Z−10): Gaussian means, one axis after the other as products with banded matrices.

    A convolution of single channels is slow on every processor; a matrix product is not.
    """
    for axis in (2, 3, 4):
        band = _band(fields.shape[axis]).to(fields.device)
        fields = (fields.transpose(axis, 4) @ band).transpose(axis, 4)
    return fields


@cache
def _band(size: int) -> Tensor:
    """(size, size − 10): each column weighs its window."""
    offset = torch.arange(2 * RADIUS + 1, dtype=torch.float64) - RADIUS
    weight = torch.exp(-0.5 * (offset / SIGMA) ** 2)
    weight = (weight / weight.sum()).float()
    columns = torch.arange(size - 2 * RADIUS)
    band = torch.zeros(size, len(columns))
    for number, value in enumerate(weight):
        band[columns + number, columns] = value
    return band
