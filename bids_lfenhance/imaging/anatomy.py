"""Brain mask and tissue priors of an image of any contrast and field strength, with its skull or without."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from threadpoolctl import threadpool_limits

from .field_of_view import (
    BELOW,
    HEAD_ON_FACE_CM2,
    WHOLE,
    expected_brain,
    field_of_scan,
    on_faces,
    seen_in,
    share_within,
)
from .grid import Grid, box_of, coverage, resample
from .guess import contrast_warnings
from .morphology import close, dilate, fill_holes, largest, open_
from .template import FULL, ROUGH, Effort, HeadTemplate, explained, fit_affine, gains, load_head_template, shell_weight
from .tissue import moments, responsibilities, without_removed
from .volume import Volume
from .warp import Warp, deform, thinned

VOLUME_ML = (600.0, 2200.0)
"""Brain volumes (CSF of the sulci included) outside this range are warned about."""

CORRELATION = 0.5
"""Tissue maps that correlate less than this with the scan inside the brain are warned about."""

SURFACE_MM = 1.5
"""How far outside the template's mask the brain is expected to end: that mask hugs the cortex, without its CSF."""

CSF_REACH_MM = 3.0
"""CSF within this distance of tissue counts as brain: that of sulci and cisterns, not that over an atrophied brain."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The brain on a grid.

    ``mask`` (X, Y, Z) bool; ``priors`` (3, X, Y, Z) float32 in [0, 1], CSF/GM/WM carried over from MNI152;
    ``quality`` MaskVolumeMl, TemplateCorrelation, SkullStripped, Warnings, and Turned ("upside down") of a head that
    fits the template better mirrored; ``warp`` subject → template space; ``expected`` (N, 3) points, RAS+ mm, where
    the template has brain, in the field of view or not.
    """

    mask: np.ndarray
    priors: np.ndarray
    quality: dict[str, Any]
    warp: Warp
    expected: np.ndarray


COARSE = 4
"""Step, in voxels, of the coarse grid on which the bounding box of the brain is found."""

UNSURE = 0.65
"""Correlation with the template below which mirrored versions of the head are tried too."""

BETTER = 0.1
"""A mirrored head is reported if the template explains this much more of its variance (a share)."""


@threadpool_limits.wrap(limits=1)  # sums of several threads differ in the last digits
def find_anatomy(
    channel: np.ndarray,
    grid: Grid,
    contrast: str,
    *,
    seen: np.ndarray | None = None,
    effort: Effort = FULL,
) -> Anatomy:
    """The brain mask, tissue priors and quality of an image, with skull or without, of any contrast.

    Parameters
    ----------
    channel : (X, Y, Z) image on ``grid``, bias-corrected, arbitrary units
    grid : RAS+ grid, about 1 mm
    contrast : named in warnings; the gains of the tissues are measured, not assumed
    seen : (X, Y, Z) bool, the field of view; None: all of the grid. A head that its faces cut is compared with the
        template only inside it, and nothing beyond it counts as brain
    effort : how thoroughly the template is registered
    """
    image = np.nan_to_num(np.asarray(channel, np.float32))
    template = load_head_template()
    seen = seen if seen is not None and _is_cut(image, seen, grid) else None
    affine, fit = fit_affine(image, grid, template, seen, effort=effort)
    warp = fit_warp(image, grid, template, affine, effort=effort, seen=seen)
    carried = _carried(warp, np.concatenate([template.maps[:3], template.brain[None]]), template.grid.affine, grid)
    priors, brain = carried[:3], carried[3] > 0.5
    if seen is not None:
        brain &= seen
    mask, stripped = extract_brain(image, brain, priors, grid)
    if seen is not None:
        mask &= seen
    quality: dict[str, Any] = {
        "MaskVolumeMl": round(float(mask.sum()) * grid.voxel_volume / 1000, 1),
        "TemplateCorrelation": round(_correlation(image, brain, priors), 3),
        "SkullStripped": stripped,
    }
    quality["Warnings"] = _warnings(quality, contrast) + contrast_warnings(image, priors, mask, contrast)
    if quality["TemplateCorrelation"] < UNSURE and (turned := flipped_orientation(image, grid, template, fit, effort)):
        quality["Turned"] = turned
        quality["Warnings"].append(
            f"The {contrast} fits the template better {turned}: check orientation, in the image and in its header."
        )
    return Anatomy(mask, priors, quality, warp, expected_brain(template, affine))


def _carried(warp: Warp, maps: np.ndarray, affine: np.ndarray, grid: Grid) -> np.ndarray:
    """(K, X, Y, Z) float32: ``maps`` (K, ...) of the template, the last its whole brain, on the subject's grid.

    As ``Warp.carry``, but computed only in the box that the brain fills.
    """
    x, y, z = (-(-side // COARSE) for side in grid.shape)
    coarse = Grid(grid.affine @ np.diag([COARSE, COARSE, COARSE, 1.0]), (x, y, z))
    box = [
        slice(COARSE * part.start, min(side, COARSE * part.stop))
        for part, side in zip(box_of(warp.carry(maps[-1], affine, coarse) > 0, 1), grid.shape, strict=True)
    ]
    out = np.zeros((len(maps), *grid.shape), np.float32)
    out[:, *box] = warp.carry(maps, affine, grid.cut((box[0], box[1], box[2])))
    return out


def anatomy_of(volume: Volume, qc: Mapping[str, Any], *, sloppy: bool) -> tuple[Anatomy, dict[str, np.ndarray]]:
    """The anatomy of a session, ``further_warnings`` included, and the field of view where that cuts the brain.

    The anatomy is found in the first contrast or, where the field of view cuts the head there, in the contrast whose
    scans cover most; its quality names it as ``Contrast``. ``qc`` is the quality record of a high-field session, which
    comes without stacks: the field of view is read from it, and the quality has ``BrainShown``, the share of the
    expected brain inside it. Where that is below ``WHOLE``, the second value is ``{"seen": (X, Y, Z) bool}``, else {}.
    """
    contrast, field = volume.contrasts[0], field_of_scan(qc, volume.contrasts[0])
    seen = coverage(*field, volume.grid) if field else seen_in(volume, contrast) if volume.stacks else None
    if field is None and seen is not None and _is_cut(volume.channel(contrast), seen, volume.grid):
        views = {one: seen_in(volume, one) for one in volume.contrasts}
        contrast, seen = max(views.items(), key=lambda view: int(view[1].sum()))
    anatomy = find_anatomy(volume.channel(contrast), volume.grid, contrast, seen=seen, effort=ROUGH if sloppy else FULL)
    anatomy.quality["Contrast"] = contrast
    anatomy.quality["Warnings"] += further_warnings(volume, anatomy)
    if field is None or seen is None:
        return anatomy, {}
    shown = share_within(anatomy.expected, [field])
    anatomy.quality["BrainShown"] = round(shown, 4)
    return anatomy, {"seen": seen} if shown < WHOLE else {}


def _is_cut(image: np.ndarray, seen: np.ndarray, grid: Grid) -> bool:
    """Whether the head in an image (X, Y, Z) reaches a face of the field of view other than the lower one."""
    small = ndimage.uniform_filter(image, 3)
    head = small > 0.15 * np.percentile(small[seen], 98) if seen.any() else seen
    return on_faces(head, seen, grid, but=(BELOW,)) > HEAD_ON_FACE_CM2


def flipped_orientation(
    image: np.ndarray, grid: Grid, template: HeadTemplate, fit: float, effort: Effort = FULL
) -> str:
    """Words ("upside down", "back to front") where the template fits the head better mirrored than as it is; else "".

    ``fit`` is the share of variance that the template explains of the image (X, Y, Z) as it lies on ``grid``.
    """
    mirrored = {"upside down": image[:, :, ::-1], "back to front": image[:, ::-1]}
    fits = {
        words: fit_affine(np.ascontiguousarray(one), grid, template, effort=effort)[1]
        for words, one in mirrored.items()
    }
    best = max(fits, key=lambda words: fits[words])
    return best if fits[best] > fit + BETTER else ""


def further_warnings(volume: Volume, anatomy: Anatomy) -> list[str]:
    """``contrast_warnings`` of each stack and of every contrast but the one in which the anatomy was found."""
    priors, mask = anatomy.priors, anatomy.mask
    sentences = [
        sentence
        for contrast in volume.contrasts
        if contrast != anatomy.quality.get("Contrast", volume.contrasts[0])
        for sentence in contrast_warnings(volume.channel(contrast), priors, mask, contrast)
    ]
    several = len(volume.stacks) > len(volume.contrasts)
    return sentences + (stack_warnings(volume, priors, mask) if several else [])


def stack_warnings(volume: Volume, priors: np.ndarray, mask: np.ndarray) -> list[str]:
    """``contrast_warnings`` of each stack of a session, by name: a mean of several would hide a mislabelled one.

    ``priors`` (3, X, Y, Z) and ``mask`` (X, Y, Z) bool are on the grid of the volume.
    """
    sentences = []
    for stack in volume.stacks:
        seen = coverage(stack.data.shape, stack.affine, volume.grid) & mask
        image = resample(stack.data, stack.affine, volume.grid)
        sentences += contrast_warnings(image, priors, seen, stack.contrast, stack.name)
    return sentences


def extract_brain(image: np.ndarray, expected: np.ndarray, priors: np.ndarray, grid: Grid) -> tuple[np.ndarray, bool]:
    """((X, Y, Z) bool brain, whether the image came without its skull).

    ``expected`` (X, Y, Z) bool and ``priors`` (3, X, Y, Z) of CSF, GM, WM: where brain and tissues are known to lie,
    from the template, or from the high field of the same head.
    """
    stripped = is_stripped(image, expected, grid)
    mask = _foreground(image, expected, grid) if stripped else refine_mask(image, expected, priors, grid)
    return mask, stripped


def _correlation(image: np.ndarray, brain: np.ndarray, priors: np.ndarray) -> float:
    """Correlation inside the template's brain of the image, blurred a little, with its fit by the tissue maps."""
    every = (slice(None, None, 2),) * 3
    inside = brain[every]
    if inside.sum() < 10:
        return 0.0
    values = ndimage.gaussian_filter(image, 1.0)[every][inside]
    return float(np.sqrt(max(explained(priors[:, *every][:, inside], values), 0)))


def _warnings(quality: dict[str, Any], contrast: str) -> list[str]:
    """Sentences about a mask that should be looked at before it is used."""
    warnings = []
    low, high = VOLUME_ML
    volume, correlation = quality["MaskVolumeMl"], quality["TemplateCorrelation"]
    if not low <= volume <= high:
        warnings.append(
            f"The brain mask of the {contrast} holds {volume:.0f} ml, outside {low:.0f} to {high:.0f} ml: "
            "look at it before using any figure computed inside it."
        )
    if correlation < CORRELATION:
        warnings.append(
            f"The {contrast} correlates only {correlation:.2f} with the template's tissue maps (expected at least "
            f"{CORRELATION}): brain extraction may have failed; look at the mask."
        )
    return warnings


def fit_warp(
    image: np.ndarray,
    grid: Grid,
    template: HeadTemplate,
    affine: np.ndarray,
    *,
    effort: Effort = FULL,
    elastic: float = 0.7,
    seen: np.ndarray | None = None,
) -> Warp:
    """The deformation of the template's head to the image, from coarse to fine.

    ``elastic``: how smooth it is, SD in voxels of 4 and of 2 mm (``deform``); ``seen`` (X, Y, Z) bool: where the images
    are compared, if not everywhere.
    """
    core = resample(template.depth, affine @ template.grid.affine, grid, cval=99) < -5
    level = np.percentile(image[core], 99.5) if core.any() else image.max()
    image = np.clip(image, 0, level)
    warp = Warp(affine, np.zeros((3, 2, 2, 2), np.float32), Grid(grid.affine, (2, 2, 2)))
    for zoom, iterations in effort.warp:
        warp = _refine_warp(image, grid, template, warp, zoom, iterations, elastic, seen)
    return warp


def _refine_warp(
    image: np.ndarray,
    grid: Grid,
    template: HeadTemplate,
    warp: Warp,
    zoom: int,
    iterations: int,
    elastic: float,
    seen: np.ndarray | None,
) -> Warp:
    """The deformation refined at one voxel size, after the template's intensities were refitted to the image."""
    coarse, fixed = thinned(image, grid, zoom)
    blur = 0.42 * (zoom / 2 if zoom > 2 else 0)
    maps = np.stack([ndimage.gaussian_filter(one, blur) for one in template.maps])
    depth = resample(template.depth, warp.affine @ template.grid.affine, coarse, cval=99)
    near = depth < 19
    weight = np.clip((22 - depth) / 6, 0, 1) * shell_weight(depth)
    if seen is not None:
        known = resample(seen, grid.affine, coarse, order=0) > 0
        near, weight = near & known, weight * known
    carried = warp.carry(maps, template.grid.affine, coarse)[:, near]
    rendered = np.tensordot(gains(carried, fixed[near]), maps, 1).astype(np.float32)
    to_template = np.linalg.inv(warp.affine @ template.grid.affine) @ coarse.affine
    start = warp.field, warp.grid
    return Warp(warp.affine, deform(fixed, coarse, rendered, to_template, weight, start, iterations, elastic), coarse)


def is_stripped(image: np.ndarray, brain: np.ndarray, grid: Grid) -> bool:
    """Whether the skull was stripped: there is hardly any signal where the scalp should be.

    ``image`` (X, Y, Z), ``brain`` (X, Y, Z) bool from the template.
    """
    step = tuple(slice(None, None, max(1, round(3 / z))) for z in grid.zooms)
    small, inside = image[step], brain[step]
    zooms = [z * s.step for z, s in zip(grid.zooms, step, strict=True)]
    distance = ndimage.distance_transform_edt(~inside, sampling=zooms)
    shell = (distance > 6) & (distance < 22)
    if not shell.any() or not inside.any():
        return True
    return bool(np.percentile(small[shell], 80) < 0.1 * np.median(small[inside]))


def _foreground(image: np.ndarray, expected: np.ndarray, grid: Grid) -> np.ndarray:
    """(X, Y, Z) bool: the signal of a skull-stripped image near the brain the template expects, without holes.

    Small gaps in dim CSF are closed; what the stripper removed from a sulcus stays out.
    """
    level = 0.08 * np.median(image[expected])
    radius = max(1, round(2 / min(grid.zooms)))
    near = ndimage.binary_dilation(expected, iterations=4 * radius)
    standing = largest((image > level) & near)
    return without_removed(fill_holes(close(standing, radius)), image)


def refine_mask(image: np.ndarray, expected: np.ndarray, priors: np.ndarray, grid: Grid) -> np.ndarray:
    """(X, Y, Z) bool brain: tissue found by intensity near the expected surface, and the CSF next to it.

    ``image`` (X, Y, Z); ``expected`` (X, Y, Z) bool, the template's brain; ``priors`` (3, X, Y, Z).
    """
    reach = max(2, int(np.ceil(12 / min(grid.zooms))))
    box = tuple(
        slice(max(0, s.start - reach), s.stop + reach) for s in ndimage.find_objects(expected.astype(np.uint8))[0]
    )
    zooms = grid.zooms
    inside = expected[box]
    depth = ndimage.distance_transform_edt(~inside, sampling=zooms) - ndimage.distance_transform_edt(
        inside, sampling=zooms
    )
    solid, brain = _posteriors(image[box], depth.astype(np.float32), priors[:, *box])
    radius = 2 / float(np.mean(zooms))
    tissue = solid > 0.5
    tissue = largest(open_(tissue, radius) | (tissue & (depth < -6)))
    near = dilate(tissue, CSF_REACH_MM, zooms)
    solid = close(tissue | (near & (brain > 0.5)), 2 * radius)
    mask = np.zeros(expected.shape, bool)
    mask[box] = fill_holes(largest(open_(solid, radius)))
    return mask


def _posteriors(image: np.ndarray, depth: np.ndarray, priors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(X, Y, Z) probabilities of solid tissue and of brain, CSF included.

    Three Gaussians for the tissues, learnt in the core; a histogram for all that is not brain, learnt in a shell;
    between them a prior that falls off over 2 mm about the expected surface (``depth`` mm, positive outside).
    """
    image = ndimage.gaussian_filter(image, 0.5)
    zone = depth < 10
    values, d = image[zone], depth[zone]
    tissue = priors[:, zone] + np.float32(0.03)
    tissue = tissue / tissue.sum(axis=0)
    surface = 1 / (1 + np.exp(np.clip((d - SURFACE_MM) / 2.0, -30, 30)))
    core = d < -3
    mean, std = moments(values[core], tissue[:, core])
    for _ in range(8):
        mean, std = moments(values[core], responsibilities(values[core], tissue[:, core], mean, std))
    bins = np.linspace(values.min(), np.percentile(values, 99.8), 65)
    which = np.clip(np.digitize(values, bins) - 1, 0, 63)
    outside = (d > 2).astype(np.float32)
    gauss = np.exp(-0.5 * ((values - mean[:, None]) / std[:, None]) ** 2) / (std[:, None] * np.sqrt(2 * np.pi))
    within = tissue * gauss.astype(np.float32)
    for _ in range(5):
        density = ndimage.gaussian_filter1d(np.bincount(which, outside, 64), 1.5) + 1e-3
        density /= density.sum() * max(bins[1] - bins[0], 1e-12)
        away = (1 - surface) * density[which]
        near = surface * within
        total = near.sum(axis=0) + away + 1e-30
        outside = np.where(d > -4, away / total, 0)
    solid, brain = np.zeros(depth.shape, np.float32), np.zeros(depth.shape, np.float32)
    solid[zone], brain[zone] = (near[1] + near[2]) / total, near.sum(axis=0) / total
    return ndimage.gaussian_filter(solid, 0.7), ndimage.gaussian_filter(brain, 0.7)
