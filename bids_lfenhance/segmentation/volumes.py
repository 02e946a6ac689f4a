"""The table of a segmentation: one row per region, and one for all of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..config import TOTAL_INTRACRANIAL as TOTAL
from ..imaging.grid import Grid
from .regions import regions

Rows = list[dict[str, Any]]


def region_rows(
    labels: np.ndarray,
    grid: Grid,
    soft: Sequence[float],
    confidence: Sequence[float],
    uncertain: Sequence[float] | None = None,
) -> Rows:
    """One row per region: ``index``, ``name``, ``volume_mm3`` (by label), ``volume_soft_mm3``, ``confidence``,
    ``uncertain_mm3``; then the total intracranial volume: all regions, the CSF outside the brain as far as the image
    shows it.

    Parameters
    ----------
    labels : (X, Y, Z) uint8, FreeSurfer's numbers
    grid : of the labels
    soft : (33,) mm³ by posteriors, in the order of the channels; first the total
    confidence : (33,) in [0, 1], NaN where unknown; first that of the total
    uncertain : (33,) mm³, Σ p (1 − p) of the posteriors in the order of ``soft``; None where they are not known
    """
    counts = np.bincount(labels.ravel(), minlength=256) * grid.voxel_volume
    hard = {region.index: float(counts[region.index]) for region in regions()}
    of_regions = [(region.index, region.name, hard[region.index]) for region in regions()]
    whole = (None, TOTAL, sum(hard.values()))
    columns = ([*column[1:], column[0]] for column in (soft, confidence, uncertain or [float("nan")] * len(soft)))
    keys = ("index", "name", "volume_mm3", "volume_soft_mm3", "confidence", "uncertain_mm3")
    return [
        dict(zip(keys, (*named, *map(float, more)), strict=True))
        for named, *more in zip([*of_regions, whole], *columns, strict=True)
    ]
