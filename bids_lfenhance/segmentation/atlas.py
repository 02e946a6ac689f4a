"""The atlas of the regions: label maps counted in common space, right half only; left is its mirror image."""

from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from ..simulators.source import COMMON_MM
from .regions import channels_of_kinds, indices, mirrored_channels

if TYPE_CHECKING:
    from torch import Tensor

SPACING_MM = 3.0
"""Distance of the nodes; after the warp, heads still differ by 2 mm and more."""

BLUR_MM = 1.2
"""SD of the Gaussian blur that allows for people other than those of the label maps."""

LOW, HIGH = (0.0, -0.92, -0.6), (0.63, 0.68, 0.72)
"""Corners of the box of common space that the atlas covers: the right half of the template's brain and a margin."""

NODES = tuple(round((high - low) * COMMON_MM / SPACING_MM) + 1 for low, high in zip(LOW, HIGH, strict=True))
"""Nodes along each axis."""


def nodes_of(where: "Tensor") -> "Tensor":
    """(B, 3, …) common space, x ≥ 0 → places in [−1, 1]³ between the first and the last node."""
    low, high = (where.new_tensor(corner).view(1, 3, *[1] * (where.ndim - 2)) for corner in (LOW, HIGH))
    return (where - low) / (high - low) * 2 - 1


def build_atlas(heads: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(33, *NODES) float32 probabilities that sum to 1 over the channels; where no head reaches, background.

    ``heads``: (kinds (X, Y, Z) uint8, ``where`` (3, X/2, Y/2, Z/2) its cells of 2 mm lie in common space) of each
    label map. Every voxel is shared out among the eight nodes around it, once as it is and once mirrored.
    """
    channels, size = len(indices()), int(np.prod(NODES))
    counts = np.zeros(channels * size)
    for kinds, where in heads:
        found = cells(channels_of_kinds()[kinds]).reshape(8, -1)
        mirrored = mirrored_channels()[found]
        for sign, names in ((1, found), (-1, mirrored)):
            places = where.reshape(3, -1) * np.array([[sign], [1], [1]], np.float32)
            for labels in names:
                _share_out(counts, labels.astype(np.int64), places, size)
    sigma = (0, *[BLUR_MM / SPACING_MM] * 3)
    smooth = ndimage.gaussian_filter(counts.reshape(channels, *NODES), sigma, mode="nearest")
    smooth[0] += 1e-6
    return (smooth / smooth.sum(axis=0)).astype(np.float32)


def cells(array: np.ndarray) -> np.ndarray:
    """(8, X/2, Y/2, Z/2): the voxels of each cell of two by two by two; an odd last plane is left out."""
    x, y, z = (n // 2 for n in array.shape)
    parts = array[: 2 * x, : 2 * y, : 2 * z].reshape(x, 2, y, 2, z, 2)
    return parts.transpose(1, 3, 5, 0, 2, 4).reshape(8, x, y, z)


def _share_out(counts: np.ndarray, labels: np.ndarray, places: np.ndarray, size: int) -> None:
    """Add each place's trilinear shares to the counts of its label."""
    index = (places - np.array(LOW, np.float32)[:, None]) * (COMMON_MM / SPACING_MM)
    corner = np.floor(index).astype(np.int64)
    rest = index - corner
    for offset in product((0, 1), repeat=3):
        step = np.array(offset)[:, None]
        node = corner + step
        share = np.where(step, rest, 1 - rest).prod(axis=0)
        inside = ((node >= 0) & (node < np.array(NODES)[:, None])).all(axis=0)
        flat = np.ravel_multi_index(tuple(node[:, inside]), NODES) + size * labels[inside]
        counts += np.bincount(flat, share[inside], counts.size)
