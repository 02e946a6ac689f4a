"""High field to low field by physics: contrast, slice profile, sampling, bias field, noise.

Draw → record → apply: ``draw`` takes every random number once into a frozen ``Degradation``; ``degrade`` applies it,
and gives the same bits again whenever it is replayed.
"""

from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np

from ..imaging.contrast import GAP
from ..imaging.grid import Grid
from ..imaging.signal import contrast_factor
from ..imaging.volume import Stack
from ..nn.settings import Checked, setting
from .presets import Preset
from .simulator import Record, Simulator, acquire, jitter, random_motion, resolvable, rows, stack_of
from .source import HighField, mean_of

BIAS_TERMS = tuple(powers for degree in (1, 2) for powers in combinations_with_replacement(range(3), degree))
"""Axes multiplied in each term of the bias field: x, y, z, xx, xy, xz, yy, yz, zz."""


Form = Literal["factor", "curve"]
"""How the contrast changes: ``apply_contrast`` or ``apply_curve``."""


@dataclass(frozen=True)
class PhysicsSettings(Checked):
    """Options of ``physics``; the spread that a network should see in training."""

    motion_mm: float = field(
        default=0.8, metadata=setting("motion between stacks: shift along each axis, mm, SD", least=0, most=20)
    )
    motion_deg: float = field(
        default=0.8, metadata=setting("motion between stacks: turn about each axis, degrees, SD", least=0, most=20)
    )
    bias: float = field(default=0.1, metadata=setting("SD of each coefficient of the log bias field", least=0, most=1))
    snr: float | None = field(
        default=None, metadata=setting("white-matter SNR; 0: no noise (None: the preset's)", least=0)
    )
    snr_jitter: float = field(default=0.2, metadata=setting("lognormal SD of the SNR", least=0, most=2))
    contrast_jitter: float = field(
        default=0.05, metadata=setting("lognormal SD of each tissue's contrast factor", least=0, most=1)
    )
    contrast_back: float = field(
        default=0.0,
        metadata=setting(
            "largest share of the change of contrast that is left out, drawn from 0 to this; 0: always the contrast "
            "that relaxation times give, 1: up to none of the change",
            least=0,
            most=1,
        ),
    )
    fwhm: float = field(
        default=1.0, metadata=setting("width of the profile over the preset's, all axes together", above=0, most=5)
    )
    fwhm_jitter: float = field(
        default=0.05,
        metadata=setting("lognormal SD of the resolution, in plane and through it each by itself", least=0, most=1),
    )
    contrast_form: Form = field(
        default="factor",
        metadata=setting("contrast by a factor per tissue, or by one smooth curve of intensity", "our choice"),
    )


@dataclass(frozen=True)
class Degradation(Record):
    """Everything random about one stack.

    ``factor`` c_k of CSF, GM, WM; ``fwhm`` mm along the voxel axes; ``bias`` one coefficient of the log field per
    ``BIAS_TERMS``; ``snr`` of white matter (0: no noise); ``seed`` of the noise; ``form`` how the contrast changes.
    """

    factor: tuple[float, float, float]
    fwhm: tuple[float, float, float]
    bias: tuple[float, ...]
    snr: float
    seed: int
    form: Form = "factor"


def draw(
    preset: Preset,
    settings: PhysicsSettings,
    generator: np.random.Generator,
    hf_means: np.ndarray | None = None,
    centre: np.ndarray | tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Degradation:
    """One random degradation for a stack of this preset; the head turns about ``centre`` (3,) RAS+ mm.

    ``hf_means`` (3,) tissue means of the high-field image, if known.
    """
    s = settings
    motion = random_motion(generator, s.motion_mm, s.motion_deg, np.array(centre))
    factor = contrast_factor(preset.contrast, hf_means)
    field_terms = tuple(generator.normal(0, s.bias, len(BIAS_TERMS)).tolist())
    seed = int(generator.integers(2**63))
    if s.contrast_back:
        # Between all of the change and none of it on the scale of ratios, so that the order of the tissues is kept.
        factor = np.power(factor, 1 - s.contrast_back * generator.uniform())
    c_csf, c_gm, c_wm = (float(c) * jitter(generator, s.contrast_jitter) for c in factor)
    wide, thick = (s.fwhm * jitter(generator, s.fwhm_jitter) for _ in range(2))
    x, y, z = preset.fwhm
    width = (x * wide, y * wide, z * thick)
    level = (preset.snr if s.snr is None else s.snr) * jitter(generator, s.snr_jitter)
    factors = (c_csf, c_gm, c_wm)
    return Degradation(
        preset.contrast, preset.plane, rows(motion), factors, width, field_terms, level, seed, s.contrast_form
    )


def degrade(image: np.ndarray, tissue: np.ndarray, grid: Grid, geometry: Grid, record: Degradation) -> Stack:
    """The stack that a low-field scanner would acquire, truly aligned.

    Parameters
    ----------
    image : (X, Y, Z) high field, ≥ 0, arbitrary units
    tissue : (3, X, Y, Z) posteriors of CSF, GM, WM in [0, 1]
    grid : the grid of both, in head mm
    geometry : the stack's voxels in its scanner, as ``presets.stack_geometry`` gives them
    record : what ``draw`` drew

    ``data`` holds bias field and Rician noise; ``sigma`` is the noise of one channel.
    """
    change = apply_curve if record.form == "curve" else apply_contrast
    low = change(image, tissue, np.array(record.factor))
    clean = acquire(low, grid, geometry, record.fwhm, record)
    sigma = mean_of(low, tissue[2]) / record.snr if record.snr else 0.0
    field = bias_field(geometry.shape, record.bias)
    data = add_rician(np.maximum(clean, 0) * field, sigma, np.random.default_rng(record.seed))
    return stack_of(data, geometry, record.fwhm, sigma, record)


def apply_contrast(image: np.ndarray, tissue: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """(X, Y, Z) float32: the image times Σ c_k P_k, where what is no tissue has factor 1."""
    gain = 1 + np.tensordot(np.asarray(factor, dtype=np.float32) - 1, tissue, axes=1)
    return (image * gain).astype(np.float32)


def apply_curve(image: np.ndarray, tissue: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """(X, Y, Z) float32 ≥ 0: every intensity by one smooth curve through 0 and each tissue's mean × c_k.

    Where the contrast keeps the order of the tissues the curve rises throughout (monotone cubic, Fritsch and Carlson
    1980), so that partial volume stays between its tissues and a lesion as bright as it was, whatever the posteriors
    say; a factor per tissue (``apply_contrast``) leaves a step wherever they change. Above the brightest tissue it
    goes on as it came, to twice its mean.
    """
    from scipy.interpolate import PchipInterpolator

    means = np.array([mean_of(image, posterior) for posterior in tissue])
    order = np.argsort(means)
    ends, levels = means[order], (means * factor)[order]
    kept = np.diff(ends, prepend=0.0) > GAP * ends[-1]
    ends, levels = np.append(0.0, ends[kept]), np.append(0.0, levels[kept])
    slope = max(0.0, (levels[-1] - levels[-2]) / (ends[-1] - ends[-2]))
    ends, levels = np.append(ends, 2 * ends[-1]), np.append(levels, levels[-1] + slope * ends[-1])
    table = np.linspace(0, ends[-1], 1024)
    return np.interp(image, table, np.maximum(PchipInterpolator(ends, levels)(table), 0)).astype(np.float32)


def level_outside(image: np.ndarray, tissue: np.ndarray, factor: tuple[float, float, float]) -> np.ndarray:
    """(X, Y, Z) float32: what is no tissue times c_WM, so that skull and fat keep their brightness against the brain.

    For an image with its skull; ``apply_contrast`` leaves all that is no tissue as it is.
    """
    outside = 1 - tissue.sum(axis=0)
    return image * (1 + np.float32(factor[2] - 1) * outside)


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


def _draw(source: HighField, preset: Preset, settings: PhysicsSettings, generator: np.random.Generator) -> Degradation:
    """One random degradation of this subject: the contrast factors start from its own tissue means."""
    centre = source.grid.corners().mean(axis=0)
    record = draw(preset.on(source.grid), settings, generator, source.tissue_means(), centre)
    return replace(record, fwhm=resolvable(record.fwhm, source.grid))


def _apply(source: HighField, geometry: Grid, record: Degradation) -> Stack:
    """The stack of a record, skull and scalp as bright against white matter as they were."""
    image = source.image
    if record.form == "factor":
        image = level_outside(image, source.tissue, record.factor)
    return degrade(image, source.tissue, source.grid, geometry, record)


SIMULATOR = Simulator("physics", PhysicsSettings, Degradation, _draw, _apply, shared=("factor",))
