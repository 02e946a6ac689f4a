"""What every simulator starts from: one high-field contrast and its anatomy."""

from dataclasses import dataclass

import numpy as np

from ..imaging.grid import Grid

PURE = 0.9
"""Posterior from which a voxel counts as pure tissue."""

COMMON_MM = 120.0
"""Half the side of the common space, mm of the template about its origin: a head fits in [-1, 1]³."""


@dataclass(frozen=True, eq=False)
class HighField:
    """One high-field contrast of one subject.

    ``image`` (X, Y, Z) float32 ≥ 0, arbitrary units; ``contrast`` its BIDS suffix; ``tissue`` (3, X, Y, Z) float32 in
    [0, 1], CSF/GM/WM; ``mask`` (X, Y, Z) bool, brain; ``grid`` of them all, RAS+ mm; ``place`` (4, 4) voxel index →
    common space in [-1, 1]: mm of the MNI152 template over ``COMMON_MM``, by the affine registration.
    """

    image: np.ndarray
    contrast: str
    tissue: np.ndarray
    mask: np.ndarray
    grid: Grid
    place: np.ndarray

    def tissue_means(self) -> np.ndarray:
        """(3,) mean intensity of pure CSF, GM, WM; of all voxels by their posteriors where no voxel is pure."""
        return np.array([mean_of(self.image, posterior) for posterior in self.tissue])


def mean_of(image: np.ndarray, posterior: np.ndarray) -> float:
    """Mean of an image (X, Y, Z) where a posterior is pure; weighted by it where it nowhere is."""
    pure = posterior > PURE
    if pure.any():
        return float(image[pure].mean(dtype=np.float64))
    return float(np.average(image, weights=posterior)) if posterior.any() else 0.0
