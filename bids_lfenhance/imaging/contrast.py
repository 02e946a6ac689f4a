"""From low-field to high-field contrast: the contrast vector, and its inverse voxel by voxel."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..config import TISSUES
from ..errors import MethodError
from .signal import HF_TESLA, LF_TESLA, check_order, tissue_signal

GM, WM = TISSUES.index("GM"), TISSUES.index("WM")

GREY_IN_CSF = 0.3
"""Share of grey matter in what the tissue map of a low-field scan calls CSF: thick slices do not resolve sulci. There
the high-field T1w of ds002748 has CSF / WM .33; the protocol's .19, of CSF alone, would come out too dark."""

POWER = 0.8
"""Power of the contrast vector that is undone, 1 being all of it: tissue maps are uncertain, and high-field scanners
differ (chosen on training and validation people, docs/notebook.md)."""

SMOOTH_MM = 1.0
"""SD of the smoothing of image and tissue maps before they give the gain of a voxel."""

FACTOR_BOUNDS = (0.1, 1.0)
"""Allowed contrast factors c_k."""

STEEPEST = 3.0
"""Greatest slope of a contrast curve: it amplifies noise as much as the difference between two tissues. In validation
people it reaches 2.1 where all of the contrast is restored."""

GAP = 0.02
"""Two tissue means closer than this, over the brightest, count as one point of a contrast curve."""


def seen_signal(contrast: str, tesla: str) -> np.ndarray:
    """(3,) signal of CSF, GM, WM within the tissue maps of a low-field scan, whose CSF holds ``GREY_IN_CSF``.

    The brightest is 1 before that mixing; ``tesla`` is ``LF_TESLA`` or ``HF_TESLA``.

    >>> seen_signal("T1w", HF_TESLA).round(2).tolist()
    [0.32, 0.62, 1.0]
    """
    csf, gm, wm = tissue_signal(contrast, tesla)
    return np.array([(1 - GREY_IN_CSF) * csf + GREY_IN_CSF * gm, gm, wm])


def tissue_means(image: np.ndarray, tissue: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(3,) intensity of CSF, GM, WM by least squares on their shares, so that partial volume is accounted for."""
    shares = tissue[:, mask].astype(np.float64)
    return np.asarray(np.linalg.lstsq(shares @ shares.T, shares @ image[mask].astype(np.float64), rcond=None)[0])


def fit_contrast(
    contrast: str, image: np.ndarray, tissue: np.ndarray, mask: np.ndarray, sigma: float
) -> tuple[np.ndarray, list[str]]:
    """((3,) c of CSF, GM, WM, largest 1; warnings): low-field over high-field intensity.

    ``image`` (X, Y, Z) low field, as sharp as available: blur mixes the tissues. The high-field intensities come
    from the protocol table (``seen_signal``), never from a scan of the subject. All ones, with a warning, where nothing
    can be restored (``kept_contrast``), or the scan does not show its tissues in the order of its contrast.
    """
    if kept := kept_contrast(contrast, image, tissue, mask):
        return np.ones(len(TISSUES)), kept
    measured = tissue_means(image, tissue, mask)
    wanted = seen_signal(contrast, HF_TESLA)
    expected = seen_signal(contrast, LF_TESLA) / wanted
    # c is bounded by 1: the unit of the table is chosen so that the tissue that keeps most of its signal keeps all.
    wanted = wanted * (measured / wanted).max()
    try:
        return contrast_vector(wanted, measured, max(sigma, 1e-6), contrast, expected / expected.max()), []
    except MethodError as error:
        return np.ones(len(TISSUES)), [_kept(contrast, str(error))]


def kept_contrast(contrast: str, image: np.ndarray, tissue: np.ndarray, mask: np.ndarray) -> list[str]:
    """A warning where contrast cannot be restored, as a tissue was not found or white matter has no signal; else none.

    ``image`` (X, Y, Z) low field; ``tissue`` (3, X, Y, Z) posteriors; ``mask`` (X, Y, Z) bool.
    """
    if absent := [name for name, part in zip(TISSUES, tissue, strict=True) if not (part[mask] > 0.5).any()]:
        return [_kept(contrast, f"no {' and no '.join(absent)} was found")]
    return [] if tissue_means(image, tissue, mask)[WM] > 0 else [_kept(contrast, "its white matter has no signal")]


def _kept(contrast: str, why: str) -> str:
    return f"{contrast} keeps its low-field contrast: {why}"


def contrast_vector(
    hf_means: np.ndarray,
    lf_means: np.ndarray,
    lf_sigma: float,
    contrast: str,
    prior: np.ndarray | None = None,
) -> np.ndarray:
    """(3,) c_k of CSF, GM, WM by bounded least squares.

    Parameters
    ----------
    hf_means : (3,) μ_k, the tissue means of the high-field contrast asked for, in the units of the low-field scan
    lf_means : (3,) tissue means measured on the low-field scan
    lf_sigma : noise of the low-field scan, > 0
    contrast : decides the order of brightness that the result must keep
    prior : (3,) c_k expected from relaxation times, given a small weight

    Rows: SNR of each tissue (weight 1), grey-white and grey-CSF contrast (weight 10), the prior (weight 0.1).
    """
    from scipy.optimize import lsq_linear

    means, targets = np.asarray(hf_means, dtype=float), np.asarray(lf_means, dtype=float)
    scale = float(np.abs(means).mean())
    pairs = 10 / scale * np.array([[0.0, -1.0, 1.0], [-1.0, 1.0, 0.0]])
    rows = [np.diag(means / np.maximum(targets, lf_sigma)), pairs * means]
    goals = [targets / np.maximum(targets, lf_sigma), pairs @ targets]
    if prior is not None:
        rows.append(0.1 * np.eye(3))
        goals.append(0.1 * np.asarray(prior, dtype=float))
    fit = lsq_linear(np.concatenate(rows), np.concatenate(goals), bounds=FACTOR_BOUNDS, method="bvls")
    check_order(fit.x * means, contrast)
    return fit.x


def restoring_gain(
    contrast: str, vector: np.ndarray, image: np.ndarray, tissue: np.ndarray, smooth_voxels: float = 0.0
) -> np.ndarray:
    """(X, Y, Z) float32 what the image is multiplied by: 1 in pure white matter and outside, μ_k / c_k μ_k elsewhere.

    ``vector`` (3,) c; ``image`` (X, Y, Z) low field; ``tissue`` (3, X, Y, Z) posteriors; both are first smoothed by a
    Gaussian of ``smooth_voxels``. The mean of two gains that err in different places: the gain by tissue map tells
    where grey matter may be, the gain by intensity how much of it a voxel holds.
    """
    if np.ptp(vector) == 0:
        return np.ones(image.shape, np.float32)
    shares = np.stack([_smoothed(part, smooth_voxels) for part in tissue])
    inside = shares.sum(axis=0)
    brain = tissue.sum(axis=0) > 0.5
    white = float(tissue_means(image, tissue, brain)[WM])
    by_intensity = _gain_by_intensity(contrast, vector, _smoothed(image, smooth_voxels) / np.float32(white))
    both: np.ndarray = (gain_by_tissue(contrast, vector, shares) + 1 + inside * (by_intensity - 1)) / 2
    return both


def gain_by_tissue(contrast: str, vector: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(X, Y, Z) float32: Σ μ_k P_k / Σ c_k μ_k P_k of the ``shares`` P (3, X, Y, Z), μ the high-field intensities.

    In one tissue this is 1/c_k (docs/methods/inr.md); where tissues share a voxel, their signals are degraded and add
    up, whereas 1/Σ c_k P_k would darken every voxel that holds a little CSF.
    """
    wanted = seen_signal(contrast, HF_TESLA)
    lost = vector / vector[WM]
    before = np.full(shares.shape[1:], wanted[WM], dtype=np.float32)
    after = before.copy()
    for share, signal, factor in zip(shares, wanted, lost, strict=True):
        before += np.float32(signal - wanted[WM]) * share
        after += np.float32(signal * factor - wanted[WM]) * share
    return before / after


def _gain_by_intensity(contrast: str, vector: np.ndarray, level: np.ndarray) -> np.ndarray:
    """(X, Y, Z) float32: the gain of ``contrast_curve`` over its argument ``level`` ≥ 0, white matter at 1."""
    curve = contrast_curve(contrast, vector)
    return np.interp(level, curve.levels[1:], curve.values[1:] / curve.levels[1:]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class ContrastCurve:
    """A rising curve of intensity: ``values`` (N,) at ``levels`` (N,) ≥ 0, from (0, 0), in the units of an image.

    Above the last level it goes on by the gain that it has there.
    """

    levels: np.ndarray
    values: np.ndarray

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """float32 of the shape of ``image``, whose values are ≥ 0: what the curve makes of it."""
        last = np.float32(self.values[-1] / self.levels[-1])
        curved = np.interp(image, self.levels, self.values)
        made: np.ndarray = np.where(image > self.levels[-1], last * image, curved).astype(np.float32)
        return made

    def slope(self, image: np.ndarray) -> np.ndarray:
        """float32 ≥ 0 of the shape of ``image``: what a small error of each of its values is multiplied by."""
        last = self.values[-1] / self.levels[-1]
        slopes = np.interp(image, self.levels, np.gradient(self.values, self.levels))
        return np.where(image > self.levels[-1], last, slopes).astype(np.float32)


def contrast_curve(contrast: str, vector: np.ndarray, white: float = 1.0, share: float = 1.0) -> ContrastCurve:
    """The smooth rising curve through 0 and every c_k μ_k → μ_k, which leaves white matter at its intensity ``white``.

    ``vector`` (3,) c; ``share`` of the change that is made: the power of the gain, from 0, which leaves the image as
    it is, to 1.
    """
    from scipy.interpolate import PchipInterpolator

    wanted = seen_signal(contrast, HF_TESLA) / seen_signal(contrast, HF_TESLA)[WM]
    found = wanted * vector / vector[WM]
    order = np.argsort(found)
    found, wanted = found[order], wanted[order]
    kept = np.diff(found, prepend=0.0) > GAP * found[-1]
    found, wanted = found[kept], wanted[kept]
    curve = PchipInterpolator(np.r_[0, found, 2 * found[-1]], np.r_[0, wanted, 2 * wanted[-1]])
    levels = np.linspace(0, 2 * found[-1], 1024)
    values = np.r_[0, levels[1:] * (curve(levels[1:]) / levels[1:]) ** share]
    return ContrastCurve(white * levels, white * values)


def _smoothed(image: np.ndarray, voxels: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, voxels) if voxels else image
