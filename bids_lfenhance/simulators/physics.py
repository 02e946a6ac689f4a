"""High field to low field by physics (methods.md §3.1-3.2): contrast, slice profile, sampling, bias field, noise.

Draw → record → apply: ``draw`` takes every random number once into a frozen ``Degradation``; ``degrade`` applies it,
and gives the same bits again whenever it is replayed.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement

import numpy as np

from ..config import TISSUES
from ..errors import MethodError
from ..imaging.acquisition import Acquisition
from ..imaging.grid import Grid
from ..imaging.volume import Stack
from .presets import Preset, contrast_factor

ORDER: Mapping[str, tuple[str, str, str]] = {
    "T1w": ("WM", "GM", "CSF"),
    "T2w": ("CSF", "GM", "WM"),
    "FLAIR": ("GM", "WM", "CSF"),
}
"""Tissues of each contrast from bright to dark."""

FACTOR_BOUNDS = (0.1, 1.0)
"""Allowed contrast factors c_k (methods.md §3.1)."""

PURE = 0.9
"""Posterior from which a voxel counts as pure tissue."""

BIAS_TERMS = tuple(powers for degree in (1, 2) for powers in combinations_with_replacement(range(3), degree))
"""Axes multiplied in each term of the bias field: x, y, z, xx, xy, xz, yy, yz, zz."""


@dataclass(frozen=True)
class Degradation:
    """Everything random about one stack, as plain JSON values.

    ``factor`` c_k of CSF, GM, WM; ``fwhm`` mm along the voxel axes; ``motion`` (4, 4) rows, scanner RAS+ mm → head
    RAS+ mm; ``bias`` one coefficient of the log field per ``BIAS_TERMS``; ``snr`` of white matter (0: no noise);
    ``seed`` of the noise.
    """

    contrast: str
    plane: str
    factor: tuple[float, float, float]
    fwhm: tuple[float, float, float]
    motion: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]
    snr: float
    seed: int

    def to_json(self) -> str:
        """The record as one JSON object; floats keep every bit."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Degradation":
        """The record that ``to_json`` wrote."""
        entry = json.loads(text)
        for key in ("factor", "fwhm", "bias"):
            entry[key] = tuple(entry[key])
        return cls(**entry | {"motion": tuple(tuple(row) for row in entry["motion"])})


def draw(
    preset: Preset,
    generator: np.random.Generator,
    *,
    hf_means: np.ndarray | None = None,
    motion_mm: float = 2.0,
    motion_deg: float = 2.0,
    bias: float = 0.1,
) -> Degradation:
    """One random degradation for a stack of this preset.

    ``motion_mm``, ``motion_deg`` are standard deviations of each shift and rotation about the scanner's origin;
    ``bias`` is that of each coefficient of the log field; ``hf_means`` (3,) tissue means of the high-field image, if
    known.
    """
    from scipy.spatial.transform import Rotation

    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(generator.normal(0, motion_deg, 3), degrees=True).as_matrix()
    motion[:3, 3] = generator.normal(0, motion_mm, 3)
    c_csf, c_gm, c_wm = (float(c) for c in contrast_factor(preset.contrast, hf_means))
    return Degradation(
        contrast=preset.contrast,
        plane=preset.plane,
        factor=(c_csf, c_gm, c_wm),
        fwhm=preset.fwhm,
        motion=tuple(tuple(row) for row in motion.tolist()),
        bias=tuple(generator.normal(0, bias, len(BIAS_TERMS)).tolist()),
        snr=preset.snr,
        seed=int(generator.integers(2**63)),
    )


def degrade(image: np.ndarray, tissue: np.ndarray, grid: Grid, geometry: Grid, record: Degradation) -> Stack:
    """The stack that a low-field scanner would acquire, truly aligned (methods.md §3.2).

    Parameters
    ----------
    image : (X, Y, Z) high field, ≥ 0, arbitrary units
    tissue : (3, X, Y, Z) posteriors of CSF, GM, WM in [0, 1]
    grid : the grid of both, in head mm
    geometry : the stack's voxels in its scanner, as ``presets.stack_geometry`` gives them
    record : what ``draw`` drew

    ``data`` holds bias field and Rician noise; ``sigma`` is the noise of one channel.
    """
    low = apply_contrast(image, tissue, np.array(record.factor))
    affine = np.array(record.motion) @ geometry.affine
    clean = Acquisition(Grid(affine, geometry.shape), record.fwhm, grid).forward(low)
    sigma = float(low[tissue[2] > PURE].mean()) / record.snr if record.snr else 0.0
    field = bias_field(geometry.shape, record.bias)
    data = add_rician(np.maximum(clean, 0) * field, sigma, np.random.default_rng(record.seed))
    name = f"acq-{record.plane}_{record.contrast}"
    return Stack(name, record.contrast, data, affine, geometry.affine, record.fwhm, sigma)


def apply_contrast(image: np.ndarray, tissue: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """(X, Y, Z) float32: the image times Σ c_k P_k, where what is no tissue has factor 1."""
    gain = 1 + np.tensordot(np.asarray(factor, dtype=np.float32) - 1, tissue, axes=1)
    return (image * gain).astype(np.float32)


def bias_field(shape: tuple[int, int, int], coefficients: tuple[float, ...]) -> np.ndarray:
    """(I, J, K) float32, positive, geometric mean about 1: exp of a quadratic over [−1, 1]³."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    log = np.zeros(shape)
    for weight, powers in zip(coefficients, BIAS_TERMS, strict=True):
        term = np.ones((1, 1, 1))
        for axis in powers:
            term = term * axes[axis]
        log += weight * (term - 1 / 3 if powers in {(0, 0), (1, 1), (2, 2)} else term)
    return np.exp(log).astype(np.float32)


def add_rician(signal: np.ndarray, sigma: float, generator: np.random.Generator) -> np.ndarray:
    """(I, J, K) float32: magnitude of the signal with normal noise of SD ``sigma`` in either channel."""
    real, imaginary = generator.standard_normal((2, *signal.shape), dtype=np.float32) * np.float32(sigma)
    return np.hypot(signal + real, imaginary).astype(np.float32)


def contrast_vector(
    hf_means: np.ndarray,
    lf_means: np.ndarray,
    lf_sigma: float,
    contrast: str,
    prior: np.ndarray | None = None,
) -> np.ndarray:
    """(3,) c_k of CSF, GM, WM by bounded least squares (methods.md §3.1).

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


def check_order(means: np.ndarray, contrast: str) -> None:
    """Nothing, or ``MethodError`` if the tissue means (3,) are not in the contrast's order of brightness."""
    bright_to_dark = [float(means[TISSUES.index(tissue)]) for tissue in ORDER[contrast]]
    if sorted(bright_to_dark, reverse=True) != bright_to_dark:
        found = ", ".join(f"{tissue} {mean:.3g}" for tissue, mean in zip(TISSUES, means, strict=True))
        expected = " > ".join(ORDER[contrast])
        raise MethodError(f"a {contrast} scan should have {expected}, found {found}; check contrast and brain mask")
