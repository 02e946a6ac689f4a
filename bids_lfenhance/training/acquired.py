"""Acquired low field as examples for methods that take stacks: in slots on the grid of its high field, as bytes."""

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from ..imaging.grid import box_of
from ..imaging.slots import fill_slots
from ..imaging.volume import Stack, Volume
from ..methods.estimate import REACH_MM
from ..nn.intensity_scale import Scale
from ..simulators.online.pairs import SLOT_FULL
from .contrast_matching import contrast_curve
from .heads import as_bytes


def acquired_arrays(
    low: Volume, high: Volume, mask: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], tuple[str, ...]]:
    """(Arrays, curves, contrasts) of a pair, the n contrasts that both fields have, cut to the brain and its margin.

    Parameters
    ----------
    low : with its stacks, aligned with ``high``, on one grid with it
    mask : (X, Y, Z) bool, brain

    Arrays: ``slots`` (n, 4, x, y, z) uint8, ``SLOT_FULL`` the 95th percentile of the slot; ``covered`` (n, 4, x, y, z)
    uint8, 1 where a stack covers; ``high`` (n, x, y, z) uint8, 230 the 99.9th percentile of the brain; ``mask`` (x, y,
    z) bool; ``resolution`` (n, 4, 3) float32 mm, zero where there is no stack. Curves by contrast:
    ``contrast_matching.contrast_curve``, from high field to the contrast of low field.
    """
    from scipy import ndimage

    contrasts = tuple(name for name in low.contrasts if name in high.contrasts)
    region = ndimage.distance_transform_edt(~mask, low.grid.zooms) <= REACH_MM
    box = box_of(region)
    grid, inside, region = low.grid.cut(box), mask[box], region[box]
    columns: dict[str, list[np.ndarray]] = {"slots": [], "covered": [], "high": [], "resolution": []}
    curves = {}
    for name in contrasts:
        stacks: Sequence[Stack] = low.stacks_of(name)
        slots = fill_slots(stacks, grid, inside, region)
        if not slots.present.any():
            raise InputError(f"Expected stacks of {name} that show some of the brain, found none; check their place.")
        target = high.channel(name)[box]
        columns["slots"].append(np.clip(np.round(slots.image * SLOT_FULL), 0, 255).astype(np.uint8))
        columns["covered"].append(slots.covered.astype(np.uint8))
        columns["high"].append(as_bytes(target, inside, region))
        columns["resolution"].append(slots.resolution)
        both = [np.stack([one]) for one in (low.channel(name)[box], target)]
        seen, wanted = (Scale.of(one, inside).apply(one, inside)[0] for one in both)
        curves[name] = contrast_curve(seen, wanted, inside)
    arrays = {key: np.stack(values) for key, values in columns.items()}
    return {**arrays, "mask": inside}, curves, contrasts
