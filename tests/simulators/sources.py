"""High-field sources to simulate from."""

import numpy as np

from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.signal import HF_TESLA, tissue_signal
from bids_lfenhance.simulators.source import COMMON_MM, HighField
from tests.oracle import phantom_head


def phantom_source(contrast: str = "T1w", size: int = 48, seed: int = 3) -> HighField:
    """The oracle's folded shells of CSF, GM, WM in one contrast at 3 T, 1 mm."""
    _, affine, tissue = phantom_head(size, np.random.default_rng(seed))
    image = np.tensordot(1000 * tissue_signal(contrast, HF_TESLA), tissue, axes=1).astype(np.float32)
    grid = Grid(affine, image.shape)
    place = np.diag([1 / COMMON_MM] * 3 + [1]) @ affine
    return HighField(image, contrast, tissue, tissue.sum(axis=0) > 0.5, grid, place)


def slab_source(size: int = 96) -> HighField:
    """Thick slabs of air, CSF, GM, WM along x, so that a thick slice holds pure tissue."""
    grid = Grid(np.eye(4), (size, size, size))
    tissue = np.zeros((3, *grid.shape), np.float32)
    for number, start in enumerate((12, 36, 60)):
        tissue[number, start : start + 24] = 1
    image = np.tensordot(np.array([200.0, 600.0, 1000.0]), tissue, axes=1) + 50
    return HighField(image.astype(np.float32), "T1w", tissue, tissue.sum(axis=0) > 0, grid, np.eye(4))
