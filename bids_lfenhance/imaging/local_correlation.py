"""Registration by local correlation, the last step across contrasts: it needs no intensity curve of the whole head."""

import numpy as np
from scipy import ndimage

from .grid import apply_affine

WINDOW = 5
"""Side of the window in working voxels: 10 mm, wide enough for an edge, narrow enough for two tissues."""

FLOOR = 0.02
"""Standard deviation, in units of the head's median, below which a window counts as flat."""


def local_step(
    y: np.ndarray, near: np.ndarray, affine: np.ndarray, volume: np.ndarray, to_voxel: np.ndarray, pose: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The (6, 6) matrix and (6,) vector of a Gauss-Newton step on local correlation; the centre (3,) mm of its turn.

    Parameters
    ----------
    y : (I, J, K) moving image; near : (I, J, K) bool, where it counts; affine : (4, 4) voxel → RAS+ mm
    volume : (4, A, B, C) fixed image and its gradient along RAS per mm; to_voxel : (4, 4) RAS+ mm → its voxels
    pose : (4, 4) RAS+ mm of the moving image → RAS+ mm of the fixed one

    Avants et al. 2008, the derivative of the local cross-correlation: ``a = s_xy / s_xx`` is the slope between the
    images in the window, ``(y - ȳ) - a (x - x̄)`` the residual at its centre, ``1 / s_yy`` its weight.
    """
    to = to_voxel @ pose @ affine
    x = ndimage.affine_transform(volume[0], to[:3, :3], to[:3, 3], output_shape=y.shape, order=1, mode="nearest")
    mean_x, mean_y = _mean(x), _mean(y)
    spread_x = np.maximum(_mean(x * x) - mean_x**2, 0) + FLOOR**2
    spread_y = np.maximum(_mean(y * y) - mean_y**2, 0) + FLOOR**2
    slope = ((_mean(x * y) - mean_x * mean_y) / spread_x)[near]
    residual = (y - mean_y)[near] - slope * (x - mean_x)[near]
    landed = apply_affine(pose @ affine, np.argwhere(near).astype(np.float64))
    at = apply_affine(to_voxel, landed).T
    g = np.stack([ndimage.map_coordinates(c, at, order=1, mode="nearest") for c in volume[1:]], axis=1)
    centre = landed.mean(axis=0)
    g = g * slope[:, None]
    columns = np.concatenate([np.cross(landed - centre, g), g], axis=1)
    weighted = columns / spread_y[near][:, None]
    return columns.T @ weighted, weighted.T @ residual.astype(np.float64), centre


def _mean(data: np.ndarray) -> np.ndarray:
    """Mean over the window around every voxel."""
    return ndimage.uniform_filter(data, WINDOW, mode="nearest")
