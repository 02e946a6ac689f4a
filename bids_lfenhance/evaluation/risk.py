"""The risk map: the output degraded as each stack was acquired, against what was acquired (docs/methods/metrics.md).

It is large where the output shows what no scan supports. It is blind beyond the band limit of the stacks: detail
finer than the slice profile leaves no trace in the data, be it true or invented.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.optimize import lsq_linear

from ..config import TISSUES
from ..errors import InputError
from ..imaging.acquisition import Acquisition, Frame
from ..imaging.grid import Grid, box_of, coverage, resample, zooms_of
from ..imaging.profile import FWHM_PER_SD
from ..imaging.volume import Stack

FLOOR = 0.02
"""Added to the noise, as a share of the stack's scale, so that a tiny misfit in a scan with little noise is no risk."""
SCALE_PERCENTILE = 99.9
"""The scale of a stack: this percentile of what it acquired inside the brain."""
SMOOTHING_FWHM = 3.0
"""Width in mm of the Gaussian that smooths the map; it limits where, not what, the map can show."""
MARGIN_MM = 10.0
"""Rim kept around the brain before degrading: nearly five standard deviations of a 5 mm profile."""
GAIN_RANGE = (0.1, 10.0)
"""Bounds of a tissue's gain, relative to the gain of the whole brain."""
OFFSET_RANGE = 0.1
"""Bound of the offset (Rician floor), as a share of the stack's scale."""
THRESHOLD = 1.5
"""Risk, in noise units, above which a voxel is counted in ``FractionAbove``; noise alone stays near 0.6, below 1.1."""
LEAST_COVERAGE = 0.999
"""Share of the brain that the stacks must see for the map to carry no warning."""
LEAST_WEIGHT = 0.25
"""A stack counts for a voxel if at least this share of the interpolation weight fell on its brain voxels."""
LEAST_SHARE = 0.01
"""Least weight, under the smoothing Gaussian, of voxels for which a stack counts."""


@dataclass(frozen=True)
class _Fit:
    """One stack compared with the output: |residual| (I, J, K) in noise units, ``where`` it is known, band limit."""

    residual: np.ndarray
    where: np.ndarray
    affine: np.ndarray
    limit: np.ndarray
    record: dict[str, Any]


def risk_map(
    output: np.ndarray, stacks: Sequence[Stack], tissue: np.ndarray, mask: np.ndarray, grid: Grid
) -> tuple[np.ndarray, dict[str, Any]]:
    """(X, Y, Z) float32 risk ≥ 0 in noise units, and a record of plain JSON values.

    Parameters
    ----------
    output : (X, Y, Z) one contrast of any method, arbitrary units
    stacks : the acquisitions of that contrast
    tissue : (3, X, Y, Z) posteriors of CSF, GM, WM, in [0, 1]
    mask : (X, Y, Z) bool, brain
    grid : of the four arrays

    ``R = |F(output) − x| / (σ + 0.02 · scale)``, per stack; F multiplies each tissue by a gain fitted
    to that stack (bounded least squares), then applies the stack's profile and sampling, no noise. |·| is
    interpolated linearly to the grid (not by the adjoint, which would blur by the profile once more), averaged over the
    stacks that see the voxel, smoothed by 3 mm inside the brain. Zero outside the brain; NaN where no stack saw it.
    """
    if not stacks:
        message = "a risk map needs at least one acquired stack of its contrast, found none: leave the map out"
        raise InputError(message, code="no-scans")
    if not mask.any() or not np.isfinite(output[mask]).all():
        message = "a risk map needs a brain mask and a finite output in it, found none or NaN: check the output"
        raise InputError(message, code="no-mask")
    box = box_of(mask, [math.ceil(MARGIN_MM / zoom) for zoom in grid.zooms])
    small = grid.cut(box)
    inside = np.asarray(mask, dtype=bool)[box]
    parts = _tissue_parts(output[box], tissue[(slice(None), *box)])
    frame = Frame(small)
    spectra = [frame.spectrum(part) for part in parts]
    fits = []
    for stack in stacks:
        where = resample(inside, small.affine, Grid(stack.affine, stack.data.shape), order=1) > 0.5
        if where.any():
            fits.append(_fit_stack(stack, Acquisition.of(stack, small, where, frame), spectra, where))
    if not fits:
        return np.where(mask, np.float32(np.nan), np.float32(0)), dict(_UNSEEN)
    risk = np.zeros(grid.shape, dtype=np.float32)
    risk[box] = _combine(fits, small, inside)
    return risk, _record(risk[mask], fits)


def _tissue_parts(output: np.ndarray, tissue: np.ndarray) -> list[np.ndarray]:
    """Four (X, Y, Z) images whose sum is the output: background, CSF, GM, WM."""
    background = np.clip(1 - tissue.sum(axis=0), 0, 1)
    return [np.asarray(output * share, dtype=np.float32) for share in (background, *tissue)]


def _fit_stack(stack: Stack, operator: Acquisition, spectra: Sequence[np.ndarray], where: np.ndarray) -> _Fit:
    """The stack's fit: a gain per tissue and an offset by bounded least squares, and what is left."""
    acquired = stack.data[where].astype(np.float64)
    columns = np.stack([operator.measure(spectrum) for spectrum in spectra], axis=1).astype(np.float64)
    scale = float(np.percentile(acquired, SCALE_PERCENTILE))
    gains, offset = fit_gains(columns, acquired, scale)
    error = columns @ np.nan_to_num(gains) + offset - acquired
    unit = stack.sigma + FLOOR * scale
    residual = np.zeros(stack.data.shape, dtype=np.float32)
    residual[where] = np.abs(error) / unit
    limit = band_limit(operator)
    freedom = max(1, error.size - int(np.isfinite(gains).sum()) - 1)
    record = {
        "Stack": stack.name,
        "Gains": {
            name: float(gain) if np.isfinite(gain) else None
            for name, gain in zip(("background", *TISSUES), gains, strict=True)
        },
        "Offset": offset,
        "Sigma": float(stack.sigma),
        "Scale": scale,
        "NoiseUnit": unit,
        "RmsResidual": float(np.sqrt(np.mean(error**2))),
        "RmsRisk": float(np.sqrt(np.mean((error / unit) ** 2))),
        "ReducedChiSquare": float(np.sum((error / stack.sigma) ** 2) / freedom) if stack.sigma > 0 else None,
        "BandLimit": _named_axes(limit),
    }
    return _Fit(residual, where, stack.affine, limit, record)


def fit_gains(columns: np.ndarray, acquired: np.ndarray, scale: float) -> tuple[np.ndarray, float]:
    """((4,) gains of background, CSF, GM, WM, offset): acquired ≈ columns · gains + offset, by bounded least squares.

    ``columns`` (N, 4) the degraded parts of the output; ``acquired`` (N,). A gain lies between a tenth and ten times
    that of the whole brain, the offset within a tenth of ``scale``; NaN for a tissue not there.
    """
    overall = float(acquired.sum() / columns.sum()) if columns.sum() > 0 else 0.0
    if overall <= 0 or scale <= 0:
        raise InputError(
            "output and acquired stack must be positive inside the brain to be compared, found one that is not: "
            "check the images and the mask",
            code="bad-values",
        )
    strength = np.sqrt((columns**2).sum(axis=0))
    present = strength > 1e-6 * strength.max()
    # In units of the whole brain's gain and of the scale, every unknown is of order 1.
    design = np.column_stack([columns[:, present] * (overall / scale), np.ones(acquired.size)])
    low = [GAIN_RANGE[0]] * int(present.sum()) + [-OFFSET_RANGE]
    high = [GAIN_RANGE[1]] * int(present.sum()) + [OFFSET_RANGE]
    # A triangular factor has the same least-squares solution as the thousands of rows it stands for.
    rotation, factor = np.linalg.qr(design)
    solution = lsq_linear(factor, rotation.T @ (acquired / scale), bounds=(low, high), method="bvls").x
    gains = np.full(columns.shape[1], np.nan)
    gains[present] = solution[:-1] * overall
    return gains, float(solution[-1] * scale)


def band_limit(operator: Acquisition) -> np.ndarray:
    """(3,) mm⁻¹: per world axis (R, A, S), the frequency of which the stack keeps half.

    ``m(f) = exp(−(πwf)² / (4 ln 2)) = ½`` at ``f = 2 ln 2 / (πw)``, w the width along the axis.
    """
    affine = operator.geometry.affine
    directions = affine[:3, :3] / np.array(zooms_of(affine))
    width = np.sqrt(((directions * np.array(operator.fwhm)) ** 2).sum(axis=1))
    return 2 * np.log(2) / (np.pi * width)


def _named_axes(values: np.ndarray) -> dict[str, float]:
    return {axis: float(value) for axis, value in zip("xyz", values, strict=True)}


def _combine(fits: Sequence[_Fit], grid: Grid, inside: np.ndarray) -> np.ndarray:
    """(X, Y, Z) float32: the mean of the stacks' residuals where they see the brain, smoothed inside it."""
    total = np.zeros(grid.shape, dtype=np.float32)
    count = np.zeros(grid.shape, dtype=np.float32)
    in_view = np.zeros(grid.shape, dtype=bool)
    for fit in fits:
        in_view |= coverage(fit.where.shape, fit.affine, grid)
        weight = resample(fit.where, fit.affine, grid, order=1)
        value = resample(fit.residual, fit.affine, grid, order=1)
        measured = weight >= LEAST_WEIGHT
        total[measured] += value[measured] / weight[measured]
        count += measured
    measured = (count > 0) & inside
    sd = [SMOOTHING_FWHM / FWHM_PER_SD / zoom for zoom in grid.zooms]
    mean = np.divide(total, count, out=np.zeros_like(total), where=measured)
    blurred = ndimage.gaussian_filter(mean, sd)
    share = ndimage.gaussian_filter(measured.astype(np.float32), sd)
    # A tip of the mask thinner than a slice has no stack voxel of its own and takes its neighbours' risk.
    known = inside & in_view & (share > LEAST_SHARE)
    risk = np.where(inside, np.float32(np.nan), np.float32(0))
    risk[known] = blurred[known] / share[known]
    return risk


_UNSEEN: dict[str, Any] = {
    "Threshold": THRESHOLD,
    "FractionSeen": 0.0,
    "Stacks": [],
    "Warnings": ["no stack saw any of the brain: the risk is unknown"],
}


def _record(values: np.ndarray, fits: Sequence[_Fit]) -> dict[str, Any]:
    best = np.max([fit.limit for fit in fits], axis=0)
    known = values[np.isfinite(values)]
    seen = known.size / values.size
    blind = f"{100 * (1 - seen):.1f} % of the brain was seen by no stack: the risk is unknown there"
    return {
        "NoiseUnitMeaning": "standard deviation of the noise of the stack plus 2 % of its scale",
        "BandLimit": _named_axes(best),
        "BandLimitUnit": "1/mm",
        "BandLimitMeaning": "Along each world axis, the spatial frequency of which the best stack keeps half; the map "
        "says little about finer detail and nothing about detail far beyond it",
        "SmoothingFwhm": SMOOTHING_FWHM,
        "Median": float(np.median(known)),
        "Percentile95": float(np.percentile(known, 95)),
        "Threshold": THRESHOLD,
        "FractionAbove": float(np.mean(known > THRESHOLD)),
        "FractionSeen": float(seen),
        "Stacks": [fit.record for fit in fits],
        "Warnings": [blind] if seen < LEAST_COVERAGE else [],
    }
