"""Protocols: how the two images are brought to one scale before anything is measured (docs/methods/metrics.md).

The same image scores 19 to 26 dB under different protocols, so no figure is ever given without the name of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from ..errors import InputError
from ..imaging.grid import Box, box_of

PRIMARY = "brain-fit"
"""The primary protocol (docs/metrics.md)."""

Window = Literal["gaussian", "uniform"]

CEILING_PERCENTILE = 99.9
"""The brightest thousandth of the brain (vessels, fat left in the mask) does not set the scale."""

CEILING_CLIP = 1.05
"""``slice2d``: intensities above this share of the ceiling are cut."""


class LinearScaling(NamedTuple):
    """``value · gain + offset``: what a protocol does to the intensities of one image."""

    gain: float
    offset: float = 0.0

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The rescaled values, float32."""
        return values * np.float32(self.gain) + np.float32(self.offset)


@dataclass(frozen=True)
class Pair:
    """An image, its reference and the brain, all (X, Y, Z) on one grid; intensities in arbitrary units.

    Use ``make_pair``, which checks them.
    """

    image: np.ndarray
    reference: np.ndarray
    mask: np.ndarray

    @cached_property
    def brain(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) float32 twice: image and reference inside the brain."""
        return self.image[self.mask], self.reference[self.mask]

    @cached_property
    def reference_max(self) -> float:
        """The largest intensity of the reference, anywhere."""
        return float(self.reference.max())

    def box(self, margin: int) -> Box:
        """The slices of the brain's bounding box, ``margin`` voxels wider on every side where there is room."""
        return box_of(self.mask, margin)


def make_pair(image: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> Pair:
    """The pair, float32 and bool, or an ``InputError`` that says why the two cannot be compared."""
    image, reference = (np.asarray(data, dtype=np.float32) for data in (image, reference))
    mask = np.asarray(mask, dtype=bool)
    if image.ndim != 3 or not image.shape == reference.shape == mask.shape:
        shapes = f"{image.shape}, {reference.shape} and {mask.shape}"
        raise InputError(
            f"image, reference and mask must share one 3D grid, found {shapes}: resample them first", code="other-grid"
        )
    if not mask.any():
        message = "a brain mask with at least one voxel is needed to compare images, found none: check the mask"
        raise InputError(message, code="no-mask")
    for name, data in (("image", image), ("reference", reference)):
        if not np.isfinite(data).all():
            message = f"the {name} must be finite to be measured, found NaN or infinity: repair it first"
            raise InputError(message, code="bad-values", image=name)
        if np.ptp(data[mask]) <= 0 or data[mask].max() <= 0:
            message = f"the {name} must vary and be positive inside the brain, found it empty or flat: leave it out"
            raise InputError(message, code="bad-values", image=name)
    return Pair(image, reference, mask)


class Scales(NamedTuple):
    """One line for the image, one for the reference; after them the data range is 1."""

    image: LinearScaling
    reference: LinearScaling


def by_target_max(pair: Pair) -> Scales:
    """Both divided by the largest intensity of the reference (no per-image rescaling)."""
    line = LinearScaling(1 / pair.reference_max)
    return Scales(line, line)


def by_brain_fit(pair: Pair) -> Scales:
    """Least-squares gain and offset on the image inside the brain; 1 = the 99.9th percentile of the reference brain."""
    image, reference = (values.astype(np.float64) for values in pair.brain)
    centred = image - image.mean()
    gain = float(centred @ (reference - reference.mean()) / (centred @ centred))
    offset = float(reference.mean() - gain * image.mean())
    ceiling = float(np.percentile(reference, CEILING_PERCENTILE))
    return Scales(LinearScaling(gain / ceiling, offset / ceiling), LinearScaling(1 / ceiling))


def by_own_max(pair: Pair) -> Scales:
    """Each divided by its own largest intensity inside the brain (H2LO, after skull stripping)."""
    image, reference = pair.brain
    return Scales(LinearScaling(1 / float(image.max())), LinearScaling(1 / float(reference.max())))


def by_own_range(pair: Pair) -> Scales:
    """Each from its own minimum to its own maximum over the whole volume (ULF-EnC)."""
    lines = []
    for data in (pair.image, pair.reference):
        low, high = float(data.min()), float(data.max())
        lines.append(LinearScaling(1 / (high - low), -low / (high - low)))
    return Scales(*lines)


def by_own_ceiling(pair: Pair) -> Scales:
    """Each divided by the 99.9th percentile of its own brain (on [0, 1])."""
    image, reference = (LinearScaling(1 / max(float(np.percentile(v, CEILING_PERCENTILE)), 1e-12)) for v in pair.brain)
    return Scales(image, reference)


@dataclass(frozen=True)
class Protocol:
    """One way of comparing two images.

    ``scale`` gives the lines that bring both to range 1; ``regions`` and ``metrics``: what is reported; ``description``
    for the data dictionary; ``strip``: what lies outside the brain is then set to zero; ``window`` of SSIM, "gaussian"
    (σ 1.5, 11³) or "uniform" (7³); ``crop``: half a window at the border of the field is no part of its mean;
    ``nmse_limit``: the largest NMSE reported.
    """

    scale: Callable[[Pair], Scales]
    regions: tuple[str, ...]
    metrics: tuple[str, ...]
    description: str
    strip: bool = False
    window: Window = "gaussian"
    crop: bool = True
    nmse_limit: float = float("inf")


INTENSITY = ("psnr", "ssim", "mae", "nmse", "ncc")
HISTOGRAM = ("wass", "hncc", "bhat", "js")
SHARPNESS = ("spectrum", "edge_f1")

PROTOCOLS: Mapping[str, Protocol] = {
    "brain-fit": Protocol(
        by_brain_fit,
        ("brain",),
        INTENSITY + HISTOGRAM + SHARPNESS,
        "Inside the brain, after the least-squares gain and offset of the image to the reference; data range = 99.9th "
        "percentile of the reference brain. The primary protocol: blind to units, not to contrast.",
    ),
    "max": Protocol(
        by_target_max,
        ("brain", "field"),
        INTENSITY + HISTOGRAM + SHARPNESS,
        "Both divided by the reference's maximum (whole volume), nothing else; data range 1. Only fair where both "
        "images share their units.",
    ),
    "h2lo": Protocol(
        by_own_max,
        ("field",),
        INTENSITY + HISTOGRAM,
        "As H2LO's tables: skull-stripped, each divided by its own maximum, whole volume. The zeros outside the brain "
        "count and raise PSNR and SSIM with the size of the field (see metric 'empty').",
        strip=True,
    ),
    "ulfenc-val": Protocol(
        by_own_range,
        ("field",),
        ("psnr", "ssim", "mae", "nmse"),
        "As the validation script of the ULF-EnC challenge: each from its own minimum to its own maximum over the "
        "whole volume, SSIM with a uniform 7×7×7 window. Air counts (see metric 'empty').",
        window="uniform",
    ),
    "ulfenc-final": Protocol(
        by_own_range,
        ("brain",),
        ("psnr_voxel", "ssim", "mae", "nmse"),
        "As the final ranking of the ULF-EnC challenge: min–max over the whole volume, then masked; the mean over the "
        "brain of a PSNR per voxel (not the PSNR of the brain), SSIM with a uniform 7×7×7 window, NMSE at most 1.",
        strip=True,
        window="uniform",
        crop=False,
        nmse_limit=1.0,
    ),
    "slice2d": Protocol(
        by_own_ceiling,
        ("field",),
        ("psnr", "ssim", "lpips"),
        "Mean over the axial slices that are at least 1 % brain, as CSS-Diff's tables; each image divided by the "
        "99.9th percentile of its own brain and cut at 0 and 1.05 (our reading: the paper states no scale).",
    ),
}
"""Name → protocol, in the order of the tables."""
