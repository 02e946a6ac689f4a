"""One draw of ``inr`` from end to end: fit, evaluate on the grid, restore the contrast, check, blend."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from ...config import CONTRASTS, TISSUES
from ...errors import InputError
from ...imaging.acquisition import Frame
from ...imaging.contrast import SMOOTH_MM, fit_contrast, kept_contrast, restoring_gain
from ...imaging.field_of_view import seen_in
from ...imaging.grid import apply_affine
from ...imaging.volume import Volume
from ...nn.method import Draw, Prepared
from .fit import fit, render
from .observations import (
    Coordinates,
    Observations,
    acquisition_of,
    fused_base,
    observe,
    scales_of,
    sorted_stacks,
    support_of,
    voxels_in,
)
from .settings import InrSettings, parse_contrast

CHI2 = (0.8, 1.3)
"""Reduced χ² of a fit that explains the scan and not its noise."""

BLEND_MM = 1.5
"""SD of the smooth transition from the network to the fused image at the edge of the mask."""


@dataclass(frozen=True, eq=False)
class InrPrepared(Prepared[InrSettings]):
    """What the draws share.

    ``base`` (C, X, Y, Z) the fused images of the contrasts present and ``scales`` (C,) their units; ``support``
    (X, Y, Z) bool, where the network is fitted; ``seen`` the low-field voxels; ``tissue`` (3, X, Y, Z).
    """

    base: np.ndarray
    scales: np.ndarray
    support: np.ndarray
    seen: Observations
    tissue: np.ndarray


def prepare(volume: Volume, settings: InrSettings) -> InrPrepared:
    """The session as observations, and the image that the network corrects; raise InputError without stacks."""
    without = [name for name in volume.contrasts if not volume.stacks_of(name)]
    if without:
        raise InputError(
            f"Expected the stacks behind every contrast, found none for {', '.join(without)}; inr fits acquisitions, "
            "use interp for images that were already fused."
        )
    support = support_of(volume)
    if not support.any():
        raise InputError(
            "Expected a brain in the session, found an empty brain mask, or scans of zeros alone; check the scans, or "
            "use interp."
        )
    scales = scales_of(volume, support)
    base = fused_base(volume, settings.base, support)
    tissue = volume.tissue if volume.tissue is not None else np.zeros((len(TISSUES), *volume.grid.shape), np.float32)
    seen = observe(volume, base, scales, tissue, support)
    unseen = [name for number, name in enumerate(volume.contrasts) if number not in seen.contrast]
    if unseen:
        raise InputError(
            f"Expected voxels of every contrast in the brain, found none of {', '.join(unseen)}; check how these scans "
            "are aligned with the others."
        )
    return InrPrepared(volume, settings, base, scales, support, seen, tissue)


def sample(prepared: InrPrepared, generator: np.random.Generator) -> Draw:
    """One draw: a fit from a seed of its own, on the grid."""
    volume, settings, support = prepared.volume, prepared.settings, prepared.support
    coordinates = Coordinates.of(volume.grid)
    with torch.random.fork_rng(devices=[]):
        network, fitted = fit(prepared.seen, settings, generator, 1 / coordinates.half)
        inside = np.argwhere(support)
        points = coordinates(apply_affine(volume.grid.affine, inside))
        intensity, posterior = render(network, points, settings)
    signal = prepared.base.copy()
    signal[:, support] += intensity * prepared.scales[:, None]
    np.maximum(signal, 0, out=signal)
    chi2 = _chi2(volume, signal)
    tissue = prepared.tissue
    if settings.base == "none" and settings.seg and volume.tissue is not None:
        tissue = np.zeros_like(tissue)
        tissue[:, support] = posterior
    vectors, warnings = vectors_of(volume, signal, tissue, settings)
    image = _restored(volume, signal, tissue, support, vectors, settings)
    record = {
        **fitted,
        "contrast_vector": {name: vector.tolist() for name, vector in vectors.items()},
        "contrast_power": settings.restore,
        "reduced_chi2": chi2,
        "outside": "the fused low field, blended over the edge of the mask",
        "nfe": 1,
        "warnings": [*fitted["warnings"], *warnings, *_fit_warnings(chi2)],
    }
    return Draw(image, record)


def vectors_of(
    volume: Volume, signal: np.ndarray, tissue: np.ndarray, settings: InrSettings
) -> tuple[dict[str, np.ndarray], list[str]]:
    """({contrast: (3,) c}, warnings) of the fitted ``signal`` (C, X, Y, Z), one channel per contrast present."""
    flat = {name: np.ones(len(TISSUES)) for name in volume.contrasts}
    if settings.contrast == "none":
        return flat, []
    if volume.tissue is None or volume.mask is None:
        return flat, ["the low-field contrast was kept: the volume came without brain mask and tissue"]
    vectors, warnings = flat, []
    for channel, name in enumerate(volume.contrasts):
        if settings.contrast == "auto":
            sigma = float(np.median([stack.sigma for stack in volume.stacks_of(name)]))
            vectors[name], doubts = fit_contrast(name, signal[channel], tissue, volume.mask, sigma)
        elif not (doubts := kept_contrast(name, signal[channel], tissue, volume.mask)):
            vectors[name] = parse_contrast(settings.contrast)
        warnings += doubts
    if settings.contrast != "auto" and len(vectors) > 1:
        warnings += [f"one contrast vector, {settings.contrast}, was used for {', '.join(vectors)}, which differ"]
    return vectors, warnings


def _restored(
    volume: Volume,
    signal: np.ndarray,
    tissue: np.ndarray,
    support: np.ndarray,
    vectors: Mapping[str, np.ndarray],
    settings: InrSettings,
) -> np.ndarray:
    """(C, X, Y, Z) high-field contrast inside the mask, blended into the fused image outside.

    Where no scan of a contrast saw anything the fused image stands, which is zero there.
    """
    zoom = min(volume.grid.zooms)
    inside = volume.mask if volume.mask is not None else support
    weight = ndimage.gaussian_filter(inside.astype(np.float32), BLEND_MM / zoom) * support
    image = volume.image.copy()
    for channel, name in enumerate(volume.contrasts):
        power = vectors[name] ** settings.restore
        gain = restoring_gain(name, power, signal[channel], tissue, SMOOTH_MM / zoom)
        index = CONTRASTS.index(name)
        image[index] += weight * seen_in(volume, name) * (signal[channel] * gain - image[index])
    return image


def _chi2(volume: Volume, signal: np.ndarray) -> dict[str, float]:
    """{stack: reduced χ²} of the unrestored image against what was acquired inside the mask."""
    frame, chi2 = Frame(volume.grid), {}
    spectra = [frame.spectrum(channel) for channel in signal]
    inside = volume.mask if volume.mask is not None else support_of(volume)
    for stack in sorted_stacks(volume):
        # Deep inside only: near the edge the slice profile reaches beyond what was fitted.
        deep = ndimage.binary_erosion(inside, iterations=3) if volume.mask is not None else inside
        _, where = voxels_in(stack, volume.grid, deep)
        if not where.any() or stack.sigma <= 0:
            continue
        predicted = acquisition_of(stack, frame, where).measure(spectra[volume.contrasts.index(stack.contrast)])
        chi2[stack.name] = float(np.mean(((predicted - stack.data[where]) / stack.sigma) ** 2))
    return chi2


def _fit_warnings(chi2: Mapping[str, float]) -> list[str]:
    low, high = CHI2
    return [
        f"{name}: reduced χ² {value:.2f} is outside {low}–{high}, the fit "
        + ("leaves more than noise unexplained" if value > high else "follows the noise")
        for name, value in chi2.items()
        if not low <= value <= high
    ]
