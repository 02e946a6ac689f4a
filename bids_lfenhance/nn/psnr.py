"""PSNR as ``evaluation`` has it under the protocol brain-fit, in torch: for validation where images are made."""

import math

import torch
from torch import Tensor

CEILING = 0.999
"""The share of the reference's brain that lies below 1 (``evaluation.protocols``)."""


def brain_fit_psnr(image: Tensor, reference: Tensor, mask: Tensor) -> float:
    """DB inside ``mask`` after the least-squares gain and offset of the image, all (X, Y, Z); −inf where not finite."""
    x, y = image[mask].double(), reference[mask].double()
    if not bool(x.isfinite().all()):
        return -math.inf
    centred = x - x.mean()
    spread = float(centred.square().sum())
    gain = float((centred * (y - y.mean())).sum()) / spread if spread else 0.0
    error = float((y - y.mean() - gain * centred).square().mean())
    ceiling = float(_quantile(y, CEILING))
    return math.inf if error == 0 else -10 * math.log10(error / ceiling**2)


def _quantile(values: Tensor, share: float) -> Tensor:
    """The quantile between two order statistics; ``torch.quantile`` takes no more than 16 million values."""
    place = share * (values.numel() - 1)
    low = math.floor(place)
    first = values.kthvalue(low + 1).values
    second = values.kthvalue(min(low + 2, values.numel())).values
    return torch.lerp(first, second, place - low)
