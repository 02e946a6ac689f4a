"""A mask somebody drew in the coordinates of a scanner, on the canonical grid."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ..errors import InputError
from .grid import Grid, resample


def mask_on_grid(path: Path, to_canonical: np.ndarray, grid: Grid) -> np.ndarray:
    """(X, Y, Z) bool: what is above zero in a mask, at least half of each voxel.

    ``to_canonical`` (4, 4) RAS+ mm of the mask's scanner → RAS+ mm of the grid. ``InputError`` where it is no 3D image.
    """
    try:
        image: Any = nib.load(path)
        data = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # a damaged file raises whatever its reader likes
        raise InputError(
            f"Expected a mask of lesions in {path.name}, found a file that cannot be read ({type(error).__name__}); "
            "copy it again.",
            code="damaged-file",
            path=path,
        ) from error
    if data.ndim != 3:
        raise InputError(
            f"Expected one 3D mask of lesions in {path.name}, found shape {' × '.join(map(str, data.shape))}; "
            "keep one volume of it.",
            code="bad-shape",
            path=path,
        )
    return resample(np.nan_to_num(data) > 0, to_canonical @ image.affine, grid, order=1) >= 0.5
