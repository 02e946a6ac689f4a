"""High-field sources to simulate from."""

import numpy as np

from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.simulators.presets import HF_TESLA, tissue_signal
from bids_lfenhance.simulators.source import COMMON_MM, HighField
from tests.oracle import phantom_head


def phantom_source(contrast: str = "T1w", size: int = 48, seed: int = 3) -> HighField:
    """The oracle's folded shells of CSF, GM, WM in one contrast at 3 T, 1 mm."""
    _, affine, tissue = phantom_head(size, np.random.default_rng(seed))
    image = np.tensordot(1000 * tissue_signal(contrast, HF_TESLA), tissue, axes=1).astype(np.float32)
    grid = Grid(affine, image.shape)
    place = np.diag([1 / COMMON_MM] * 3 + [1]) @ affine
    return HighField(image, contrast, tissue, tissue.sum(axis=0) > 0.5, grid, place)
