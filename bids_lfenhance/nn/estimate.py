"""What the network of the learned estimate is given and what its answer means (docs/methods/fusionnet.md)."""

import math

import torch
from torch import Tensor

CHANNELS = 17
"""Base, 4 slots, 4 × presence, mean and least resolution (3 each), number of slots, target contrast."""

LOG_SCALE = (-8.0, 2.0)
"""Range of the logarithm of the error scale."""

SCALE = (0.006, 0.5)
"""Range of the SD of the error that residuals are divided by, where the 95th percentile of the brain is 1."""

RESTORED = ("T1w",)
"""Contrasts that the network has learned to give as high field has them; others keep the contrast of the scan."""

FAR_MM = 99.0
"""Stands for the resolution of an empty slot, so that it is never the least."""


def network_input(image: Tensor, covered: Tensor, present: Tensor, resolution: Tensor, own: Tensor) -> Tensor:
    """(B, 17, X, Y, Z) float32; channel 0 is the base, the mean over the slots that cover a voxel.

    Parameters
    ----------
    image, covered : (B, 4, X, Y, Z) slots of one contrast, see ``imaging.slots.SlotImages``
    present, resolution : (B, 4) and (B, 4, 3) mm
    own : (B,) 1: the estimate keeps the contrast of the scan; 0: T1w as an MPRAGE at 3 T has it
    """
    seen = covered.float()
    base = image.sum(dim=1, keepdim=True) / seen.sum(dim=1, keepdim=True).clamp(min=1)
    known = present.float()
    mean = (resolution * known[..., None]).sum(dim=1) / known.sum(dim=1, keepdim=True).clamp(min=1)
    least = torch.where(known[..., None] > 0, resolution, FAR_MM).amin(dim=1)
    numbers = [known, mean / 5, least / 5, known.sum(dim=1, keepdim=True) / 4, own.float()[:, None]]
    planes = torch.cat(numbers, dim=1)[..., None, None, None].expand(-1, -1, *image.shape[2:])
    return torch.cat([base, image, planes], dim=1)


def read_output(x: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
    """((B, 1, X, Y, Z) estimate, (B, 1, X, Y, Z) SD of its error) of the network's output (B, 2, X, Y, Z) for ``x``.

    The second channel is the logarithm of the scale b of a Laplace distribution, whose SD is √2 b.
    """
    return x[:, :1] + output[:, :1], math.sqrt(2) * torch.exp(output[:, 1:2].clamp(*LOG_SCALE))
