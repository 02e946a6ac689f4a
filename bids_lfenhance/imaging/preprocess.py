"""From the scans of a session to one volume on the canonical grid: bias, noise, positions, one intensity scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from threadpoolctl import threadpool_limits

from ..config import CONTRASTS
from ..errors import InputError
from .bias import correct_bias, head_mask
from .fusion import fuse_mean
from .grid import Grid, apply_affine, canonical_grid, coverage, resample, zooms_of
from .noise import noise_sigma
from .registration import (
    LEVELS,
    WORK_ZOOM,
    Alignment,
    Picture,
    align,
    align_group,
    gain_between,
    make_picture,
    motion_of,
)
from .volume import Stack, Volume, volume_from_channels

HEAD_MARGIN = 8.0
"""Room left around the head on the canonical grid, mm."""

FIXED_ORDER = ("T2w", "T1w", "FLAIR")
"""Which contrast is the fixed reference: the first of these that is there (methods.md §0)."""

LEAST_OVERLAP = 0.1
"""Share of a stack's head that the reference stack must cover, by the headers, for the two to be of one session."""

LEAST_SIMILARITY = {"same": 0.5, "cross": 0.2}
"""Share of variance explained below which a registration is reported as doubtful, within and across contrasts."""

SMALLEST_HEAD = 2e5
"""Foreground below this volume, mm³, is no head."""

LARGE_MOTION = (12.0, 15.0)
"""Rotation (degrees) and translation (mm) between stacks of one session that are reported."""


@dataclass(frozen=True)
class Ready:
    """A scan after bias correction, and its working copy for registration.

    ``data`` (I, J, K); ``affine`` voxel → scanner RAS+ mm; ``mask`` (I, J, K) bool, the head; ``sigma`` its noise in
    the units of ``data``; ``field`` least and greatest value of the bias inside the head.
    """

    name: str
    contrast: str
    plane: str | None
    data: np.ndarray
    affine: np.ndarray
    mask: np.ndarray
    sigma: float
    field: tuple[float, float]
    picture: Picture

    @property
    def snr(self) -> float:
        """Median signal of the head over the standard deviation of the noise."""
        return float(np.median(self.data[self.mask])) / self.sigma if self.sigma > 0 else float("inf")


def prepare_reference(
    images: Sequence[tuple[str, str, nib.Nifti1Image]], *, sloppy: bool = False, seed: int = 0
) -> tuple[Volume, dict[str, np.ndarray], dict[str, Any]]:
    """The high-field session on the canonical grid, each contrast's transform, and quality numbers.

    Parameters
    ----------
    images : (name, contrast, 3D image from ``open_scan``), the first of each contrast is used
    sloppy : quicker, for demonstrations
    seed : recorded only; nothing here draws a random number

    The transforms (4, 4) carry points of each contrast's scanner RAS+ mm to the canonical frame, which is that of the
    T2w (T1w where there is none). Quality: ``{"Scans": [{"Name", "Contrast", ...}], "Warnings": [...]}``.
    """
    with threadpool_limits(1):
        chosen, warnings = _first_of_each(images)
        ready = {
            contrast: _make_ready(name, contrast, None, image, sloppy) for contrast, (name, image) in chosen.items()
        }
        fixed = ready[next(c for c in FIXED_ORDER if c in ready)]
        found = {
            c: Alignment(np.eye(4), 1.0, 1.0)
            if r is fixed
            else align(r.picture, fixed.picture, bent=True, far=True, levels=_levels(sloppy))
            for c, r in ready.items()
        }
        grid = _head_grid([(fixed, np.eye(4))])
        channels = {
            c: np.maximum(resample(r.data, found[c].pose @ r.affine, grid, order=3), 0) for c, r in ready.items()
        }
    scans = []
    for contrast, r in ready.items():
        warnings += _doubts(r.name, fixed.name, found[contrast], bent=r is not fixed)
        covered = _covered(
            r, found[contrast].pose, grid, resample(fixed.mask.astype(np.float32), fixed.affine, grid) > 0.5
        )
        scans.append(_scan_record(r, found[contrast], found[contrast].pose, covered, r.sigma))
    quality = {"Scans": scans, "Fixed": fixed.name, "Seed": seed, "Warnings": warnings}
    return volume_from_channels(grid, channels), {c: a.pose for c, a in found.items()}, quality


def prepare_session(
    scans: Sequence[tuple[str, str, str | None, nib.Nifti1Image]],
    reference: Volume | None = None,
    *,
    sloppy: bool = False,
    seed: int = 0,
) -> tuple[Volume, dict[str, Any]]:
    """The low-field session, its stacks in place and fused by plain mean on the canonical grid; and quality numbers.

    Parameters
    ----------
    scans : (name, contrast, plane or None, 3D image from ``open_scan``)
    reference : the high-field session, whose grid is then used; None where there is none
    sloppy : quicker, for demonstrations
    seed : recorded only; nothing here draws a random number

    Without a reference the frame is that of the session's reference stack (iso where there is one, else axial) in its
    own scanner's RAS+ mm. Quality: ``{"Scans": [{"Name", "SNR", "RotationDeg", "TranslationMm", "Coverage", "Sigma",
    "Similarity", ...}], "ReferenceScan", "Groups": {contrast: {...}}, "Warnings": [...]}``; rotation and translation
    (of the head's centre) are relative to the session's reference stack.
    """
    if not scans:
        raise InputError("A session needs at least one low-field scan, found none: check the dataset.")
    with threadpool_limits(1):
        levels = _levels(sloppy)
        ready = [_make_ready(name, contrast, plane, image, sloppy) for name, contrast, plane, image in scans]
        groups = {c: sorted((r for r in ready if r.contrast == c), key=_preference) for c in FIXED_ORDER}
        groups = {c: group for c, group in groups.items() if group}
        first = next(iter(groups.values()))[0]
        for r in ready:
            _check_overlap(r, first)
        inside = {c: align_group([r.picture for r in group], 0, levels) for c, group in groups.items()}
        fused = {c: _fused_picture(group, inside[c]) for c, group in groups.items()}
        placed = _place_groups(fused, reference, levels)
        poses = {
            r.name: placed[c].pose @ a.pose
            for c, group in groups.items()
            for r, a in zip(group, inside[c], strict=True)
        }
        grid = (
            reference.grid
            if reference is not None
            else _head_grid([(r, poses[r.name]) for r in groups[first.contrast]])
        )
        stacks = tuple(
            _stack(r, poses[r.name], gain)
            for c in groups
            for r, gain in zip(groups[c], _gains(groups[c], inside[c]), strict=True)
        )
        volume = volume_from_channels(
            grid, {c: fuse_mean([s for s in stacks if s.contrast == c], grid) for c in groups}, stacks
        )
    return volume, _session_quality(groups, inside, placed, stacks, volume, reference, seed)


def _levels(sloppy: bool) -> Sequence[tuple[float, int]]:
    """The registration's levels; the finest is left out when sloppy."""
    return LEVELS[:-1] if sloppy else LEVELS


def _first_of_each(
    images: Sequence[tuple[str, str, nib.Nifti1Image]],
) -> tuple[dict[str, tuple[str, nib.Nifti1Image]], list[str]]:
    """The first image of each contrast by contrast, and a warning for each one left aside."""
    chosen: dict[str, tuple[str, nib.Nifti1Image]] = {}
    warnings = []
    for name, contrast, image in images:
        if contrast not in CONTRASTS:
            raise InputError(f"{name} should be one of {', '.join(CONTRASTS)}, found {contrast}: leave it out.")
        if contrast in chosen:
            warnings.append(f"{name} is a further {contrast} of the high-field session; {chosen[contrast][0]} is used.")
        else:
            chosen[contrast] = (name, image)
    if not chosen:
        raise InputError("A high-field reference needs at least one image, found none: check the dataset.")
    return chosen, warnings


def _make_ready(name: str, contrast: str, plane: str | None, image: nib.Nifti1Image, sloppy: bool) -> Ready:
    """One scan, bias-corrected, its noise and head found."""
    if contrast not in CONTRASTS:
        raise InputError(f"{name} should be one of {', '.join(CONTRASTS)}, found {contrast}: leave it out.")
    data = np.asarray(image.dataobj, dtype=np.float32)
    affine = np.asarray(image.affine, dtype=np.float64)
    mask = head_mask(data, affine)
    if mask.sum() * np.prod(zooms_of(affine)) < SMALLEST_HEAD:
        raise InputError(f"{name} should show a head of at least {SMALLEST_HEAD / 1e3:.0f} ml, found none: look at it.")
    corrected, field = correct_bias(np.maximum(data, 0), affine, mask, sloppy=sloppy)
    inside = field[mask]
    # Dividing by the field moves the noise with it; the head's median is what "the" noise of the stack means.
    sigma = noise_sigma(data) * float(np.median(1 / inside))
    span = (float(inside.min()), float(inside.max()))
    return Ready(name, contrast, plane, corrected, affine, mask, sigma, span, make_picture(corrected, affine, mask))


def _preference(r: Ready) -> int:
    """Rank of a stack as its session's reference: iso, axial, then as they come."""
    return {"iso": 0, "axi": 1}.get(r.plane or _plane_of(r.affine), 2)


def _plane_of(affine: np.ndarray) -> str:
    """The plane of highest resolution, from the voxel sizes: axi, cor, sag, or iso."""
    zooms = np.array(zooms_of(affine))
    thick = int(zooms.argmax())
    if zooms[thick] < 1.5 * np.median(zooms):
        return "iso"
    return ("sag", "cor", "axi")[int(np.abs(affine[:3, thick]).argmax())]


def _check_overlap(r: Ready, first: Ready) -> None:
    """Refuse a stack whose head, by the headers, lies outside the reference stack's field of view, and the reverse."""
    shares = [
        float(coverage(b.data.shape, b.affine, Grid(a.picture.affine, a.picture.data.shape))[a.picture.head].mean())
        for a, b in ((r, first), (first, r))
    ]
    if max(shares) < LEAST_OVERLAP:
        raise InputError(
            f"{r.name} and {first.name} are of one session but hardly overlap (by their headers {100 * max(shares):.0f} % "
            "of one head lies inside the other): check the headers, or leave one out with --bids-filter-file."
        )


def _gains(group: Sequence[Ready], found: Sequence[Alignment]) -> list[float]:
    """The factor that brings each stack of a contrast to the intensities of the first."""
    return [gain_between(r.picture, group[0].picture, a.pose) for r, a in zip(group, found, strict=True)]


def _fused_picture(group: Sequence[Ready], found: Sequence[Alignment]) -> Picture:
    """The working copies of one contrast, averaged in the frame of the first; its point spread is their mean."""
    if len(group) == 1:
        return group[0].picture
    placed = [(r, a.pose) for r, a in zip(group, found, strict=True)]
    grid = _head_grid(placed, zoom=WORK_ZOOM, multiple=1)
    stacks = [
        Stack(
            r.name,
            r.contrast,
            r.picture.data * np.float32(gain * r.picture.scale),
            pose @ r.picture.affine,
            r.affine,
            (1, 1, 1),
            r.sigma,
        )
        for (r, pose), gain in zip(placed, _gains(group, found), strict=True)
    ]
    image = np.maximum(fuse_mean(stacks, grid), 0)
    spread = sum(pose[:3, :3] @ r.picture.covariance @ pose[:3, :3].T for r, pose in placed) / len(placed)
    return make_picture(image, grid.affine, head_mask(image, grid.affine), covariance=spread)


def _place_groups(
    fused: dict[str, Picture], reference: Volume | None, levels: Sequence[tuple[float, int]]
) -> dict[str, Alignment]:
    """One alignment per contrast: on to the same contrast of the reference, else across contrasts."""
    out: dict[str, Alignment] = {}
    for contrast, picture in fused.items():
        if reference is None:
            fixed = next(iter(fused))
            same, target = contrast == fixed, fused[fixed]
            out[contrast] = Alignment(np.eye(4), 1.0, 1.0) if same else align(picture, target, bent=True, levels=levels)
            continue
        name = contrast if contrast in reference.contrasts else next(c for c in FIXED_ORDER if c in reference.contrasts)
        image = reference.channel(name)
        target = make_picture(image, reference.grid.affine, head_mask(image, reference.grid.affine))
        out[contrast] = align(picture, target, bent=name != contrast, far=True, levels=levels)
    return out


def _stack(r: Ready, pose: np.ndarray, gain: float) -> Stack:
    """The stack in the canonical frame, in the intensities of its contrast."""
    data = (r.data * np.float32(gain)).astype(np.float32)
    return Stack(r.name, r.contrast, data, pose @ r.affine, r.affine, zooms_of(r.affine), r.sigma * gain)


def _head_grid(placed: Sequence[tuple[Ready, np.ndarray]], zoom: float = 1.0, multiple: int = 16) -> Grid:
    """The canonical grid around the heads of scans, each with the pose that puts it in the frame."""
    corners = []
    for r, pose in placed:
        points = apply_affine(pose @ r.picture.affine, np.argwhere(r.picture.head).astype(np.float64))
        corners += [points.min(axis=0) - HEAD_MARGIN, points.max(axis=0) + HEAD_MARGIN]
    return canonical_grid(np.array(corners), zoom, multiple)


def _covered(r: Ready, pose: np.ndarray, grid: Grid, head: np.ndarray) -> float:
    """Share of the head on the canonical grid that the stack's field of view reaches."""
    return float(coverage(r.data.shape, pose @ r.affine, grid)[head].mean()) if head.any() else 0.0


def _scan_record(r: Ready, found: Alignment, motion: np.ndarray, covered: float, sigma: float) -> dict[str, Any]:
    """What the quality file says of one scan; ``motion`` (4, 4) is reported at the head's centre."""
    degrees, mm = motion_of(motion, r.picture.centre)
    return {
        "Name": r.name,
        "Contrast": r.contrast,
        "Plane": r.plane or _plane_of(r.affine),
        "Zooms": [round(z, 4) for z in zooms_of(r.affine)],
        "SNR": round(r.snr, 2),
        "Sigma": float(f"{sigma:.6g}"),
        "RotationDeg": round(degrees, 3),
        "TranslationMm": round(mm, 3),
        "Coverage": round(covered, 4),
        "Similarity": round(found.similarity, 4),
        "BiasRange": [round(f, 4) for f in r.field],
    }


def _doubts(name: str, other: str, found: Alignment, bent: bool) -> list[str]:
    """Warnings about one registration."""
    least = LEAST_SIMILARITY["cross" if bent else "same"]
    if found.overlap < 0.5:
        return [
            f"{name} covers only {100 * found.overlap:.0f} % of {other}: part of the head is missing in one of them."
        ]
    if found.similarity < least:
        return [
            f"{name} may be misplaced on {other}: similarity {found.similarity:.2f}, expected ≥ {least:g}; look at both."
        ]
    return []


def _session_quality(
    groups: dict[str, list[Ready]],
    inside: dict[str, list[Alignment]],
    placed: dict[str, Alignment],
    stacks: Sequence[Stack],
    volume: Volume,
    reference: Volume | None,
    seed: int,
) -> dict[str, Any]:
    """The quality record of a session."""
    primary = next(iter(groups))
    first = groups[primary][0]
    image = (reference or volume).channel(next(c for c in FIXED_ORDER if c in (reference or volume).contrasts))
    head = head_mask(image, volume.grid.affine)
    sigmas = {s.name: s.sigma for s in stacks}
    scans, warnings = [], []
    for contrast, group in groups.items():
        for r, found in zip(group, inside[contrast], strict=True):
            pose = placed[contrast].pose @ found.pose
            motion = np.linalg.inv(placed[primary].pose) @ pose
            record = _scan_record(r, found, motion, _covered(r, pose, volume.grid, head), sigmas[r.name])
            warnings += _doubts(r.name, group[0].name, found, bent=False)
            if record["RotationDeg"] > LARGE_MOTION[0] or record["TranslationMm"] > LARGE_MOTION[1]:
                warnings.append(
                    f"{r.name} lies {record['RotationDeg']:.0f}° and {record['TranslationMm']:.0f} mm from "
                    f"{first.name}: the head moved a lot, or a registration failed."
                )
            scans.append(record)
        across = reference is None or contrast not in reference.contrasts
        if reference is not None or contrast != primary:
            target = "the high-field reference" if reference is not None else first.name
            warnings += _doubts(f"The {contrast} of the session", target, placed[contrast], bent=across)
    shares = {c: {"Overlap": round(a.overlap, 4), "Similarity": round(a.similarity, 4)} for c, a in placed.items()}
    return {"Scans": scans, "ReferenceScan": first.name, "Groups": shares, "Seed": seed, "Warnings": warnings}
