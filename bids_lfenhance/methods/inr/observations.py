"""The session as ``inr`` sees it: one long list of low-field voxels, and the fused base below the network."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import ndimage

from ...config import CONTRASTS
from ...imaging.acquisition import Acquisition, Frame
from ...imaging.fusion import Fusion, fuse_session, slab_profile
from ...imaging.grid import Grid, apply_affine, zooms_of
from ...imaging.profile import FWHM_PER_SD
from ...imaging.volume import Stack, Volume

MARGIN_MM = 3.0
"""Stack voxels this far outside the mask still see the brain through their profile, and are fitted too."""


@dataclass(frozen=True)
class Coordinates:
    """World mm → [−1, 1]³ by the longest side of the grid, the same scale on every axis."""

    centre: np.ndarray
    half: float

    @classmethod
    def of(cls, grid: Grid) -> "Coordinates":
        """The coordinates of one grid."""
        corners = grid.corners()
        low, high = corners.min(axis=0), corners.max(axis=0)
        return cls((low + high) / 2, float((high - low).max() / 2))

    def __call__(self, world: np.ndarray) -> np.ndarray:
        """(N, 3) float32 in [−1, 1] of (N, 3) world points, RAS+ mm."""
        return ((world - self.centre) / self.half).astype(np.float32)


@dataclass(frozen=True)
class Observations:
    """N low-field voxels of S stacks, all contrasts of the session.

    ``point`` (N, 3) centres in [−1, 1]; ``value`` (N,) measured, ``base`` (N,) what the base would measure there, both
    in units of the contrast's scale; ``tissue`` (N, 4) posteriors of background, CSF, GM, WM; ``contrast`` (N,) and
    ``stack`` (N,) indices; ``profile`` (S, 3, 3) maps a standard normal to an offset in [−1, 1]; ``sigma`` (S,) noise.
    """

    point: np.ndarray
    value: np.ndarray
    base: np.ndarray
    tissue: np.ndarray
    contrast: np.ndarray
    stack: np.ndarray
    profile: np.ndarray
    sigma: np.ndarray


def sorted_stacks(volume: Volume) -> tuple[Stack, ...]:
    """The stacks by contrast, then name: the order in which files were found cannot change a result."""
    return tuple(sorted(volume.stacks, key=lambda stack: (CONTRASTS.index(stack.contrast), stack.name)))


def support_of(volume: Volume) -> np.ndarray:
    """(X, Y, Z) bool: where the network is fitted, the brain and its margin; without a mask, all that is not zero."""
    if volume.mask is None:
        return np.asarray((volume.image != 0).any(axis=0))
    steps = max(1, round(MARGIN_MM / min(volume.grid.zooms)))
    return np.asarray(ndimage.binary_dilation(volume.mask, iterations=steps))


def fused_base(volume: Volume, kind: Fusion | Literal["none"], support: np.ndarray) -> np.ndarray:
    """(C, X, Y, Z) float32, one channel per present contrast: ``mean``, ``sr``, or zeros for ``none``."""
    if kind == "none":
        return np.zeros((len(volume.contrasts), *volume.grid.shape), np.float32)
    return fuse_session(replace(volume, mask=support), kind)[volume.present]


def scales_of(volume: Volume, support: np.ndarray) -> np.ndarray:
    """(C,) the 99th percentile of each present contrast in the support: the unit of the network's intensities."""
    levels = [np.percentile(volume.channel(contrast)[support], 99) for contrast in volume.contrasts]
    return np.maximum(np.array(levels, dtype=np.float32), 1e-6)


def observe(
    volume: Volume, base: np.ndarray, scales: np.ndarray, posteriors: np.ndarray, support: np.ndarray
) -> Observations:
    """The low-field voxels whose centre lies in the support, and what the base predicts there."""
    frame, coordinates = Frame(volume.grid), Coordinates.of(volume.grid)
    parts: dict[str, list[np.ndarray]] = {key: [] for key in ("point", "value", "base", "tissue", "contrast", "stack")}
    profiles, sigmas = [], []
    for number, stack in enumerate(sorted_stacks(volume)):
        channel = volume.contrasts.index(stack.contrast)
        world, inside = voxels_in(stack, volume.grid, support)
        predicted = _predict(stack, base[channel], inside, frame)
        parts["point"].append(coordinates(world))
        parts["value"].append(stack.data[inside] / scales[channel])
        parts["base"].append(predicted / scales[channel])
        parts["tissue"].append(_at(posteriors, world, volume.grid))
        parts["contrast"].append(np.full(len(world), channel))
        parts["stack"].append(np.full(len(world), number))
        axes = stack.affine[:3, :3] / np.array(zooms_of(stack.affine))
        profiles.append(axes * (np.array(slab_profile(stack.fwhm)) / FWHM_PER_SD / coordinates.half))
        sigmas.append(stack.sigma / scales[channel])
    joined = {key: np.concatenate(value) for key, value in parts.items()}
    for key in ("point", "value", "base", "tissue"):
        joined[key] = joined[key].astype(np.float32)
    return Observations(**joined, profile=np.array(profiles, np.float32), sigma=np.array(sigmas, np.float32))


def voxels_in(stack: Stack, grid: Grid, region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((N, 3) world centres, (I, J, K) bool) of the stack's voxels whose centre lies in a region of the grid."""
    index = np.indices(stack.data.shape).reshape(3, -1).T
    world = apply_affine(stack.affine, index.astype(np.float64))
    voxel = np.rint(apply_affine(np.linalg.inv(grid.affine), world)).astype(int)
    known = np.all((voxel >= 0) & (voxel < np.array(grid.shape)), axis=1)
    known[known] = region[tuple(voxel[known].T)]
    return world[known], known.reshape(stack.data.shape)


def acquisition_of(stack: Stack, frame: Frame, where: np.ndarray) -> Acquisition:
    """The operator of some voxels ``where`` (I, J, K) bool of a stack, with the profile that the fused base has."""
    return Acquisition(Grid(stack.affine, stack.data.shape), slab_profile(stack.fwhm), frame.grid, where, frame)


def _predict(stack: Stack, base: np.ndarray, inside: np.ndarray, frame: Frame) -> np.ndarray:
    if not base.any():
        return np.zeros(int(inside.sum()), dtype=np.float32)
    return acquisition_of(stack, frame, inside).forward(base)[inside]


def _at(posteriors: np.ndarray, world: np.ndarray, grid: Grid) -> np.ndarray:
    """(N, 4) background, CSF, GM, WM at world points, linearly between voxels."""
    voxel = apply_affine(np.linalg.inv(grid.affine), world).T
    tissue = np.stack([ndimage.map_coordinates(part, voxel, order=1) for part in posteriors], axis=1)
    return np.concatenate([np.clip(1 - tissue.sum(axis=1, keepdims=True), 0, 1), tissue], axis=1)
