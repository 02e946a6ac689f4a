"""A made-up head with all 32 regions, and what a network would say of it."""

import numpy as np
from scipy import ndimage

from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.warp import Warp
from bids_lfenhance.segmentation.regions import channels_of_kinds, indices, kinds, regions
from bids_lfenhance.segmentation.warps import places
from bids_lfenhance.simulators.source import COMMON_MM

SIDE = 48


def head_of_blocks(side: int = SIDE) -> np.ndarray:
    """(side, side, side) uint8 FreeSurfer's numbers: right and left halves of blocks, those of the middle between."""
    labels = np.zeros((side, side, side), np.uint8)
    pairs = [r for r in regions() if r.mirror > r.index]
    middle = [r for r in regions() if r.mirror == r.index]
    edge, half = side // 8, side // 2
    for number, region in enumerate(pairs):
        row, column = divmod(number, 4)
        y, z = (slice(edge + 9 * k, edge + 9 * (k + 1)) for k in (row, column))
        labels[half - 16 : half - 4, y, z] = region.index
        labels[half + 4 : half + 16, y, z] = region.mirror
    for number, region in enumerate(middle):
        labels[half - 4 : half + 4, edge + 8 * number : edge + 8 * (number + 1), edge : edge + 36] = region.index
    return labels


def as_kinds(labels: np.ndarray) -> np.ndarray:
    """(X, Y, Z) uint8 kinds of ``regions.kinds``."""
    kind = np.zeros(256, np.uint8)
    for place, one in enumerate(kinds(), start=1):
        for label in one.labels:
            if label < 256:
                kind[label] = place
    return kind[labels]


def as_channels(labels: np.ndarray) -> np.ndarray:
    """(X, Y, Z) uint8 channels of the network."""
    return channels_of_kinds()[as_kinds(labels)]


def grid_of(side: int = SIDE) -> Grid:
    """RAS, 1 mm, about the origin."""
    affine = np.eye(4)
    affine[:3, 3] = -(side - 1) / 2
    return Grid(affine, (side, side, side))


STRAIGHT = Warp(np.eye(4), np.zeros((3, 2, 2, 2), np.float32), Grid(np.eye(4), (2, 2, 2)))
"""The template lies on the head as it is."""


def where_of(grid: Grid) -> np.ndarray:
    """(1, 3, X/2, Y/2, Z/2) common space of the cells, where the template lies on the head as it is."""
    return places(STRAIGHT, grid)[None]


def place_of(where: np.ndarray) -> np.ndarray:
    """(4, 4) voxel → common space, of cells (3, x, y, z) that lie there as on a lattice."""
    first = where[:, 0, 0, 0].astype(float)
    steps = np.stack([where[:, 1, 0, 0], where[:, 0, 1, 0], where[:, 0, 0, 1]], axis=1).astype(float) - first[:, None]
    place = np.eye(4)
    place[:3, :3] = steps / 2
    place[:3, 3] = first - steps.sum(axis=1) / 4
    return place


def seer(labels: np.ndarray, grid: Grid, sure: float = 0.9):
    """A predictor that knows where everything lies in common space, and looks at nothing else but ``image > 0``."""
    channels = as_channels(labels)
    common_to_voxel = np.linalg.inv(np.diag([1 / COMMON_MM] * 3 + [1.0]) @ grid.affine)

    def predict(image: np.ndarray, where: np.ndarray) -> np.ndarray:
        to_voxel = common_to_voxel @ place_of(where)
        found = ndimage.affine_transform(
            channels, to_voxel[:3, :3], to_voxel[:3, 3], output_shape=image.shape, order=0, mode="constant"
        )
        posteriors = np.full((len(indices()), *image.shape), (1 - sure) / (len(indices()) - 1), np.float32)
        np.put_along_axis(posteriors, np.where(image > 0, found, 0)[None].astype(np.intp), sure, axis=0)
        return posteriors

    return predict
