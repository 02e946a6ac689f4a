"""One intensity scale for all stacks of a contrast: a smooth gain for each, fitted where they show the same tissue."""

from collections.abc import Sequence

import numpy as np

from .grid import apply_affine
from .registration import LENGTH_UNIT, LEVELS, RegistrationImage, compare, interpolate

LARGEST_RATIO = 2.0
"""A gain differs from its stack's median gain by at most this factor: far from the head a quadratic has no bound."""


def gain_coefficients(images: Sequence[RegistrationImage], poses: Sequence[np.ndarray]) -> np.ndarray:
    """(S, 10): the logarithm of each stack's gain, a quadratic in position, that brings all to their common mean.

    Parameters
    ----------
    images : the stacks of one contrast
    poses : (4, 4) each, RAS+ mm of the stack → RAS+ mm of the first

    Two stacks, each blurred by the other's slice profile, differ by their gains only. The mean over the stacks is the
    common scale, because the errors of their bias fields are independent.
    """
    centre = images[0].centre
    rows = [np.zeros(10)]
    for image, pose in zip(images[1:], poses[1:], strict=True):
        term = compare(image, images[0], pose, *LEVELS[0])
        inside, points, seen = interpolate(term, pose, gradient=False)
        y, x = term.values[inside], seen[0]
        both = (y > 0.5) & (x > 0.5)
        ratio = np.log(x[both] * images[0].scale / (y[both] * image.scale)) if both.sum() > 200 else None
        rows.append(np.zeros(10) if ratio is None else _robust_fit(_quadratic(points[both], centre), ratio))
    return np.array(rows) - np.mean(rows, axis=0)


def gain(coefficients: np.ndarray, affine: np.ndarray, shape: tuple[int, ...], centre: np.ndarray) -> np.ndarray:
    """The gain (I, J, K) float32 at a stack's voxels.

    Parameters
    ----------
    coefficients : (10,) of one stack, from ``gain_coefficients``
    affine : (4, 4) voxel → RAS+ mm of the first stack
    shape : of the stack
    centre : (3,) mm, of the first stack's head
    """
    if not coefficients.any():
        return np.ones(shape, np.float32)
    i, j, k = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in shape), indexing="ij")
    voxels = np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1)
    values = _quadratic(apply_affine(affine, voxels), centre) @ coefficients
    level, room = float(np.median(values)), float(np.log(LARGEST_RATIO))
    return np.exp(np.clip(values, level - room, level + room)).reshape(shape).astype(np.float32)


def _quadratic(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(N, 10) monomials up to the second degree of positions (N, 3) mm."""
    a, b, c = ((points - centre) / LENGTH_UNIT).T
    return np.stack([np.ones_like(a), a, b, c, a * a, b * b, c * c, a * b, a * c, b * c], axis=1)


def _robust_fit(columns: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Coefficients by least squares, reweighted (Huber) against tissue that moved or differs."""
    weights = np.ones(len(values))
    for _ in range(5):
        coefficients = np.linalg.lstsq(columns * weights[:, None], values * weights, rcond=None)[0]
        residual = np.abs(values - columns @ coefficients)
        scale = 1.4826 * float(np.median(residual)) + 1e-9
        weights = np.sqrt(np.minimum(1.0, 1.345 * scale / np.maximum(residual, 1e-12)))
    return coefficients
