"""Fields and moves of whole heads in torch: smooth random fields, warps, blurs. Random numbers come from numpy."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .parameters import Warp

Shape = tuple[int, ...]


class Noise:
    """Random numbers of one session: each stream follows from the seed and its number, in whatever order it is asked.

    They are drawn on the processor, so that every device gets the same. ``prepare`` draws ahead of time.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._ready: dict[tuple[int, Shape], np.ndarray] = {}

    def prepare(self, stream: int, shape: Shape) -> np.ndarray:
        """The numbers of a stream, standard normal, float32; kept until they are taken."""
        key = (stream, tuple(shape))
        if key not in self._ready:
            generator = np.random.default_rng([self._seed, stream])
            self._ready[key] = generator.standard_normal(shape, np.float32)
        return self._ready[key]

    def take(self, stream: int, shape: Shape, device: torch.device) -> Tensor:
        """The numbers of a stream on the device; they are no longer kept."""
        field = self.prepare(stream, shape)
        del self._ready[(stream, tuple(shape))]
        return torch.from_numpy(field).to(device)


def smooth_field(noise: Noise, stream: int, shape: Shape, distance: float, device: torch.device) -> Tensor:
    """(X, Y, Z) a random field of mean 0 and SD 1 between nodes ``distance`` voxels apart."""
    nodes = tuple(max(2, int(side / distance) + 2) for side in shape)
    coarse = noise.take(stream, nodes, device)
    field = functional.interpolate(coarse[None, None], size=tuple(shape), mode="trilinear", align_corners=True)[0, 0]
    return (field - field.mean()) / field.std().clamp(min=1e-4)


def blurred(image: Tensor, sd: float, axes: Sequence[int] = (0, 1, 2)) -> Tensor:
    """(X, Y, Z) blurred by a Gaussian of ``sd`` voxels along ``axes``.

    A sum of shifted copies: convolution libraries would tune themselves again for every shape of a head.
    """
    reach = max(1, math.ceil(3 * sd))
    taps = [math.exp(-0.5 * (step / sd) ** 2) for step in range(-reach, reach + 1)]
    for axis in axes:
        pad = [0] * 6
        pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = reach
        wide, out = functional.pad(image, pad), torch.zeros_like(image)
        for start, tap in enumerate(taps):
            out.add_(wide.narrow(axis, start, image.shape[axis]), alpha=tap / sum(taps))
        image = out
    return image


def softened(mask: Tensor, sd: float) -> Tensor:
    """(X, Y, Z) a mask blurred by about ``sd`` voxels, on cells of two voxels: for edges that are to be smooth."""
    sides = mask.shape
    even = functional.pad(mask.float(), [amount for side in reversed(sides) for amount in (0, side % 2)])
    cells = blurred(functional.avg_pool3d(even[None, None], 2)[0, 0], sd / 2)
    back = functional.interpolate(cells[None, None], scale_factor=2.0, mode="trilinear", align_corners=False)[0, 0]
    return back[tuple(slice(side) for side in sides)]


def percentile(values: Tensor) -> Tensor:
    """The 95th percentile of some 40 000 of the values, evenly taken; at least .001, and 1 where there are none."""
    if not values.numel():
        return torch.ones((), device=values.device)
    return torch.quantile(values[:: max(1, values.numel() // 40_000)].float(), 0.95).clamp(min=1e-3)


def rigid(degrees: Sequence[float], shift: Sequence[float], centre: Sequence[float]) -> np.ndarray:
    """(4, 4) turns about the axes through ``centre``, one after the other, and then a shift."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one, other = (k for k in range(3) if k != axis)
        step = np.eye(3)
        step[one, one] = step[other, other] = math.cos(angle)
        step[one, other], step[other, one] = -math.sin(angle), math.sin(angle)
        turn = step @ turn
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = np.asarray(centre) - turn @ np.asarray(centre) + np.asarray(shift)
    return matrix


def indices(matrix: np.ndarray, shape: Shape, device: torch.device) -> list[Tensor]:
    """Three (X, Y, Z): where the voxels of a grid lie along each axis of another; ``matrix`` (4, 4) grid → other."""
    x, y, z = (torch.arange(side, dtype=torch.float32, device=device) for side in shape)
    return [
        (float(row[0]) * x)[:, None, None]
        + (float(row[1]) * y)[None, :, None]
        + (float(row[2]) * z + float(row[3]))[None, None, :]
        for row in matrix[:3]
    ]


def interpolate(images: Tensor, index: Sequence[Tensor], mode: str = "bilinear", beyond: str = "zeros") -> Tensor:
    """(N, X, Y, Z) images (N, I, J, K) at voxel indices, three (X, Y, Z); ``beyond`` the border "zeros" or "border"."""
    sides = images.shape[1:]
    place = torch.stack([(2 * at + 1) / side - 1 for at, side in zip(index, sides, strict=True)][::-1], dim=-1)
    samples = functional.grid_sample(images[None], place[None], mode=mode, padding_mode=beyond, align_corners=False)
    return samples[0]


def bend(warp: Warp, noise: Noise, first: int, shape: Shape, device: torch.device) -> list[Tensor]:
    """Three (X, Y, Z) voxel indices at which the bent image is to be read; streams ``first`` and the next two."""
    centre = [(side - 1) / 2 for side in shape]
    scale = np.diag([*warp.scale, 1.0])
    matrix = rigid(warp.degrees, (0, 0, 0), (0, 0, 0)) @ scale
    matrix[:3, 3] = np.asarray(centre) - matrix[:3, :3] @ np.asarray(centre)
    index = indices(matrix, shape, device)
    for axis in range(3):
        index[axis] = index[axis] + warp.bend * smooth_field(noise, first + axis, shape, warp.distance, device)
    return index
