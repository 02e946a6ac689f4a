"""The standardised residual of the learned estimate, and one flow of it in two time parametrisations.

See docs/methods/bridge.md.

r = clip((y − μ)/σ, ±6) for high field y, estimate μ and the SD σ of its error. The flow predicts r − n at
x_t = (1−t) n + t r. The state of a variance-preserving diffusion, u = a r + s ε with a = √ᾱ and s = √(1−ᾱ), is the
same in another time parametrisation: t = a/(a+s), x_t = u/(a+s).
"""

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn

from .estimate import CHANNELS, SCALE
from .flow import Velocity
from .unet3d import apply_padded
from .windows import Windows, blend

CLIP = 6.0
"""Residuals are clipped to ± this, in SDs of the error."""

CONDITION = CHANNELS + 2
"""Channels of the condition: the estimate, five times its error scale, and what the estimate was made of."""

BAND = 0.05
"""Width of the bands of a power spectrum, cycles per mm; the last takes all that is above."""


def standardise(target: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """The residual (B, 1, X, Y, Z) of high field; all in one shape and unit, the brain's 95th percentile near 1."""
    return ((target - mean) / scale.clamp(*SCALE)).clamp(-CLIP, CLIP)


def condition_of(mean: Tensor, scale: Tensor, inputs: Tensor) -> Tensor:
    """(B, 19, X, Y, Z): μ, 5 σ, and the ``inputs`` (B, 17, X, Y, Z) of the estimate."""
    return torch.cat([mean, 5 * scale.clamp(*SCALE), inputs], dim=1)


def flow_of(network: nn.Module, condition: Tensor, windows: Windows | None = None) -> Velocity:
    """The velocity (B, 1, X, Y, Z) of a network of state, condition and time, on whole fields or on ``windows``.

    Windows are cut from one state and blended in every call, so that no seams arise.
    """

    def velocity(state: Tensor, time: float) -> Tensor:
        def at(field: Tensor) -> Tensor:
            return apply_padded(network, field, torch.full((len(field),), time, device=field.device))

        field = torch.cat([state, condition], dim=1)
        return at(field) if windows is None else blend(at, field, windows)

    return velocity


@cache
def cosine_shares() -> Tensor:
    """ᾱ at the levels 0 to 1000, (1001,) float64, of the cosine schedule (Nichol & Dhariwal 2021, Eq. 17): from 1 down.

    β is at most .999. K = 400 of a paper is ``cosine_shares()[400]``, index 399 of a library that counts from 0.
    """
    angle = (torch.arange(1001, dtype=torch.float64) / 1000 + 0.008) / 1.008 * (math.pi / 2)
    share = torch.cos(angle) ** 2
    betas = (1 - share[1:] / share[:-1]).clamp(max=0.999)
    return torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas, dim=0)])


def time_of(level: int) -> float:
    """The time of the flow at a level of the cosine schedule: a/(a+s).

    >>> round(time_of(400), 3), round(time_of(990), 4)
    (0.575, 0.0153)
    """
    share = cosine_shares()[level]
    return 1 / (1 + float(((1 - share) / share).sqrt()))


def radial_power(image: Tensor, mask: Tensor) -> list[float]:
    """Mean power of an image (X, Y, Z) inside a mask by bands of ``BAND``: 1 everywhere for white noise of variance 1.

    Voxels are taken for 1 mm. Eleven bands, the last from .5 cycles per mm to the corner.
    """
    power = torch.fft.fftn(image.double() * mask).abs().square() / mask.sum()
    band = _band_of(image.shape, image.device)
    total = torch.zeros(BANDS, dtype=torch.float64, device=image.device).index_add_(0, band.flatten(), power.flatten())
    return (total / torch.bincount(band.flatten(), minlength=BANDS).clamp(min=1)).tolist()


def coloured(white: Tensor, spectrum: Sequence[float]) -> Tensor:
    """A Gaussian field with the power of ``spectrum`` (11 bands) from white noise (…, X, Y, Z) of variance 1."""
    gain = torch.tensor(list(spectrum), device=white.device, dtype=white.dtype).sqrt()
    shaped = torch.fft.fftn(white, dim=(-3, -2, -1)) * gain[_band_of(white.shape[-3:], white.device)]
    return torch.fft.ifftn(shaped, dim=(-3, -2, -1)).real


BANDS = 11
"""Bands of a spectrum."""


def _band_of(shape: Sequence[int], device: torch.device) -> Tensor:
    """(X, Y, Z) int64: the band of each frequency of a discrete Fourier transform."""
    axes = [torch.fft.fftfreq(side, device=device, dtype=torch.float64) for side in shape]
    frequency = torch.stack(torch.meshgrid(*axes, indexing="ij")).norm(dim=0)
    return (frequency / BAND + 1e-9).long().clamp(max=BANDS - 1)
