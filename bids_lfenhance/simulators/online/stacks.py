"""The stacks of a session as a network is shown them: scanned, shaded, noisy, and interpolated back to the head."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...imaging.profile import FWHM_PER_SD, PAD_MM
from ...nn.acquisition import frequencies, padded_spectrum, sample
from .fields import Noise, blurred, indices, interpolate, percentile, rigid, smooth_field, softened
from .material import TrainingHead
from .parameters import Profile, SessionParameters, StackDraw
from .subjects import Sharp, make_subject, normalised

EDGE, REGION, SCANS = 30, 31, 100
"""First streams of random numbers: what lies around the brain, its mask, and ten for the stack of each slot."""

SHADING, GAINS, GRAIN = range(3)
"""Streams of a stack: its bias field, the gains of its slices, its noise."""

GROWN = 0.29
"""How far the blurred mask is below its threshold 2 mm outside the mask, where the region that is kept ends."""

ROLL_OFF = 1 / 3
"""Share of the band over which a k-space that ends is rolled off."""


@dataclass(frozen=True, eq=False)
class Simulated:
    """One session on the grid of its head, as ``nn.estimate.network_input`` takes it, and its targets.

    ``image`` (4, X, Y, Z) slots, zero beyond region and field of view; ``covered`` (4, X, Y, Z) bool; ``present`` (4,)
    bool; ``resolution`` (4, 3) mm; ``own`` and ``high`` (X, Y, Z), the head in the contrast of the scan and as a T1w
    (None where there is none), the brain's 95th percentile 1; ``brain`` (X, Y, Z) bool; ``lesions`` (X, Y, Z).
    """

    image: Tensor
    covered: Tensor
    present: Tensor
    resolution: Tensor
    own: Tensor
    high: Tensor | None
    brain: Tensor
    lesions: Tensor

    def packed(self) -> "Simulated":
        """The same in half precision, to be kept."""
        high = None if self.high is None else self.high.half()
        return replace(self, image=self.image.half(), own=self.own.half(), high=high, lesions=self.lesions.half())


def simulate(
    head: TrainingHead, drawn: SessionParameters, device: torch.device, noise: Noise | None = None
) -> Simulated:
    """The session that was drawn, simulated; the same numbers on every device, but for rounding.

    ``noise``: that of ``drawn.seed``, where some of it was prepared.
    """
    noise = noise or Noise(drawn.seed)
    sharp = make_subject(head, drawn.subject, noise, device)
    mask, region = found_mask(sharp.brain, drawn.mask, noise)
    scene = surrounded(sharp, drawn.rim, noise)
    level = float(percentile(sharp.low[sharp.brain]))
    pad = math.ceil(PAD_MM)
    spectrum, sides = padded_spectrum(scene[None], pad)
    shape = tuple(scene.shape)
    image = torch.zeros(4, *shape, device=device)
    covered = torch.zeros(4, *shape, dtype=torch.bool, device=device)
    resolution = torch.zeros(4, 3, device=device)
    for stack in drawn.stacks:
        data = scan(stack, spectrum, sides, pad, shape, level, noise)
        seen, inside = interpolated(data, stack, shape)
        inside &= region
        image[stack.slot] = (seen / percentile(seen[inside & mask])).clamp(0, 4) * inside
        covered[stack.slot] = inside
        resolution[stack.slot] = torch.tensor(stack.voxel, device=device)
    return Simulated(
        image,
        covered,
        resolution[:, 0] > 0,
        resolution,
        normalised(sharp.low, sharp.brain),
        None if sharp.high is None else normalised(sharp.high, sharp.brain),
        sharp.brain,
        sharp.lesions,
    )


def prepare_noise(drawn: SessionParameters, shape: Sequence[int], noise: Noise) -> None:
    """Draw the costly random numbers of a session ahead of time, on whatever thread: the noise of its scans."""
    for stack in drawn.stacks:
        noise.prepare(SCANS + 10 * stack.slot + GRAIN, (2, *lattice(stack, shape)))


def found_mask(brain: Tensor, threshold: float, noise: Noise) -> tuple[Tensor, Tensor]:
    """((X, Y, Z) bool brain as it is found on low field, somewhat wrong; (X, Y, Z) bool the same grown by 2 mm)."""
    edge = softened(brain, 2.5) + 0.12 * smooth_field(noise, REGION, brain.shape, 14, brain.device)
    return edge > threshold + GROWN, edge > threshold


def surrounded(sharp: Sharp, rim: tuple[float, float], noise: Noise) -> Tensor:
    """(X, Y, Z) what is scanned: the brain, and what was left around it."""
    reach, brightness = rim
    if not brightness:
        return sharp.low
    level = percentile(sharp.low[sharp.brain])
    texture = 0.25 * smooth_field(noise, EDGE, sharp.brain.shape, 8, sharp.brain.device)
    around = (softened(sharp.brain, 3.5) < reach) & ~sharp.brain
    return sharp.low + around * (level * (brightness + texture)).clamp(min=0)


def scan(
    stack: StackDraw,
    spectrum: Tensor,
    sides: Sequence[int],
    pad: int,
    shape: tuple[int, ...],
    level: float,
    noise: Noise,
) -> Tensor:
    """(I, J, K) the stack: blurred and sampled where the head lies, shaded, with Rician noise, cut."""
    size = lattice(stack, shape)
    affine = torch.from_numpy(true_affine(stack, shape))
    transfer = transfer_of(stack, frequencies(sides, spectrum.device))
    data = sample(spectrum, sides, transfer[None], affine[None], size, pad)[0]
    device, first = data.device, SCANS + 10 * stack.slot
    distance = 45 / (sum(stack.voxel) / 3)
    data = data * torch.exp(stack.bias * smooth_field(noise, first + SHADING, size, distance, device))
    if stack.slices and stack.thick is not None:
        gains = 1 + stack.slices * noise.take(first + GAINS, (size[stack.thick],), device)
        data = data * gains.reshape([-1 if axis == stack.thick else 1 for axis in range(3)])
    grain = noise.take(first + GRAIN, (2, *size), device)
    if stack.smooth:
        grain = torch.stack([_correlated(one, stack) for one in grain])
    data = rician(data, grain * (stack.noise * level))
    axis, below, above = stack.cut
    return data.narrow(axis, below, data.shape[axis] - below - above)


def rician(signal: Tensor, grain: Tensor) -> Tensor:
    """(I, J, K) magnitude of a signal with noise ``grain`` (2, I, J, K) in its two channels."""
    return torch.sqrt((signal.clamp(min=0) + grain[0]) ** 2 + grain[1] ** 2)


def _correlated(grain: Tensor, stack: StackDraw) -> Tensor:
    """(I, J, K) noise smoothed in plane (of an isotropic stack along all axes), of the same SD."""
    axes = [axis for axis in range(3) if axis != stack.thick]
    smooth = blurred(grain, stack.smooth / FWHM_PER_SD, axes)
    return smooth * (grain.std() / smooth.std())


def lattice(stack: StackDraw, shape: Sequence[int]) -> tuple[int, int, int]:
    """Voxels of a stack, before it is cut, over a head of ``shape`` mm."""
    sides = [max(1, int(side / size)) for side, size in zip(shape, stack.voxel, strict=True)]
    return sides[0], sides[1], sides[2]


def true_affine(stack: StackDraw, shape: Sequence[int]) -> np.ndarray:
    """(4, 4) voxel of the stack, before it is cut, → voxel of the head, where the head truly lay."""
    centre = [(side - 1) / 2 for side in shape]
    size = lattice(stack, shape)
    voxels = np.diag([*stack.voxel, 1.0])
    voxels[:3, 3] = [
        middle + (offset - (count - 1) / 2) * width
        for middle, offset, count, width in zip(centre, stack.offset, size, stack.voxel, strict=True)
    ]
    return rigid(stack.degrees, stack.shift, centre) @ voxels


def registered_affine(stack: StackDraw, shape: Sequence[int]) -> np.ndarray:
    """(4, 4) voxel of the stack, as it is cut, → voxel of the head, as registration has it."""
    centre = [(side - 1) / 2 for side in shape]
    begin = np.eye(4)
    axis, below, _ = stack.cut
    begin[axis, 3] = below
    return rigid(stack.error_degrees, stack.error_shift, centre) @ true_affine(stack, shape) @ begin


def interpolated(data: Tensor, stack: StackDraw, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """((X, Y, Z) the stack on the grid of the head, as ``grid.resample`` has it; (X, Y, Z) bool its field of view)."""
    index = indices(np.linalg.inv(registered_affine(stack, shape)), shape, data.device)
    inside = torch.ones(shape, dtype=torch.bool, device=data.device)
    for at, side in zip(index, data.shape, strict=True):
        inside &= (at > -0.5) & (at < side - 0.5)
    return interpolate(data[None], index, beyond="border")[0] * inside, inside


def transfer_of(stack: StackDraw, parts: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """(X', Y', Z'/2 + 1) Fourier transform of the stack's profile, which lies along its own axes.

    The head's voxels of 1 mm have blurred it already, which a Gaussian of 1 mm stands for.
    """
    turn = rigid(stack.degrees, (0, 0, 0), (0, 0, 0))[:3, :3]
    total = torch.ones((), device=parts[0].device)
    for axis in range(3):
        x, y, z = (float(turn[row, axis]) * part for row, part in enumerate(parts))
        total = total * _along_axis(stack.profile[axis], stack.width[axis], x + y + z)
    return total


def _along_axis(profile: Profile, width: float, frequency: Tensor) -> Tensor:
    if profile == "box":
        return torch.sinc(width * frequency)
    if profile == "gaussian":
        sd = math.sqrt(max(width**2 - 1, 0.01)) / FWHM_PER_SD
        return torch.exp(-2 * (math.pi * sd * frequency) ** 2)
    beyond = ((2 * width * frequency).abs() - (1 - ROLL_OFF)) / (2 * ROLL_OFF)
    return (1 + torch.cos(math.pi * beyond.clamp(0, 1))) / 2
