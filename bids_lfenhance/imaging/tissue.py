"""CSF, grey and white matter of any contrast: a Gaussian mixture under warped priors, with a smooth bias field."""

from typing import Any

import numpy as np
from scipy import ndimage

from ..config import TISSUES
from .volume import Volume

PRIOR_TRUST = 0.85
"""Weight of the warped prior against a flat one: cortex folds differently in every brain."""

NEIGHBOUR = 1.2
"""Strength of the Potts field: log odds a voxel gains when all its six neighbours agree."""

NOTHING = 0.02
"""Below this share of the brain's median an image shows nothing: what was removed or not scanned is 0, CSF is not."""

BIAS_VOXELS = 20.0
"""Standard deviation of the smoothing of the bias field, voxels of the canonical 1 mm grid."""

ROUNDS = 12
"""Rounds of the mixture."""

SWEEPS = 3
"""Sweeps of the Potts field."""


def segment_session(
    volume: Volume, mask: np.ndarray, priors: np.ndarray
) -> tuple[Volume, dict[str, np.ndarray], dict[str, list[dict[str, Any]]]]:
    """The volume with mask and tissue posteriors, and labels and volumes per contrast.

    Parameters
    ----------
    volume : the session; every contrast is segmented for itself
    mask, priors : brain (X, Y, Z) bool and CSF, GM, WM (3, X, Y, Z) in [0, 1], on the same grid

    The posteriors kept in the volume are the mean over its contrasts, whose noise is independent.
    """
    posteriors, labels, rows = [], {}, {}
    for contrast in volume.contrasts:
        posterior, labels[contrast] = segment_tissue(volume.channel(contrast), mask, priors)
        rows[contrast] = tissue_volumes(posterior, labels[contrast], volume.grid.voxel_volume)
        posteriors.append(posterior)
    tissue = np.asarray(np.mean(posteriors, axis=0, dtype=np.float32))
    return volume.with_anatomy(mask, tissue), labels, rows


def tissue_volumes(posteriors: np.ndarray, labels: np.ndarray, voxel_volume: float) -> list[dict[str, Any]]:
    """One row per tissue: ``index``, ``name``, ``volume_mm3`` (by label), ``volume_soft_mm3`` (sum of posteriors p),
    ``uncertain_mm3`` (sum of p (1 − p)).

    Parameters
    ----------
    posteriors : (3, X, Y, Z) in [0, 1], CSF, GM, WM
    labels : (X, Y, Z) uint8, 0 background, ``i + 1`` = ``TISSUES[i]``
    voxel_volume : mm³

    The soft volume counts half a voxel of grey matter as half: it changes less with resolution and noise.

    >>> half = np.full((3, 2, 2, 2), 1 / 3)
    >>> [row["volume_mm3"] for row in tissue_volumes(half, np.full((2, 2, 2), 2), 0.5)]
    [0.0, 4.0, 0.0]
    """
    counts = np.bincount(np.asarray(labels).ravel(), minlength=len(TISSUES) + 1)
    return [
        {
            "index": index,
            "name": name,
            "volume_mm3": float(counts[index] * voxel_volume),
            "volume_soft_mm3": float(np.sum(posteriors[index - 1], dtype=np.float64) * voxel_volume),
            "uncertain_mm3": float(np.sum(posteriors[index - 1] * (1 - posteriors[index - 1]), dtype=np.float64))
            * voxel_volume,
        }
        for index, name in enumerate(TISSUES, start=1)
    ]


def segment_tissue(channel: np.ndarray, mask: np.ndarray, priors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors (3, X, Y, Z) float32 of CSF, GM, WM and labels (X, Y, Z) uint8, 0 outside the brain.

    Parameters
    ----------
    channel : (X, Y, Z) image of any contrast, arbitrary units
    mask : (X, Y, Z) bool, brain
    priors : (3, X, Y, Z) in [0, 1], probability of each tissue, warped from the template

    No order of intensities is assumed: the priors alone say which class is which (Ashburner & Friston 2005 without
    the deformation; van Leemput 1999 for the bias and the Potts field, by mean field). Posteriors sum to 1 in the
    mask, and to 0 where the image was removed (``without_removed``); label ``i + 1`` is ``TISSUES[i]``.
    """
    mask = without_removed(mask, channel)
    posteriors = np.zeros((len(TISSUES), *mask.shape), np.float32)
    labels = np.zeros(mask.shape, np.uint8)
    if not mask.any():
        return posteriors, labels
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    inside = mask[box]
    soft = _soften(priors[:, *box], inside)
    inner = _expectation_maximisation(np.asarray(channel[box], np.float32), inside, soft)
    posteriors[:, *box] = inner
    labels[box] = np.where(inside, np.argmax(inner, axis=0) + 1, 0)
    return posteriors, labels


def without_removed(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    """(X, Y, Z) bool: the mask without what a skull stripper removed or no stack reached, which is no CSF.

    ``mask`` (X, Y, Z) bool, brain; ``image`` (X, Y, Z). Such voxels are empty (``NOTHING``) and connected to the
    outside through empty ones; dark CSF that tissue encloses stays.
    """
    dark = image <= NOTHING * np.median(image[mask]) if mask.any() else mask
    return mask & ndimage.binary_fill_holes(~dark) if (dark & mask).any() else mask


def _soften(priors: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(3, N) priors in the mask, blurred a little and mixed with a flat one so that no class is ruled out."""
    smooth = np.stack([ndimage.gaussian_filter(np.asarray(one, np.float32), 1.0)[inside] for one in priors])
    flat = np.float32(1 / len(TISSUES))
    total = smooth.sum(axis=0)
    known = np.where(total > 0.05, smooth / np.maximum(total, 0.05), flat)
    return PRIOR_TRUST * known + (1 - PRIOR_TRUST) * flat


def _expectation_maximisation(image: np.ndarray, inside: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """(3, X, Y, Z) float32 posteriors: mixture and bias in turn, then the Potts field."""
    values = image[inside]
    bias = np.ones_like(values)
    thin = slice(None, None, max(1, len(values) // 250_000))
    posterior = prior[:, thin]
    for step in range(ROUNDS):
        mean, std = moments(values[thin] / bias[thin], posterior)
        posterior = responsibilities(values[thin] / bias[thin], prior[:, thin], mean, std)
        if step in (3, 6, 9):
            bias = _bias(image, inside, responsibilities(values / bias, prior, mean, std), mean, std)
    likelihood = responsibilities(values / bias, np.full_like(prior, 1 / len(prior)), mean, std)
    return _potts(likelihood, prior, inside)


def moments(values: np.ndarray, posterior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (K,) and standard deviation (K,) of each class of values (N,), weighted by posteriors (K, N).

    Deviations are floored at 2 % of the spread of all values, or a class would collapse on to one grey level.
    """
    weight = posterior.sum(axis=1, dtype=np.float64) + 1e-6
    mean = (posterior @ values.astype(np.float64)) / weight
    spread = np.stack([posterior[k] @ (values - mean[k]).astype(np.float64) ** 2 for k in range(len(mean))])
    return mean, np.sqrt(np.maximum(spread / weight, (0.02 * values.std() + 1e-9) ** 2))


def responsibilities(values: np.ndarray, prior: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """(K, N) float32: probability of each class given a value, Gaussian with tails cut at four deviations."""
    distance = (values - mean[:, None].astype(np.float32)) / std[:, None].astype(np.float32)
    weight = prior * np.exp(-0.5 * np.minimum(distance**2, 16)) / std[:, None].astype(np.float32)
    return (weight / np.maximum(weight.sum(axis=0), 1e-30)).astype(np.float32)


def _bias(
    image: np.ndarray, inside: np.ndarray, posterior: np.ndarray, mean: np.ndarray, std: np.ndarray
) -> np.ndarray:
    """(N,) multiplicative bias around 1 in the mask: smoothed image over smoothed prediction, class by precision."""
    precision = (posterior / std[:, None] ** 2).astype(np.float32)
    expected = (precision * mean[:, None].astype(np.float32)).sum(axis=0)
    scale = (precision * mean[:, None].astype(np.float32) ** 2).sum(axis=0)
    step = 4
    top, bottom = np.zeros(inside.shape, np.float32), np.zeros(inside.shape, np.float32)
    top[inside], bottom[inside] = image[inside] * expected, scale
    every = (slice(None, None, step),) * 3
    coarse = [
        ndimage.gaussian_filter(ndimage.uniform_filter(one, step)[every], BIAS_VOXELS / step) for one in (top, bottom)
    ]
    field = coarse[0] / np.maximum(coarse[1], 1e-3 * coarse[1].max() + 1e-12)
    where = np.argwhere(inside).T / np.float32(step)
    bias = ndimage.map_coordinates(field, where, order=1, mode="nearest")
    return np.clip(bias / max(float(np.mean(bias)), 1e-6), 0.5, 2.0)


def _potts(likelihood: np.ndarray, prior: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(3, X, Y, Z) float32: posteriors after ``SWEEPS`` mean-field sweeps over the six neighbours."""
    unary = likelihood * prior
    field = np.zeros((len(unary), *inside.shape), np.float32)
    field[:, inside] = unary / np.maximum(unary.sum(axis=0), 1e-30)
    six = ndimage.generate_binary_structure(3, 1).astype(np.float32)
    six[1, 1, 1] = 0
    for _ in range(SWEEPS):
        support = np.stack([ndimage.correlate(one, six / 6, mode="constant")[inside] for one in field])
        weight = unary * np.exp(NEIGHBOUR * support)
        field[:, inside] = weight / np.maximum(weight.sum(axis=0), 1e-30)
    return field
