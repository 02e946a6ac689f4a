"""Heads that low field is simulated from while a network learns: high field and label maps as bytes, brain only."""

import numpy as np

from ..errors import InputError
from ..imaging.grid import Grid, box_of, canonical_grid, resample
from ..imaging.volume import Volume
from ..simulators.online.material import FULL

PERCENTILE = 99.9
"""Percentile of the brain that becomes the byte ``FULL``; what is brighter is kept up to 255."""

BRAIN = (
    *(2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 24, 26, 28),
    *(41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60),
)
"""FreeSurfer's labels of the brain."""

JOINED = {
    2: (25, 77, 78, 85, 251, 252, 253, 254, 255),
    3: (*range(1000, 2000), *range(11100, 12100)),
    4: (31, 72, 136, 163),
    41: (57, 79, 80),
    42: (*range(2000, 3000), *range(12100, 12200)),
    43: (63, 137, 164),
}
"""Labels treated as another: lesions, chiasm and corpus callosum as the white matter around them, choroid plexus
and fifth ventricle as the ventricles, parcels of the cortex as cortex."""


def as_bytes(image: np.ndarray, mask: np.ndarray, kept: np.ndarray | None = None) -> np.ndarray:
    """(X, Y, Z) uint8: ``FULL`` is the 99.9th percentile of the brain, ``mask``; at least 1 inside ``kept``, by default
    the same, and 0 outside.
    """
    level = float(np.percentile(image[mask], PERCENTILE))
    if not level > 0:
        raise InputError("Expected a brain that is brighter than 0, found none; look at the image.")
    values = np.clip(np.round(image * (FULL / level)), 1, 255).astype(np.uint8)
    return np.where(mask if kept is None else kept, values, np.uint8(0))


def head_bytes(high: Volume, mask: np.ndarray) -> np.ndarray:
    """(n, x, y, z) uint8: the contrasts of a session at high field, cut to the brain ``mask`` (X, Y, Z)."""
    box = box_of(mask)
    return np.stack([as_bytes(high.channel(name)[box], mask[box]) for name in high.contrasts])


def brain_labels(path: str) -> np.ndarray:
    """(x, y, z) uint8: the labels of the brain in a map of FreeSurfer's numbers, RAS, 1 mm, cut to the brain."""
    import nibabel as nib

    try:
        image = nib.load(path)
        numbers = np.rint(np.asarray(image.dataobj, np.float32)).astype(int)  # type: ignore[attr-defined]
    except (OSError, nib.filebasedimages.ImageFileError, EOFError) as error:
        raise InputError(f"Expected a label map (NIfTI or MGH) in {path}, found no image ({error}).") from error
    for label, joined in JOINED.items():
        numbers[np.isin(numbers, joined)] = label
    kept = np.where(np.isin(numbers, BRAIN), numbers, 0)
    if kept.ndim != 3 or not kept.any():
        raise InputError(
            f"Expected a map of three dimensions with FreeSurfer's labels of the brain (2, 3, 41, 42, …) in {path}, "
            "found none; leave it out."
        )
    grid = Grid(image.affine, kept.shape)  # type: ignore[attr-defined]
    labels = resample(kept, grid.affine, canonical_grid(grid.corners()), order=0).astype(np.uint8)
    return labels[box_of(labels > 0)]
