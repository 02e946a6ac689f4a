"""Tissue and brain volumes, and how well two label images agree."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..config import TISSUES

TISSUE_NAMES: Mapping[int, str] = dict(enumerate(TISSUES, start=1))
"""Label of a tissue dseg → name."""


def tissue_volumes(posteriors: np.ndarray, labels: np.ndarray, voxel_volume: float) -> list[dict[str, Any]]:
    """One row per tissue: ``index``, ``name``, ``volume_mm3`` (by label), ``volume_soft_mm3`` (sum of posteriors).

    Parameters
    ----------
    posteriors : (3, X, Y, Z) in [0, 1], CSF, GM, WM
    labels : (X, Y, Z) uint8, 0 background, ``i + 1`` = ``TISSUES[i]``
    voxel_volume : mm³

    The soft volume counts half a voxel of grey matter as half: it changes less with resolution and noise.

    >>> half = np.full((3, 2, 2, 2), 1 / 3)
    >>> [row["volume_mm3"] for row in tissue_volumes(half, np.full((2, 2, 2), 2), 0.5)]
    [0.0, 4.0, 0.0]
    """
    counts = np.bincount(np.asarray(labels).ravel(), minlength=len(TISSUES) + 1)
    return [
        {
            "index": index,
            "name": name,
            "volume_mm3": float(counts[index] * voxel_volume),
            "volume_soft_mm3": float(np.sum(posteriors[index - 1], dtype=np.float64) * voxel_volume),
        }
        for index, name in TISSUE_NAMES.items()
    ]


def brain_volumes(rows: Sequence[Mapping[str, Any]], mask: np.ndarray, voxel_volume: float) -> dict[str, float]:
    """``brain_mm3`` and ``brain_soft_mm3`` (GM + WM), ``intracranial_mm3`` (everything in the mask), all in mm³.

    ``rows`` are those of ``tissue_volumes``; ``mask`` (X, Y, Z) bool. The mask ends near the pia, so the intracranial
    volume is a lower bound: CSF between pia and skull that the mask leaves out is not in it.
    """
    brain = [row for row in rows if row["name"] in ("GM", "WM")]
    return {
        "brain_mm3": float(sum(row["volume_mm3"] for row in brain)),
        "brain_soft_mm3": float(sum(row["volume_soft_mm3"] for row in brain)),
        "intracranial_mm3": float(np.count_nonzero(mask) * voxel_volume),
    }


def structures(names: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """The labels of each name, and those of both sides together where a name has a left and a right.

    >>> structures({17: "left hippocampus", 53: "right hippocampus", 16: "brain stem"})
    {'left hippocampus': (17,), 'hippocampus': (17, 53), 'right hippocampus': (53,), 'brain stem': (16,)}
    """
    found: dict[str, tuple[int, ...]] = {}
    for index, name in names.items():
        found[name] = (index,)
        if (both := without_side(name)) != name:
            found[both] = (*found.get(both, ()), index)
    return found


def without_side(name: str) -> str:
    """The name of both sides together; a name without a side as it is.

    >>> without_side("left caudate"), without_side("CSF")
    ('caudate', 'CSF')
    """
    return name.removeprefix("left ").removeprefix("right ")


def overlaps(labels: np.ndarray, reference: np.ndarray, of: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Dice of each structure, 2|A∩B| / (|A| + |B|) in [0, 1], NaN where both images lack it.

    Both (X, Y, Z) uint8 on one grid; ``of`` as ``structures`` gives it. Labels of one structure count as the same.

    >>> overlaps(np.array([1, 1, 2], np.uint8), np.array([1, 2, 2], np.uint8), {"CSF": (1,)})
    {'CSF': 0.6666666666666666}
    """
    if labels.shape != reference.shape:
        raise ValueError(f"label images must share one grid, found {labels.shape} and {reference.shape}")
    pairs = np.bincount(labels.ravel().astype(np.int64) * 256 + reference.ravel(), minlength=256**2).reshape(256, 256)
    ours, theirs, found = pairs.sum(axis=1), pairs.sum(axis=0), {}
    for name, members in of.items():
        index = list(members)
        size, both = int(ours[index].sum() + theirs[index].sum()), int(pairs[np.ix_(index, index)].sum())
        found[name] = 2 * both / size if size else float("nan")
    return found
