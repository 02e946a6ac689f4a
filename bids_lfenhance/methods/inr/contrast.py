"""From low-field to high-field contrast: the contrast vector, and its inverse voxel by voxel (methods.md §3.1)."""

import numpy as np
from scipy import ndimage

from ...config import TISSUES
from ...errors import InputError, MethodError
from ...simulators.physics import contrast_vector
from ...simulators.presets import HF_TESLA, contrast_factor, tissue_signal

WM = TISSUES.index("WM")


def tissue_means(image: np.ndarray, tissue: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(3,) intensity of CSF, GM, WM by least squares on their shares, so that partial volume is accounted for."""
    shares = tissue[:, mask].astype(np.float64)
    return np.asarray(np.linalg.lstsq(shares @ shares.T, shares @ image[mask].astype(np.float64), rcond=None)[0])


def fit_contrast(
    contrast: str, image: np.ndarray, tissue: np.ndarray, mask: np.ndarray, sigma: float
) -> tuple[np.ndarray, list[str]]:
    """((3,) c of CSF, GM, WM, largest 1; warnings): low-field over high-field intensity (methods.md §3.1).

    ``image`` (X, Y, Z) low field, as sharp as it can be had: blur mixes the tissues. The high-field intensities come
    from the protocol table, never from a scan of the subject. All ones, with a warning, where the scan does not show
    its tissues in the order of its contrast.
    """
    measured = tissue_means(image, tissue, mask)
    wanted = tissue_signal(contrast, HF_TESLA)
    # c is bounded by 1: the unit of the table is chosen so that the tissue that keeps most of its signal keeps all.
    wanted = wanted * (measured / wanted).max()
    try:
        expected = contrast_factor(contrast)
        return contrast_vector(wanted, measured, max(sigma, 1e-6), contrast, expected), []
    except MethodError as error:
        return np.ones(len(TISSUES)), [f"{contrast} keeps its low-field contrast: {error}"]


def parse_contrast(text: str) -> np.ndarray:
    """(3,) the vector given by hand, CSF,GM,WM.

    >>> parse_contrast("1,0.62,0.47").tolist()
    [1.0, 0.62, 0.47]
    """
    try:
        vector = np.array([float(part) for part in text.split(",")])
    except ValueError:
        vector = np.zeros(0)
    if vector.shape != (len(TISSUES),) or not ((vector >= 0.1) & (vector <= 10)).all():
        raise InputError(
            "expected the contrast as auto, none or three numbers CSF,GM,WM between 0.1 and 10, "
            f"found {text!r}: write for example 1,0.62,0.47"
        )
    return vector


def restoring_gain(contrast: str, vector: np.ndarray, tissue: np.ndarray, smooth_voxels: float = 0.0) -> np.ndarray:
    """(X, Y, Z) float32 what S is multiplied by: Σ μ_k P_k / Σ c_k μ_k P_k, 1 in pure white matter and outside.

    ``vector`` (3,) c; ``tissue`` (3, X, Y, Z) posteriors P, first smoothed by a Gaussian of ``smooth_voxels``; μ the
    protocol's high-field intensities. In one tissue this is 1/c_k, as methods.md §3.3; where tissues share a voxel,
    their signals are degraded and add up, whereas 1/Σ c_k P_k would darken every voxel that holds a little CSF.
    """
    wanted = tissue_signal(contrast, HF_TESLA)
    lost = vector / vector[WM]
    before = np.full(tissue.shape[1:], wanted[WM], dtype=np.float32)
    after = before.copy()
    for part, signal, factor in zip(tissue, wanted, lost, strict=True):
        share = ndimage.gaussian_filter(part, smooth_voxels) if smooth_voxels else part
        before += np.float32(signal - wanted[WM]) * share
        after += np.float32(signal * factor - wanted[WM]) * share
    return before / after
