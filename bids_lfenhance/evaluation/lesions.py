"""How well lesions stand out: their contrast to the white matter around them, in each image."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from ..config import TISSUES
from ..errors import InputError
from ..imaging.grid import Grid, resample
from ..imaging.volume import Volume

AROUND_MM = (2.0, 8.0)
"""White matter at this distance from a lesion is what it is compared with: nearer, the two share voxels."""

FEWEST = 20
"""Voxels of lesion, and of white matter around it, below which no contrast is computed."""


def lesion_contrast(image: np.ndarray, lesion: np.ndarray, around: np.ndarray) -> float | None:
    """(mean of the lesion − mean around it) / mean around it; None where there is too little of either.

    ``image`` (X, Y, Z), arbitrary units; ``lesion`` and ``around`` (X, Y, Z) bool. NaN counts nowhere.
    """
    inside, outside = (image[part & np.isfinite(image)] for part in (lesion, around))
    level = float(outside.mean(dtype=np.float64)) if outside.size >= FEWEST else 0.0
    if level <= 0 or inside.size < FEWEST:
        return None
    return float(inside.mean(dtype=np.float64)) / level - 1


CHECK = "check in which scan's coordinates it is."


def white_around(lesion: np.ndarray, white: np.ndarray, grid: Grid) -> np.ndarray:
    """(X, Y, Z) bool: white matter, (X, Y, Z) bool, within ``AROUND_MM`` of a lesion."""
    distance = ndimage.distance_transform_edt(~lesion, sampling=grid.zooms) if lesion.any() else np.inf
    return np.asarray(white & (distance > AROUND_MM[0]) & (distance <= AROUND_MM[1]))


def lesions_session(
    masks: Mapping[Path, str | None], acquired: Volume, images: Mapping[str, Volume], tissue: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """``measure_lesions`` of all masks together.

    Parameters
    ----------
    masks : file → name of the stack in whose scanner's coordinates it lies, None for those of high field
    acquired : the low-field session, with its stacks
    images : as of ``measure_lesions``
    tissue : labels (X, Y, Z) uint8 by contrast, of which the first says where white matter is
    """
    moves = {stack.name: stack.lf2hf_xfm for stack in acquired.stacks}
    placed = [
        mask_on_grid(path, np.eye(4) if stack is None else moves[stack], acquired.grid) for path, stack in masks.items()
    ]
    for path, found in zip(masks, placed, strict=True):
        if found.any() and acquired.mask is not None and not (found & acquired.mask).any():
            message = f"Expected lesions of {path.name} in the brain, found them all outside its mask; {CHECK}"
            raise InputError(message, code="elsewhere", path=path)
    white = next(iter(tissue.values())) == 1 + TISSUES.index("WM")
    return measure_lesions(np.logical_or.reduce(placed), white, images, acquired.grid)


def mask_on_grid(path: Path, to_canonical: np.ndarray, grid: Grid) -> np.ndarray:
    """(X, Y, Z) bool: the voxels whose centre lies in a voxel of a mask that is above zero.

    Not what a linear interpolation has above one half: that cuts the corners of lesions a few voxels wide.
    ``to_canonical`` (4, 4) RAS+ mm of the mask's scanner → RAS+ mm of the grid. ``InputError`` where it is no 3D image,
    or lies elsewhere.
    """
    try:
        image: Any = nib.load(path)
        data = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # reading a damaged file may raise anything
        message = (
            f"Expected a mask of lesions in {path.name}, found a file that cannot be read ({type(error).__name__}); "
            "copy it again."
        )
        raise InputError(message, code="damaged-file", path=path) from error
    if data.ndim != 3:
        message = (
            f"Expected one 3D mask of lesions in {path.name}, found shape {' × '.join(map(str, data.shape))}; "
            "keep one volume of it."
        )
        raise InputError(message, code="bad-shape", path=path)
    outlined = np.nan_to_num(data) > 0
    found = resample(outlined, to_canonical @ image.affine, grid, order=0) > 0
    if outlined.any() and not found.any():
        message = f"Expected the lesions of {path.name} on its session's images, found none of them there; {CHECK}"
        raise InputError(message, code="elsewhere", path=path)
    return found


def measure_lesions(lesion: np.ndarray, white: np.ndarray, images: Mapping[str, Volume], grid: Grid) -> dict[str, Any]:
    """``VolumeMl``, ``Count`` of pieces, and ``Contrast`` by contrast and image.

    Parameters
    ----------
    lesion : (X, Y, Z) bool
    white : (X, Y, Z) bool, white matter as some image shows it
    images : name → volume ("preproc" the plain mean, the method's label, "high" high field), all on ``grid``
    """
    around = white_around(lesion, white, grid)
    contrasts = {name: None for volume in images.values() for name in volume.contrasts}
    return {
        "VolumeMl": round(float(lesion.sum()) * grid.voxel_volume / 1000, 3),
        "Count": int(ndimage.label(lesion, np.ones((3, 3, 3)))[1]),
        "Contrast": {
            contrast: {
                name: lesion_contrast(volume.channel(contrast), lesion, around)
                for name, volume in images.items()
                if contrast in volume.contrasts
            }
            for contrast in contrasts
        },
    }
