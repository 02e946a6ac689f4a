"""A background of noise as bright as the head, as the uniform image of an MP2RAGE has: found and taken away."""

from itertools import product

import numpy as np
from scipy import ndimage

CORNER = 8
"""The corners of an image are an eighth of its sides."""

LOUD = 0.2
"""Noise over the image's whole range: its SD is .29 of that; a magnitude's is below .2 beside any head."""

MIDDLE = (0.3, 0.7)
"""Where the mean of such noise lies in the image's range; a magnitude's lies below."""

SHARE = 0.6
"""A voxel is noise where the local SD, over 3 voxels and smoothed, is above this share of the corners'."""


def loud_background(data: np.ndarray) -> np.ndarray | None:
    """(I, J, K) bool, the voxels that are noise over the image's whole range; None where the corners are not.

    ``data`` (I, J, K), finite. In the uniform image (Marques et al. 2010) a ratio of two images without signal is as
    large as one of two with signal. Noise differs from voxel to voxel, tissue does not.
    """
    low, high = np.percentile(data, (1, 99))
    centred = (np.asarray(data, np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-12))
    sides = [(slice(max(2, n // CORNER)), slice(-max(2, n // CORNER), None)) for n in data.shape]
    corners = [(float(part.std()), float(part.mean())) for part in (centred[corner] for corner in product(*sides))]
    loud = [sd for sd, mean in corners if sd > LOUD and MIDDLE[0] < mean < MIDDLE[1]]
    if len(loud) < len(corners) / 2:
        return None
    mean = ndimage.uniform_filter(centred, 3)
    variance = np.maximum(ndimage.uniform_filter(np.square(centred), 3) - np.square(mean), 0)
    return ndimage.gaussian_filter(np.sqrt(variance), 1.0) > SHARE * float(np.median(loud))
