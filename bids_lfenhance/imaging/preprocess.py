"""From the scans of a session to one volume on the canonical grid: bias, noise, positions, one intensity scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import nibabel as nib
import numpy as np
from threadpoolctl import threadpool_limits

from ..errors import InputError
from .bias import head_mask
from .fusion import fuse_mean
from .grid import Grid, canonical_zoom, resample
from .intensity import gain, gain_coefficients
from .left_right import align_and_mirror
from .registration import IN_PLACE, LEVELS, WORK_ZOOM, Alignment, RegistrationImage, align, make_registration_image
from .scan import PreparedScan, check_overlap, covered_share, head_grid, prepare_scan
from .scan_notes import doubts, gap_notes, motion_doubts, scan_record
from .volume import Stack, Volume, volume_from_channels

FINEST_LOW_FIELD = 1.5
"""Low field is not acquired on finer voxels than this, mm; a finer image was interpolated."""

FIXED_ORDER = ("T2w", "T1w", "FLAIR")
"""Which contrast is the fixed reference: the first of these that was acquired (docs/methods/preprocessing.md)."""


@dataclass(frozen=True)
class ContrastStacks:
    """The stacks of one contrast, their alignments on the first of them, the gains (S, 10) of ``gain_coefficients``."""

    contrast: str
    scans: tuple[PreparedScan, ...]
    alignments: tuple[Alignment, ...]
    gains: np.ndarray

    @property
    def placed(self) -> list[tuple[PreparedScan, np.ndarray]]:
        """Each stack with its pose (4, 4) on the first."""
        return [(scan, alignment.pose) for scan, alignment in zip(self.scans, self.alignments, strict=True)]

    def stacks(self, pose: np.ndarray) -> tuple[Stack, ...]:
        """The stacks on one intensity scale, in the frame into which ``pose`` (4, 4) carries that of the first."""
        out = []
        for scan, alignment, coefficients in zip(self.scans, self.alignments, self.gains, strict=True):
            factor = gain(
                coefficients, alignment.pose @ scan.affine, scan.data.shape, self.scans[0].registration_image.centre
            )
            data, affine = (scan.data * factor).astype(np.float32), pose @ alignment.pose @ scan.affine
            sigma = scan.sigma * float(np.median(factor[scan.mask]))
            out.append(Stack(scan.name, scan.contrast, data, affine, scan.affine, scan.fwhm, sigma))
        return tuple(out)

    def registration_image(self) -> RegistrationImage:
        """The stacks averaged in the frame of the first, for registration; its point spread is their mean."""
        if len(self.scans) == 1:
            return self.scans[0].registration_image
        grid = head_grid(self.placed, WORK_ZOOM, multiple=1)
        image = np.maximum(fuse_mean(self.stacks(np.eye(4)), grid), 0)
        turned = [pose[:3, :3] @ scan.registration_image.covariance @ pose[:3, :3].T for scan, pose in self.placed]
        return make_registration_image(image, grid.affine, head_mask(image, grid.affine), np.mean(turned, axis=0))


def prepare_reference(
    images: Sequence[tuple[str, str, nib.Nifti1Image]], *, sloppy: bool = False
) -> tuple[Volume, dict[str, np.ndarray], dict[str, Any]]:
    """The high-field session on the canonical grid, each contrast's transform, and quality numbers.

    Parameters
    ----------
    images : (name, contrast, 3D image from ``open_scan``), the first of each contrast is used
    sloppy : quicker, for demonstrations

    The transforms (4, 4) carry points of each contrast's scanner RAS+ mm to the canonical frame, which is that of the
    T2w (T1w where there is none). Quality: ``{"Scans": [{"Name", "SNR", "FieldOfView", ...}], "ReferenceScan",
    "Warnings": [...]}``, the field of view shape and affine, voxel → RAS+ mm of the canonical frame.
    """
    with threadpool_limits(1):
        chosen, warnings = _first_of_each(images)
        prepared = [prepare_scan(name, contrast, None, image, sloppy=sloppy) for name, contrast, image in chosen]
        fixed = min(prepared, key=lambda scan: FIXED_ORDER.index(scan.contrast))
        alignments = [
            IN_PLACE
            if scan is fixed
            else align(
                scan.registration_image,
                fixed.registration_image,
                cross_contrast=True,
                other_session=True,
                levels=_levels(sloppy),
            )
            for scan in prepared
        ]
        grid = head_grid([(fixed, np.eye(4))], canonical_zoom(sloppy))
        head = resample(fixed.mask.astype(np.float32), fixed.affine, grid) > 0.5
        channels, scans = {}, []
        for scan, a in zip(prepared, alignments, strict=True):
            # Cubic interpolation rings below zero beside bright edges; a magnitude has no such values.
            channels[scan.contrast] = np.maximum(resample(scan.data, a.pose @ scan.affine, grid, order=3), 0)
            field = {"Shape": list(scan.data.shape), "Affine": (a.pose @ scan.affine).tolist()}
            record = scan_record(scan, a, a.pose, covered_share(scan, a.pose, grid, head), scan.sigma)
            scans.append({**record, "FieldOfView": field})
            warnings += doubts(scan.name, fixed.name, a, cross_contrast=scan is not fixed)
    xfms = {scan.contrast: a.pose for scan, a in zip(prepared, alignments, strict=True)}
    quality = {"Scans": scans, "ReferenceScan": fixed.name, "Warnings": warnings}
    return volume_from_channels(grid, channels), xfms, quality


def prepare_session(
    scans: Sequence[tuple[str, str, str | None, nib.Nifti1Image]],
    reference: Volume | None = None,
    *,
    thickness: Mapping[str, float] | None = None,
    sloppy: bool = False,
) -> tuple[Volume, dict[str, Any]]:
    """The low-field session, its stacks in place and fused by plain mean on the canonical grid; and quality numbers.

    Parameters
    ----------
    scans : (name, contrast, plane or None, 3D image from ``open_scan``)
    reference : the high-field session, whose grid is then used; None where there is none
    thickness : mm of a scan's slices, by its name; where they are thinner than they lie apart, their profile
    sloppy : quicker, for demonstrations

    Without a reference the frame is that of the session's reference stack (iso where there is one, else axial) in its
    own scanner's RAS+ mm. Quality: ``{"Scans": [{"Name", "SNR", "RotationDeg", "TranslationMm", "Coverage", "Sigma",
    "Similarity", ...}], "ReferenceScan", "Alignment": {contrast: {"To", "Across", "Overlap", "Similarity",
    "Mirrored"}}, "Warnings": [...]}``. ``Alignment`` is that of a contrast as a whole, ``Across`` whether to another
    contrast; rotation and translation (of the head's centre) are relative to the session's reference stack.
    """
    if not scans:
        raise InputError("A session needs at least one low-field scan, found none: check the dataset.", code="no-scans")
    with threadpool_limits(1):
        prepare = partial(prepare_scan, acquired=FINEST_LOW_FIELD, sloppy=sloppy)
        prepared = [prepare(*scan, thickness=(thickness or {}).get(scan[0])) for scan in scans]
        groups = _grouped(prepared, _levels(sloppy))
        placed = _place(groups, reference, _levels(sloppy))
        grid = reference.grid if reference is not None else _grid_of(groups, placed, canonical_zoom(sloppy))
        stacks = {group.contrast: group.stacks(a.pose) for group, a in zip(groups, placed, strict=True)}
        fused = {contrast: fuse_mean(members, grid) for contrast, members in stacks.items()}
        volume = volume_from_channels(grid, fused, tuple(stack for members in stacks.values() for stack in members))
    return volume, _quality(groups, placed, volume, reference)


def _levels(sloppy: bool) -> Sequence[tuple[float, int]]:
    """The registration's levels; the finest is left out when sloppy."""
    return LEVELS[:-1] if sloppy else LEVELS


def _first_of_each(
    images: Sequence[tuple[str, str, nib.Nifti1Image]],
) -> tuple[list[tuple[str, str, nib.Nifti1Image]], list[str]]:
    """The first image of each contrast, and a warning for each one left aside."""
    chosen: dict[str, tuple[str, str, nib.Nifti1Image]] = {}
    warnings = []
    for name, contrast, image in images:
        if contrast in chosen:
            warnings.append(f"{name} is a further {contrast} of the high-field session; {chosen[contrast][0]} is used.")
        else:
            chosen[contrast] = (name, contrast, image)
    if not chosen:
        raise InputError(
            "A high-field reference needs at least one image, found none: check the dataset.", code="no-scans"
        )
    return list(chosen.values()), warnings


def _grouped(prepared: Sequence[PreparedScan], levels: Sequence[tuple[float, int]]) -> list[ContrastStacks]:
    """The stacks by contrast, registered to the first of each: iso where there is one, else axial; then by name."""
    groups: list[ContrastStacks] = []
    for contrast in FIXED_ORDER:
        members = sorted(
            (scan for scan in prepared if scan.contrast == contrast),
            key=lambda scan: ({"iso": 0, "axi": 1}.get(scan.plane, 2), scan.name),
        )
        if not members:
            continue
        for scan in members:
            check_overlap(scan, groups[0].scans[0] if groups else members[0])
        fixed = members[0].registration_image
        alignments = [
            IN_PLACE,
            *(align_and_mirror(scan.registration_image, fixed, levels=levels) for scan in members[1:]),
        ]
        gains = gain_coefficients([scan.registration_image for scan in members], [a.pose for a in alignments])
        groups.append(ContrastStacks(contrast, tuple(members), tuple(alignments), gains))
    return groups


def _place(
    groups: Sequence[ContrastStacks], reference: Volume | None, levels: Sequence[tuple[float, int]]
) -> list[Alignment]:
    """Each contrast on the frame: on the reference's same contrast, else across contrasts."""
    if reference is None:
        fixed = groups[0].registration_image() if len(groups) > 1 else groups[0].scans[0].registration_image
        return [
            IN_PLACE,
            *(align(group.registration_image(), fixed, cross_contrast=True, levels=levels) for group in groups[1:]),
        ]
    targets = {
        name: make_registration_image(image, reference.grid.affine, head_mask(image, reference.grid.affine))
        for name in {_target(group.contrast, reference) for group in groups}
        for image in (reference.channel(name),)
    }
    alignments = []
    for group in groups:
        name = _target(group.contrast, reference)
        way = partial(align, cross_contrast=True) if name != group.contrast else align_and_mirror
        alignments.append(way(group.registration_image(), targets[name], other_session=True, levels=levels))
    return alignments


def _grid_of(groups: Sequence[ContrastStacks], placed: Sequence[Alignment], zoom: float) -> Grid:
    """The canonical grid around the heads of all contrasts, as one may show more of it than another."""
    pairs = zip(groups, placed, strict=True)
    return head_grid([(scan, place.pose @ pose) for group, place in pairs for scan, pose in group.placed], zoom)


def _target(contrast: str, reference: Volume) -> str:
    """The contrast of the reference to which one of the session is registered."""
    return contrast if contrast in reference.contrasts else next(c for c in FIXED_ORDER if c in reference.contrasts)


def _quality(
    groups: Sequence[ContrastStacks], placed: Sequence[Alignment], volume: Volume, reference: Volume | None
) -> dict[str, Any]:
    """The quality record of a session."""
    shown = volume if reference is None else reference
    images = [shown.channel(contrast)[::2, ::2, ::2] for contrast in shown.contrasts]
    grid = Grid(volume.grid.affine @ np.diag([2, 2, 2, 1.0]), images[0].shape)
    head = np.any([head_mask(image, grid.affine) for image in images], axis=0)
    first = groups[0].scans[0]
    scans, alignment = [], {}
    warnings = gap_notes([scan for group in groups for scan in group.scans])
    for group, place in zip(groups, placed, strict=True):
        for scan, a, stack in zip(group.scans, group.alignments, volume.stacks_of(group.contrast), strict=True):
            pose = place.pose @ a.pose
            motion = np.linalg.inv(placed[0].pose) @ pose
            scans.append(scan_record(scan, a, motion, covered_share(scan, pose, grid, head), stack.sigma))
            warnings += doubts(scan.name, group.scans[0].name, a, cross_contrast=False) + motion_doubts(
                scans[-1], first.name
            )
        cross_contrast = group.contrast not in shown.contrasts or (reference is None and group is not groups[0])
        target = first.name if reference is None else "the high-field reference"
        warnings += doubts(f"The low-field {group.contrast}", target, place, cross_contrast=cross_contrast)
        moved = reference is not None or group is not groups[0]
        if moved:
            figures = {"Overlap": round(place.overlap, 4), "Similarity": round(place.similarity, 4)}
            figures |= {"Mirrored": place.mirrored}
            alignment[group.contrast] = {"To": target, "Across": cross_contrast, **figures}
    return {"Scans": scans, "ReferenceScan": first.name, "Alignment": alignment, "Warnings": warnings}
