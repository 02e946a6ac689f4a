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


def label_agreement(
    labels: np.ndarray, reference: np.ndarray, names: Mapping[int, str] = TISSUE_NAMES
) -> list[dict[str, Any]]:
    """One row per label: ``index``, ``name``, ``dice`` in [0, 1], ``volume_difference_percent``; NaN where undefined.

    Dice is 2|A∩B| / (|A| + |B|); the difference 100 (V − V_ref) / V_ref (methods.md §8). Both (X, Y, Z) on one grid.

    >>> label_agreement(np.array([1, 1, 2]), np.array([1, 2, 2]), {1: "CSF"})[0]["dice"]
    0.6666666666666666
    """
    if labels.shape != reference.shape:
        raise ValueError(f"label images must share one grid, found {labels.shape} and {reference.shape}")
    rows = []
    for index, name in names.items():
        ours, true = labels == index, reference == index
        size, true_size = int(np.count_nonzero(ours)), int(np.count_nonzero(true))
        both = int(np.count_nonzero(ours & true))
        rows.append(
            {
                "index": index,
                "name": name,
                "dice": 2 * both / (size + true_size) if size + true_size else float("nan"),
                "volume_difference_percent": 100 * (size - true_size) / true_size if true_size else float("nan"),
            }
        )
    return rows
