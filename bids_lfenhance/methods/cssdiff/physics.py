"""F as physics instead of a network: contrast of the tissues, then the profile of a scan.

What is fixed cannot agree with the chain on a way to hide the image. It sees slices, not stacks: the profile is one
Gaussian, the same along all axes, as that of several stacks fused is nearly.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from .slices import Slices

QUANTILES = (0.1, 0.5, 0.9)
"""Of the intensities of high field inside the brain: where its three tissues are taken to lie."""

GAINS = (0.1, 10.0)
"""Bounds of a tissue's gain."""


@dataclass(frozen=True)
class Physics:
    """F of some slices, ``physics(image)``, both (N, C, U, V) in [−1, 1]: blur(image · Σ c_k P_k), neighbours included.

    ``gain`` (N, C, U, V) Σ c_k P_k of the slices; ``around`` (N, C, U, V) what the slices next to them, which are those
    of real high field, put into them, in [0, 1]; ``kernel`` (2R + 1,) of the profile.
    """

    gain: Tensor
    around: Tensor
    kernel: Tensor

    @classmethod
    def of(cls, slices: Slices, item: Tensor, index: Tensor, fwhm: float) -> "Physics":
        """The physics between low and high field of slices ``index`` of items ``item``, both (N,).

        P_k are shares of three tissues by the intensity of high field, c_k are fitted to the pair ("c from
        the pair"), for every slice and contrast; ``fwhm`` of the profile in voxels.
        """
        assert slices.high is not None
        kernel = _gaussian(fwhm).to(slices.low)
        reach, last = len(kernel) // 2, slices.low.shape[1] - 1
        offsets = range(-reach, reach + 1)
        near = torch.stack([slices.high[item, (index + offset).clamp(0, last)] for offset in offsets], dim=1)
        near = (near + 1) / 2  # (N, D, C, U, V)
        inside = slices.mask[item, index]
        tissue = _tissue(near, _centres(near[:, reach], inside))  # (N, D, K, C, U, V)
        weight = kernel[:, None, None, None]
        columns = _blur((near[:, :, None] * tissue * weight[:, None]).sum(dim=1).flatten(1, 2), kernel)
        columns = columns.unflatten(1, (len(QUANTILES), -1))
        factors = _fitted(columns, (slices.low[item, index] + 1) / 2, inside)  # (N, K, C)
        gain = (tissue * factors[:, None, :, :, None, None]).sum(dim=2)  # (N, D, C, U, V)
        others = (near * gain * weight).sum(dim=1) - near[:, reach] * gain[:, reach] * kernel[reach]
        return cls(gain[:, reach], _blur(others, kernel), kernel)

    def __call__(self, image: Tensor) -> Tensor:
        """The low field of the slices, without noise."""
        light = (image + 1) / 2 * self.gain * self.kernel[len(self.kernel) // 2]
        return 2 * (_blur(light, self.kernel) + self.around) - 1


def _gaussian(fwhm: float) -> Tensor:
    sd = fwhm / math.sqrt(8 * math.log(2))
    place = torch.arange(-math.ceil(2.5 * sd), math.ceil(2.5 * sd) + 1, dtype=torch.float64)
    weight = torch.exp(-((place / sd) ** 2) / 2)
    return weight / weight.sum()


def _blur(image: Tensor, kernel: Tensor) -> Tensor:
    """(N, C, U, V) of an image (N, C, U, V), over zeros."""
    flat, reach = image.flatten(0, 1)[:, None], len(kernel) // 2
    flat = functional.conv2d(flat, kernel[None, None, :, None], padding=(reach, 0))
    return functional.conv2d(flat, kernel[None, None, None], padding=(0, reach)).reshape(image.shape)


def _centres(image: Tensor, inside: Tensor) -> Tensor:
    """(N, K, C): rising intensities of the tissues of slices (N, C, U, V), inside (N, 1, U, V)."""
    values = image.masked_fill(~inside, math.nan).flatten(2)
    found = torch.nanquantile(values, values.new_tensor(QUANTILES), dim=2).transpose(0, 1)
    usual = values.new_tensor(QUANTILES)[None, :, None]
    found = torch.where(found.isfinite(), found, usual)
    return found + usual * 1e-3  # none on top of another


def _tissue(image: Tensor, centres: Tensor) -> Tensor:
    """(N, D, K, C, U, V): shares that add up to 1, falling in a line from one tissue's intensity to the next one's."""
    at = [one[:, None, :, None, None] for one in centres.unbind(dim=1)]
    steps = [((image - a) / (b - a)).clamp(0, 1) for a, b in pairwise(at)]
    return torch.stack([1 - steps[0], steps[0] - steps[1], steps[1]], dim=2)


def _fitted(columns: Tensor, wanted: Tensor, inside: Tensor) -> Tensor:
    """(N, K, C): least-squares gains of columns (N, K, C, U, V) for images (N, C, U, V), held towards 1."""
    rows = (columns * inside[:, None]).flatten(3).permute(0, 2, 3, 1)  # (N, C, UV, K)
    rest = ((wanted - columns.sum(dim=1)) * inside).flatten(2)[..., None]
    square = rows.transpose(2, 3) @ rows
    ridge = 1e-3 * square.diagonal(dim1=2, dim2=3).mean(dim=2)[..., None, None] + 1e-6
    eye = torch.eye(rows.shape[3], dtype=rows.dtype, device=rows.device)
    found = 1 + torch.linalg.solve(square + ridge * eye, rows.transpose(2, 3) @ rest)[..., 0]
    return found.clamp(*GAINS).transpose(1, 2)
