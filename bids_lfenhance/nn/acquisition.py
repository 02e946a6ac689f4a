"""``imaging.acquisition`` in torch: what stacks measure of a batch of images, on any device and differentiable.

The blur by a slice profile, oblique to the grid or not, is one product in Fourier space, exact for any rotation;
samples are taken with a quadratic B-spline, whose own blur is divided out of that product.
"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

Shape = tuple[int, int, int]


def padded_spectrum(image: Tensor, pad_voxels: int) -> tuple[Tensor, list[int]]:
    """((B, X', Y', Z'/2 + 1) Fourier transform of images (B, X, Y, Z) with a border of zeros; the sides X', Y', Z')."""
    sides = [_fast_length(side + 2 * pad_voxels) for side in image.shape[1:]]
    room = [amount for side, wide in zip(reversed(image.shape[1:]), reversed(sides), strict=True)
            for amount in (pad_voxels, wide - side - pad_voxels)]  # fmt: skip
    return torch.fft.rfftn(torch.nn.functional.pad(image.float(), room), dim=(1, 2, 3)), sides


def sample(
    spectrum: Tensor, sides: Sequence[int], transfer: Tensor, to_grid: Tensor, shape: Shape, pad_voxels: int
) -> Tensor:
    """(B, I, J, K) float32: samples of the images of ``padded_spectrum``, blurred by ``transfer`` (B, X', Y', Z'/2+1).

    ``to_grid`` (B, 4, 4) voxel of a stack → voxel of the image, ``shape`` (I, J, K) of the stacks. The blur of the
    sampling is divided out, and what lies outside the image is zero.
    """
    x, y, z = frequencies(sides, spectrum.device)
    sharp = transfer / (torch.sinc(x) * torch.sinc(y) * torch.sinc(z)) ** 3
    blurred = torch.fft.irfftn(spectrum * sharp, s=list(sides), dim=(1, 2, 3))
    place = _voxels(to_grid.to(spectrum.device), shape) + pad_voxels
    return _sampled(blurred, place).unflatten(1, shape)


def frequencies(sides: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Cycles per voxel along the axes of a half spectrum, (X', 1, 1), (1, Y', 1) and (1, 1, Z'/2 + 1)."""
    parts = [torch.fft.fftfreq(side, device=device) for side in sides[:2]] + [
        torch.fft.rfftfreq(sides[2], device=device)
    ]
    return parts[0][:, None, None], parts[1][None, :, None], parts[2][None, None, :]


def _fast_length(least: int) -> int:
    """The least length of at least ``least`` without a prime factor above 5, of which transforms are quick.

    >>> _fast_length(97), _fast_length(128)
    (100, 128)
    """
    length = least
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1


def _voxels(to_grid: Tensor, shape: Shape) -> Tensor:
    """(B, N, 3) where the voxels of the stacks lie in the grid, float64: places of many voxels need the digits."""
    steps = [torch.arange(side, dtype=torch.float64, device=to_grid.device) for side in shape]
    index = torch.stack(torch.meshgrid(*steps, indexing="ij"), dim=-1).flatten(0, 2)
    matrix = to_grid.double()
    return index @ matrix[:, :3, :3].transpose(1, 2) + matrix[:, None, :3, 3]


def _sampled(field: Tensor, place: Tensor) -> Tensor:
    """(B, N): a quadratic B-spline of fields (B, X', Y', Z') at places (B, N, 3) in voxels; zero beyond the border."""
    sides = torch.tensor(field.shape[1:], device=field.device)
    nearest = place.round()
    known = ((nearest >= 1) & (nearest < sides - 1)).all(dim=2)
    nearest = torch.minimum(nearest.clamp(min=1), (sides - 2).double())
    offset = (place - nearest).float()
    taps = torch.stack([(0.5 - offset) ** 2 / 2, 0.75 - offset**2, (0.5 + offset) ** 2 / 2], dim=3)  # (B, N, 3, 3)
    corner, flat = nearest.long(), field.flatten(1)
    _, ny, nz = field.shape[1:]
    start = (corner[..., 0] * ny + corner[..., 1]) * nz + corner[..., 2]
    samples = torch.zeros(place.shape[:2], device=field.device)
    for i, j, k in product(range(3), repeat=3):
        weight = taps[..., 0, i] * taps[..., 1, j] * taps[..., 2, k]
        samples = samples + weight * flat.gather(1, start + ((i - 1) * ny + j - 1) * nz + k - 1)
    return samples * known
