"""The stacks of one contrast as a network takes them: on one grid, scaled, in slots by the geometry of their slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .grid import Grid, coverage, resample, zooms_of
from .volume import Stack, in_order

SLOTS = ("axial", "coronal", "sagittal", "isotropic")
"""By the world axis nearest to the thick side of the voxels: z, y, x; the last where no side is thick."""

_BY_AXIS = (2, 1, 0)
"""Slot of a stack whose thick side lies along world axis x, y, z."""

THICK = 1.5
"""A stack has slices where the longest side of its voxels is at least this many times the second."""

PERCENTILE = 95.0
"""Percentile of the intensities in the brain that becomes 1."""

DISAGREE_MM = 3.0
"""Stacks of one slot whose brains lie further apart than this are warned about."""


@dataclass(frozen=True, eq=False)
class SlotImages:
    """The stacks of one contrast on a grid (X, Y, Z), those of one slot averaged.

    ``image`` (4, X, Y, Z) float32, zero outside region and field of view, its 95th percentile in the brain near 1;
    ``covered`` (4, X, Y, Z) bool, inside the region; ``present`` (4,) bool; ``resolution`` (4, 3) float32, mm along the
    grid's axes, zero where there is no stack; ``unit`` what an image of this contrast is multiplied by to be in the
    units of the scan; ``stacks`` how many there were; ``warnings`` for the user.
    """

    image: np.ndarray
    covered: np.ndarray
    present: np.ndarray
    resolution: np.ndarray
    unit: float
    stacks: int
    warnings: tuple[str, ...] = ()


def _resolved(stack: Stack) -> np.ndarray:
    """(3,) mm along the voxel axes: across gaps between slices, interpolated here, no better than their spacing."""
    return np.maximum(np.asarray(stack.fwhm, float), zooms_of(stack.affine))


def slot_of(stack: Stack) -> int:
    """Number of the slot in ``SLOTS``, by geometry alone."""
    size = _resolved(stack)
    order = np.argsort(size)
    if size[order[2]] < THICK * size[order[1]]:
        return 3
    direction = stack.affine[:3, order[2]]
    return _BY_AXIS[int(np.argmax(np.abs(direction)))]


def resolution_of(stack: Stack) -> np.ndarray:
    """(3,) mm: what the stack resolves along the world axes, each that of the voxel axis nearest to it."""
    axes = np.abs(stack.affine[:3, :3] / zooms_of(stack.affine))
    return _resolved(stack)[axes.argmax(axis=1)]


def fill_slots(stacks: Sequence[Stack], grid: Grid, mask: np.ndarray, region: np.ndarray | None = None) -> SlotImages:
    """The stacks of one contrast, each interpolated once, linearly, and divided by its 95th percentile in the brain.

    Parameters
    ----------
    stacks : aligned, bias-corrected; in any order: the result is the same to the bit
    mask : (X, Y, Z) bool, brain, which decides the scale
    region : (X, Y, Z) bool, what is kept of the images; None: the brain
    """
    region = mask if region is None else region
    total = np.zeros((4, *grid.shape), np.float32)
    count = np.zeros((4, *grid.shape), np.float32)
    resolution, number = np.zeros((4, 3)), np.zeros(4)
    units: list[float] = []
    seen: list[int] = []
    centres: list[list[tuple[str, np.ndarray]]] = [[], [], [], []]
    for stack in in_order(stacks):
        covered = coverage(stack.data.shape, stack.affine, grid) & region
        if not (covered & mask).any():
            continue
        image = np.maximum(np.nan_to_num(resample(stack.data, stack.affine, grid)), 0)
        unit = float(np.percentile(image[covered & mask], PERCENTILE))
        if not unit > 0:
            continue
        slot = slot_of(stack)
        total[slot] += np.where(covered, image / unit, 0)
        count[slot] += covered
        resolution[slot] += resolution_of(stack)
        number[slot] += 1
        units.append(unit)
        seen.append(int((covered & mask).sum()))
        centres[slot].append((stack.name, _centre(image * covered, grid)))
    present = number > 0
    image = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    mean = np.divide(resolution, number[:, None], out=np.zeros_like(resolution), where=present[:, None])
    unit = float(np.average(units, weights=seen)) if units else 1.0
    warnings = tuple(_disagreements(centres))
    return SlotImages(image, count > 0, present, mean.astype(np.float32), unit, len(units), warnings)


def fill_with_image(image: np.ndarray, grid: Grid, mask: np.ndarray, region: np.ndarray | None = None) -> SlotImages:
    """One fused image (X, Y, Z) as the only stack, isotropic at the grid's voxel size: for volumes without stacks."""
    stack = Stack("image", "", np.asarray(image, np.float32), grid.affine, grid.affine, grid.zooms, 0.0)
    return fill_slots([stack], grid, mask, region)


def _centre(image: np.ndarray, grid: Grid) -> np.ndarray:
    """(3,) mm: centre of mass."""
    weight = image / max(float(image.sum()), 1e-12)
    sums = [weight.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
    return np.array([(one * np.arange(len(one))).sum() for one in sums]) * np.array(grid.zooms)


def _disagreements(centres: Sequence[Sequence[tuple[str, np.ndarray]]]) -> list[str]:
    texts = []
    for slot, entries in zip(SLOTS, centres, strict=True):
        for (one, here), (other, there) in combinations(entries, 2):
            apart = float(np.linalg.norm(here - there))
            if apart > DISAGREE_MM:
                texts.append(
                    f"the {slot} stacks {one} and {other} show brains {apart:.1f} mm apart: check their alignment"
                )
    return texts
