"""Stochastic image quality transfer (Lin et al.): SNRs of white and grey matter decide the contrast.

One draw per subject and contrast from the joint distribution of the two SNRs, kept if it is not too far out; grey
matter is brightened or dimmed until its SNR is the one drawn; thick slices; noise on the slices' own voxels.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..errors import InputError
from ..imaging.grid import Grid
from ..imaging.volume import Stack
from ..nn.settings import Checked, setting
from .physics import add_rician
from .presets import Preset, tissue_snr
from .simulator import Record, Simulator, Width, acquire, random_motion, resolvable, rows, stack_of
from .source import HighField, mean_of

TRIES = 10_000
"""Most draws before ``d_max`` is taken to let none through."""


@dataclass(frozen=True)
class IqtSettings(Checked):
    """Options of ``iqt``."""

    d_max: float = field(default=2.0, metadata=setting("largest Mahalanobis distance of the SNRs drawn", above=0))
    fix: Literal["auto", "WM", "GM"] = field(
        default="auto",
        metadata=setting(
            "tissue that keeps its intensity and sets the noise; auto: GM for FLAIR, else WM", "Lin et al."
        ),
    )
    rician: bool = field(
        default=False, metadata=setting("magnitude of complex noise; off: white Gaussian", "Lin et al.")
    )
    motion_mm: float = field(
        default=0.0, metadata=setting("motion between stacks: shift along each axis, mm, SD", least=0, most=20)
    )
    motion_deg: float = field(
        default=0.0, metadata=setting("motion between stacks: turn about each axis, degrees, SD", least=0, most=20)
    )


@dataclass(frozen=True)
class IqtRecord(Record):
    """Everything random about one stack.

    ``snr`` of WM and GM on the stack's voxels; ``fix`` the tissue that keeps its intensity; ``fwhm`` mm along the voxel
    axes; ``rician`` or Gaussian noise; ``seed`` of it.
    """

    snr: tuple[float, float]
    fix: str
    fwhm: Width
    rician: bool
    seed: int


def draw_snr(
    mean: np.ndarray, covariance: np.ndarray, d_max: float, ordered: bool, generator: np.random.Generator
) -> tuple[float, float]:
    """SNR of WM and GM, > 0: normal, within ``d_max`` Mahalanobis distances, WM above GM if ``ordered``."""
    factor = np.linalg.cholesky(covariance)
    for _ in range(TRIES):
        unit = generator.standard_normal(2)
        white, grey = (mean + factor @ unit).tolist()
        # The Mahalanobis distance of a draw is the length of the unit normal behind it.
        if np.linalg.norm(unit) <= d_max and min(white, grey) > 0 and (white > grey or not ordered):
            return white, grey
    raise InputError(
        f"Expected a d_max that lets SNRs of about {mean.round(1).tolist()} through, found {d_max:g}; raise it."
    )


def modulate(source: HighField, snr: tuple[float, float], fix: str) -> tuple[np.ndarray, float]:
    """The image (X, Y, Z) float32 with grey or white matter rescaled, zero where there is no tissue; and the noise σ.

    I′ = I (P_CSF + P_GM g + P_WM w), where the tissue named by ``fix`` has factor 1 and σ = its mean / its SNR.
    """
    means = [mean_of(source.image, source.tissue[tissue]) for tissue in (2, 1)]
    fixed = ("WM", "GM").index(fix)
    if min(means) <= 0:
        raise InputError("Expected white and grey matter brighter than 0, found none; check the tissue maps.")
    sigma = means[fixed] / snr[fixed]
    white, grey = (1.0 if other == fixed else snr[other] * sigma / means[other] for other in range(2))
    gain = np.tensordot(np.array([1.0, grey, white], np.float32), source.tissue, axes=1)
    return (source.image * gain).astype(np.float32), sigma


def _draw(source: HighField, preset: Preset, settings: IqtSettings, generator: np.random.Generator) -> IqtRecord:
    mean, covariance = tissue_snr(preset)
    snr = draw_snr(mean, covariance, settings.d_max, preset.contrast == "T1w", generator)
    centre = source.grid.corners().mean(axis=0)
    motion = random_motion(generator, settings.motion_mm, settings.motion_deg, centre)
    fix = settings.fix if settings.fix != "auto" else "GM" if preset.contrast == "FLAIR" else "WM"
    fwhm = resolvable(preset.on(source.grid).fwhm, source.grid)
    seed = int(generator.integers(2**63))
    return IqtRecord(preset.contrast, preset.plane, rows(motion), snr, fix, fwhm, settings.rician, seed)


def _apply(source: HighField, geometry: Grid, record: IqtRecord) -> Stack:
    image, sigma = modulate(source, record.snr, record.fix)
    clean = acquire(image, source.grid, geometry, record.fwhm, record)
    generator = np.random.default_rng(record.seed)
    if record.rician:
        data = add_rician(np.maximum(clean, 0), sigma, generator)
    else:
        data = clean + np.float32(sigma) * generator.standard_normal(clean.shape, dtype=np.float32)
    return stack_of(data, geometry, record.fwhm, sigma, record)


SIMULATOR = Simulator("iqt", IqtSettings, IqtRecord, _draw, _apply, shared=("snr",))
