"""All stacks of one contrast become one image on the canonical grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from scipy import ndimage

from ..config import CONTRASTS
from .acquisition import Acquisition, Frame, signal_of
from .conjugate_gradient import conjugate_gradient
from .grid import Grid, box_of, coverage, resample
from .volume import Stack, Volume, in_order, seen_by

Fusion = Literal["mean", "sr"]
"""How stacks become one image: ``fuse_mean`` or ``fuse_sr``."""

STRENGTH = 0.028
"""Weight of the prior for unit information per voxel; one number for every scan (chosen on two heads with
benchmarks/fidelity.py)."""

EDGE = 0.25
"""Difference, in noise standard deviations, below which the prior is quadratic."""

MARGIN_MM = 8.0
"""How far around the mask the super-resolution reaches, mm; it fades into the plain mean over the outer half."""

FLOOR = 0.005
"""Least noise assumed, as a share of the brightest voxel: the operator itself is no more exact than that."""

SLAB = 0.73
"""Gaussian FWHM that stands for a slice, in slice thicknesses: a slab passes half at 0.60 / thickness, a Gaussian of
the same FWHM already at 0.44."""

REACH = 0.95
"""Share of a slice profile that must lie inside the solved box for its voxel to count as data."""

ROUNDS = 2
"""How often the weights of the prior, which spare edges, are computed again."""

STEPS = 6
"""Conjugate-gradient steps in each round."""

NEIGHBOURS = tuple(offset for offset in product((-1, 0, 1), repeat=3) if offset > (0, 0, 0))
"""Thirteen offsets: every pair of neighbours in a 3×3×3 cube, once."""


def fuse_session(volume: Volume, how: Fusion, prior: float = 1.0) -> np.ndarray:
    """(C, X, Y, Z) float32: each contrast's stacks as one image; a contrast without stacks keeps its image.

    Super-resolved inside the volume's mask, where it has one (``fuse_sr``, which ``prior`` is for).
    """
    image = volume.image.astype(np.float32)
    for channel in np.flatnonzero(volume.present):
        stacks = in_order(volume.stacks_of(CONTRASTS[channel]))
        if stacks and how == "mean":
            image[channel] = fuse_mean(stacks, volume.grid)
        elif stacks:
            image[channel] = fuse_sr(stacks, volume.grid, mask=volume.mask, prior=prior)
    return image


def fuse_mean(stacks: Sequence[Stack], grid: Grid) -> np.ndarray:
    """The plain mean of the stacks, (X, Y, Z) float32: the low-field baseline of every table.

    Each stack is interpolated once (cubic) and counts only where its field of view reaches; zero where none does. A
    cubic spline overshoots beside sharp edges: no value may leave the range of its own stack.
    """
    total = np.zeros(grid.shape, dtype=np.float32)
    count = np.zeros(grid.shape, dtype=np.float32)
    for stack in stacks:
        inside = coverage(stack.data.shape, stack.affine, grid)
        moved = resample(stack.data, stack.affine, grid, order=3)
        total += np.clip(moved, stack.data.min(), stack.data.max(), out=moved) * inside
        count += inside
    return np.divide(total, count, out=total, where=count > 0)


def fuse_sr(
    stacks: Sequence[Stack],
    grid: Grid,
    mask: np.ndarray | None = None,
    *,
    prior: float = 1.0,
    mean: np.ndarray | None = None,
) -> np.ndarray:
    """The super-resolved image, (X, Y, Z) float32 ≥ 0, that agrees with every stack in the stack's own voxels.

    Parameters
    ----------
    stacks : one contrast, aligned, in shared units, each with its noise and resolution
    grid : the canonical grid
    mask : (X, Y, Z) bool, where it matters; beyond ``MARGIN_MM`` around its box the plain mean stands. None: the head
    prior : times the usual weight of the prior; less leaves more detail, and more noise
    mean : (X, Y, Z) the plain mean of the stacks, where it is at hand

    Minimises Σ_s ‖A_s x − y_s‖² / 2σ_s² + λ Σ_pairs ‖patch_i − patch_j‖: a total variation of 3×3×3 patches rather
    than of voxels, so that noise does not look like an edge. λ is ``STRENGTH`` times the root of the information
    Σ ρ_s / σ_s² (ρ_s: stack voxels per grid voxel). Solved by re-weighted least squares from the plain mean, whose
    outermost values are repeated beyond the field of view: a step to zero would be taken for an edge. The image itself
    is zero where no stack saw anything.
    """
    mean = fuse_mean(stacks, grid) if mean is None else mean.astype(np.float32)
    if not (mean > 0).any():
        return mean
    start, region = _region(_head(mean) if mask is None or not mask.any() else mask, grid)
    image = _cut(mean, start, region.shape)
    if not image.any():
        return mean
    seen = _cut(seen_by(stacks, grid), start, region.shape)
    if not seen.all():
        nearest = ndimage.distance_transform_edt(~seen, return_distances=False, return_indices=True)
        image = image[tuple(nearest)]
    data = _Data.of(stacks, region, floor=FLOOR * float(image.max()))
    strength = prior * STRENGTH * data.information**0.5
    for _ in range(ROUNDS):
        weights = _pair_weights(image, strength, EDGE * data.sigma)
        image = _descend(data, weights, image)
    return _paste(np.maximum(image, 0, out=image) * seen, mean, start, grid)


@dataclass(frozen=True)
class _Data:
    """The data term ½ ‖A x − y‖²_W over all stacks: its normal operator AᵀWA and its right-hand side AᵀWy."""

    frame: Frame
    operators: tuple[Acquisition, ...]
    precisions: tuple[np.ndarray, ...]
    target: np.ndarray
    information: float
    sigma: float

    @classmethod
    def of(cls, stacks: Sequence[Stack], grid: Grid, floor: float) -> "_Data":
        """The data of stacks on a grid; noise is taken to be at least ``floor``."""
        frame = Frame(grid)
        sigmas = [max(stack.sigma, floor) for stack in stacks]
        operators, precisions, target = [], [], np.zeros((), np.complex64)
        everywhere = frame.spectrum(np.ones(grid.shape, np.float32))
        for stack, sigma in zip(stacks, sigmas, strict=True):
            geometry = Grid(stack.affine, stack.data.shape)
            where = coverage(grid.shape, grid.affine, geometry)
            operator = Acquisition(geometry, slab_profile(stack.fwhm), grid, where, frame)
            precision = (operator.measure(everywhere) > REACH).astype(np.float32) / np.float32(sigma**2)
            target = target + operator.spread(precision * signal_of(stack.data[where], sigma))
            operators.append(operator)
            precisions.append(precision)
        density = [grid.voxel_volume / abs(np.linalg.det(stack.affine[:3, :3])) for stack in stacks]
        information = sum(rho / sigma**2 for rho, sigma in zip(density, sigmas, strict=True))
        return cls(
            frame, tuple(operators), tuple(precisions), frame.image(target), information, float(np.median(sigmas))
        )

    def normal(self, image: np.ndarray) -> np.ndarray:
        """(X, Y, Z) float32: AᵀWA applied to an image; one transform each way is shared by all stacks."""
        spectrum = self.frame.spectrum(image)
        total = np.zeros_like(spectrum)
        for operator, precision in zip(self.operators, self.precisions, strict=True):
            total += operator.spread(precision * operator.measure(spectrum))
        return self.frame.image(total)


def slab_profile(fwhm: tuple[float, float, float]) -> tuple[float, float, float]:
    """(3,) mm: the resolution of a stack with the thick axis, if there is one, taken as a slab (``SLAB``).

    >>> slab_profile((1.6, 1.6, 5.0))
    (1.6, 1.6, 3.65)
    """
    thin = min(fwhm)
    x, y, z = (width * SLAB if width > 2 * thin else width for width in fwhm)
    return x, y, z


def _descend(data: _Data, weights: list[np.ndarray], image: np.ndarray) -> np.ndarray:
    """The image after some conjugate-gradient steps on (AᵀWA + L) x = AᵀWy, with L the prior's graph Laplacian."""

    def normal(x: np.ndarray) -> np.ndarray:
        return data.normal(x) + _laplacian(x, weights)

    def inner(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.vdot(one, other))

    return conjugate_gradient(normal, data.target, image, steps=STEPS, inner=inner)


def _pair_weights(image: np.ndarray, strength: float, edge: float) -> list[np.ndarray]:
    """One array per offset of ``NEIGHBOURS``: the weight of each pair, the less the more their patches differ."""
    weights = []
    for offset in NEIGHBOURS:
        here, neighbour = _pair(offset)
        distance = ndimage.uniform_filter(np.square(image[neighbour] - image[here]), 3, mode="nearest")
        distance += np.float32(edge**2)
        np.sqrt(distance, out=distance)
        weights.append(np.divide(np.float32(strength / np.linalg.norm(offset)), distance, out=distance))
    return weights


def _laplacian(image: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """(X, Y, Z) float32: gradient of ½ Σ w (x_j − x_i)² over all pairs of neighbours."""
    total = np.zeros_like(image)
    for offset, weight in zip(NEIGHBOURS, weights, strict=True):
        here, neighbour = _pair(offset)
        pull = image[neighbour] - image[here]
        pull *= weight
        total[neighbour] += pull
        total[here] -= pull
    return total


def _pair(offset: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Two views of one array, of equal shape: every voxel that has a neighbour at ``offset``, and that neighbour."""
    starts = {1: slice(None, -1), 0: slice(None), -1: slice(1, None)}
    return tuple(starts[step] for step in offset), tuple(starts[-step] for step in offset)


def _head(mean: np.ndarray) -> np.ndarray:
    """(X, Y, Z) bool: what is brighter than air, without the specks of noise; everything where there is no air."""
    bright = ndimage.binary_opening(mean > 0.25 * np.percentile(mean[mean > 0], 98), iterations=2)
    return bright if bright.any() else np.ones(mean.shape, dtype=bool)


def _region(mask: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    """First voxel (3,) and grid of the box to solve, ``MARGIN_MM`` around the mask.

    It may reach beyond the grid: a slice at the border also holds signal from outside, which must go somewhere.
    """
    box = box_of(mask)
    margin = np.ceil(MARGIN_MM / np.array(grid.zooms)).astype(int)
    start = np.array([part.start for part in box]) - margin
    x, y, z = np.array([part.stop for part in box]) + margin - start
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    return start, Grid(affine, (int(x), int(y), int(z)))


def _cut(image: np.ndarray, start: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The box of an image from voxel ``start``; beyond the image its edge is repeated."""
    index = [
        np.clip(np.arange(first, first + n), 0, whole - 1)
        for first, n, whole in zip(start, shape, image.shape, strict=True)
    ]
    return image[np.ix_(*index)]


def _paste(image: np.ndarray, into: np.ndarray, start: np.ndarray, grid: Grid) -> np.ndarray:
    """``into`` with the image faded in: fully at ``MARGIN_MM`` / 2 from the faces that cut through ``into``."""
    ends = zip(start, image.shape, into.shape, strict=True)
    target = tuple(slice(max(0, low), min(whole, low + n)) for low, n, whole in ends)
    here = tuple(slice(part.start - low, part.stop - low) for part, low in zip(target, start, strict=True))
    fade = np.ones((1, 1, 1), dtype=np.float32)
    for axis, n in enumerate(image.shape):
        depth = np.arange(n) + 0.5
        low = depth if start[axis] > 0 else np.inf
        high = depth[::-1] if start[axis] + n < into.shape[axis] else np.inf
        ramp = np.clip(np.minimum(low, high) * np.ones(n) * grid.zooms[axis] / (MARGIN_MM / 2), 0, 1)
        fade = fade * np.expand_dims(ramp.astype(np.float32), tuple({0, 1, 2} - {axis}))
    into[target] += fade[here] * (image[here] - into[target])
    return into
