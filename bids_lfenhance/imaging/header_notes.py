"""Checks of a NIfTI header and its voxels: a warning where the image can still be used, ``InputError`` where not."""

from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from ..errors import InputError
from .grid import zooms_of
from .noise import threshold_otsu

CORNER = 8
"""The corners of an image are an eighth of its sides."""

LOUD = 0.2
"""SD over the image's range above which a corner holds noise of the whole range, of which uniform noise has .29; beside
a head, that of a magnitude image is below."""

MIDDLE = (0.3, 0.7)
"""Where the mean of such noise lies in the image's range; that of a magnitude image lies below."""

SHARE = 0.6
"""A voxel is noise where the local SD, over 3 voxels and smoothed, is above this share of the corners'."""

MOST_NON_FINITE = 0.01
"""Share of voxels that may be NaN or infinite and be set to 0, with a warning; above it the scan is refused."""

MOST_NOISE = 0.95
"""Share of noise voxels above which an image holds nothing else, and is left as it is."""

USUAL_LARGEST = (1e-4, 1e8)
"""The largest voxel of an image is scaled into this range where it lies outside: squares must fit in float32."""

DEEP = -0.2
"""A 0.1st percentile below this share of the 99.9th is more than an interpolation's ringing, and is warned about."""

OFFSET = 0.15
"""A 0.1st percentile above this share of the head's median is no air: with an SNR of 3, noise has less than .02."""

WILD = 1e6
"""Voxels above this many times the 99.9th percentile are damage, not signal: one such would scale all others away."""

_MILLIMETRES = (0, 2)
"""NIfTI codes of a unit of space that are millimetres, or do not say."""

OBLIQUE_DEGREES = 15.0
"""Tilt against the scanner's axes from which a stack is worth a warning."""

_LENIENT = 1e-3
"""A quaternion whose squared length exceeds 1 by no more than this was rounded, and is normalised."""


class _RoundedQuaternion:
    """Mixin of a header that accepts a quaternion whose length exceeds 1 by a rounding error."""

    def get_qform_quaternion(self) -> np.ndarray:
        """(4,): w, x, y, z."""
        xyz = np.array([self[f"quatern_{axis}"] for axis in "bcd"], np.float64)  # type: ignore[index]
        if 1 < xyz @ xyz <= 1 + _LENIENT:
            return np.array([0, *(xyz / np.linalg.norm(xyz))])
        # not by a wider threshold of nibabel's, which takes a small w for zero as well
        return np.asarray(super().get_qform_quaternion())  # type: ignore[misc]


class Header1(_RoundedQuaternion, nib.Nifti1Header):
    """A NIfTI-1 header that accepts such a quaternion."""


class Header2(_RoundedQuaternion, nib.Nifti2Header):
    """A NIfTI-2 header that accepts such a quaternion."""


class Image1(nib.Nifti1Image):
    """A NIfTI-1 image with a ``Header1``."""

    header_class = Header1


class Image2(nib.Nifti2Image):
    """A NIfTI-2 image with a ``Header2``."""

    header_class = Header2


IMAGE = {1: Image1, 2: Image2}
"""The class of image by the version of NIfTI."""


def header_warnings(name: str, image: nib.Nifti1Image, affine: np.ndarray) -> list[str]:
    """Warnings about what is odd in a header but does not prevent its use; ``affine`` (4, 4) is the one used."""
    warnings = []
    header = image.header
    sform, qform, rounded = header.get_sform(coded=True), *_qform(header)
    if rounded:
        warnings.append(f"{name}: {rounded}; {'the sform is used' if sform[1] else 'it was made of length 1'}.")
    if sform[1] == 0 and qform[1] == 0:
        warnings.append(f"{name} has neither sform nor qform: left and right cannot be known, the affine is a guess.")
    elif sform[1] and qform[1] and qform[0] is not None and np.linalg.det(sform[0][:3, :3] @ qform[0][:3, :3]) < 0:
        warnings.append(
            f"{name}: sform and qform are mirror images: left and right may be exchanged; the sform is used, check it."
        )
    elif sform[1] and qform[1] and qform[0] is not None and not _same_place(sform[0], qform[0], image.shape):
        warnings.append(f"{name}: sform and qform disagree; the sform is used.")
    sizes = np.array(header.get_zooms()[:3], float)
    if sform[1] and not qform[1] and not np.allclose(sizes, zooms_of(sform[0]), rtol=0.01):
        found, used = (" × ".join(f"{size:.3g}" for size in one) for one in (sizes, zooms_of(sform[0])))
        warnings.append(
            f"{name} has voxels of {found} mm by its header, of {used} mm by its sform, which is used; check it."
        )
    tilt = _tilt(affine)
    if tilt > OBLIQUE_DEGREES:
        warnings.append(f"{name} is oblique, tilted by {tilt:.0f}° against the scanner's axes.")
    if _sheared(affine):
        warnings.append(f"{name} has an affine with shear: its axes are not at right angles.")
    # nibabel resets both in the header of a loaded image and keeps them with the stored data.
    slope, inter = getattr(image.dataobj, "slope", 1), getattr(image.dataobj, "inter", 0)
    integer = image.get_data_dtype().kind in "iu"
    if integer and (slope != 1 or inter != 0):
        warnings.append(f"{name} is stored as scaled integers (slope {slope:g}, intercept {inter:g}); scaling applied.")
    unit = int(header["xyzt_units"]) % 8  # the upper bits are the unit of time
    if unit not in _MILLIMETRES:
        word = {1: "meter", 3: "micron"}.get(unit, f"number {unit}")
        warnings.append(f"{name} gives its unit as {word}; millimetres are assumed.")
    return warnings


def _qform(header: Any) -> tuple[tuple[np.ndarray | None, int], str]:
    """The qform and its code, and what is wrong with its quaternion, if anything."""
    length = float(sum(np.float64(header[f"quatern_{axis}"]) ** 2 for axis in "bcd"))
    code = int(header["qform_code"])
    excess = (
        f"the quaternion of the qform is too long by {np.sqrt(length) - 1:.1g}" if code and length > 1 + 4e-7 else ""
    )
    try:
        return header.get_qform(coded=True), excess
    except ValueError:  # beyond rounding: there is no such rotation
        return (None, code), excess


def _same_place(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether two affines put every corner of the image within half a millimetre."""
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(shape[:3]) - 1)
    moved = corners @ (one - other)[:3, :3].T + (one - other)[:3, 3]
    return bool(np.abs(moved).max() < 0.5)


def _tilt(affine: np.ndarray) -> float:
    """Largest angle between a voxel axis and the nearest scanner axis, degrees."""
    directions = np.abs(affine[:3, :3] / np.array(zooms_of(affine)))
    return float(np.rad2deg(np.arccos(np.clip(directions.max(axis=0), 0, 1))).max())


def _sheared(affine: np.ndarray) -> bool:
    """Whether two voxel axes are more than half a degree away from a right angle."""
    directions = affine[:3, :3] / np.array(zooms_of(affine))
    return bool(np.abs(directions.T @ directions - np.eye(3)).max() > np.sin(np.deg2rad(0.5)))


def check_values(path: Path, data: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The voxels (I, J, K) float32, finite and of usual size; and warnings about what was changed.

    Raises ``InputError`` for voxels that are no image: too many not finite, one value only, a mask, all negative.
    """
    warnings = []
    finite = np.isfinite(data)
    lost = int(data.size - finite.sum())
    outside = _surrounding(~finite) if lost > MOST_NON_FINITE * data.size else 0
    if lost - outside > MOST_NON_FINITE * data.size:
        message = (
            f"{path.name} has {100 * lost / data.size:.1f} % of its voxels not finite (NaN or infinite), "
            f"at most {100 * MOST_NON_FINITE:.0f} % can be repaired: export it again."
        )
        raise InputError(message, code="bad-values", path=path)
    if lost:
        data = np.where(finite, data, np.float32(0))
        where = f", {outside} of them around the head" if outside else ""
        warnings.append(f"{path.name} had {lost} voxels that were not finite{where}; they were set to 0.")
    if data.min() == data.max():
        what = "all zeros" if data.max() == 0 else f"the same number ({data.max():g}) everywhere"
        raise InputError(
            f"{path.name} holds {what}: there is no image in it, export it again.", code="no-image", path=path
        )
    if ((data == 0) | (data == 1)).all():
        message = f"{path.name} holds zeros and ones only: a mask is no scan, leave it out."
        raise InputError(message, code="no-image", path=path)
    if np.mean(data <= 0) > 0.98 and np.mean(data < 0) > 0.5:
        message = (
            f"{path.name} holds negative numbers only, from {data.min():g} to {data.max():g} (a slope of -1?): "
            "a magnitude image has none, export it again."
        )
        raise InputError(message, code="bad-values", path=path)
    data, scaled = _usual_size(path.name, data)
    warnings += scaled
    if data.min() < -0.2 * data.max() and data.min() >= -0.5001 and data.max() <= 0.5001 and np.mean(data < 0) > 0.05:
        warnings.append(f"{path.name} lies between -.5 and .5, as the uniform image of an MP2RAGE; .5 was added.")
        data = data + np.float32(0.5)
    data, removed = _without_loud_background(path.name, data)
    data, shifted = _without_offset(path.name, data)
    warnings += [*removed, *shifted]
    low, high = np.percentile(data, (0.1, 99.9))
    if (share := float(np.mean(data < 0))) > 0.25 or low < DEEP * high:
        warnings.append(
            f"{path.name} has {100 * share:.2g} % negative voxels, down to {data.min():g} where {data.max():g} is the "
            "largest; a magnitude image has none (unsigned numbers stored as signed?), and they count as 0: check it."
        )
    return data, warnings


def _without_loud_background(name: str, data: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The voxels, background noise as bright as the head set to 0 (or to their least, if negative); and a warning."""
    noise = loud_background(data)
    if noise is None or noise.mean() > MOST_NOISE:  # noise alone is no head, and refused as such
        return data, []
    darkest = np.float32(min(data.min(), 0))
    return np.where(noise, darkest, data), [
        f"{name} has a background of noise as bright as the head, as the uniform image of an MP2RAGE: "
        f"{100 * noise.mean():.0f} % of its voxels were taken for noise and set to {darkest:g}; check the brain mask."
    ]


def _without_offset(name: str, data: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The voxels, less what was added to all of them; and a warning: a magnitude image has some voxels near 0."""
    least = np.percentile(data, 0.1)
    bright = float(np.median(data[data > threshold_otsu(data)])) if least > 0 else 0.0
    if least <= OFFSET * bright:
        return data, []
    return data - np.float32(least), [
        f"{name} has hardly a voxel below {least:.3g}, which is {100 * least / bright:.0f} % of the head's median, "
        "where air should be near 0; that was taken for an offset and subtracted."
    ]


def _surrounding(lost: np.ndarray) -> int:
    """How many of the voxels ``lost`` surround the head: joined to the image's faces, of which they cover four or more.

    ``lost`` (I, J, K) bool.
    """
    faces = [np.take(lost, end, axis=axis).mean() for axis in range(3) for end in (0, -1)]
    if sum(share > 0.95 for share in faces) < 4:
        return 0
    parts, _ = ndimage.label(lost)
    ends = [np.take(parts, end, axis=axis).ravel() for axis in range(3) for end in (0, -1)]
    return int(np.isin(parts, np.setdiff1d(np.concatenate(ends), 0)).sum())


def _usual_size(name: str, data: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The voxels, multiplied by a power of ten if their squares would not fit in float32; and warnings."""
    size = np.abs(data)
    wild = size > WILD * np.percentile(size, 99.9).astype(np.float64)
    if wild.any() and not wild[size > 0].all():
        data, warnings = _usual_size(name, np.where(wild, np.float32(0), data))
        lost = f"{name} has {int(wild.sum())} voxels up to {size.max():.2g}, far above all others: set to 0."
        return data, [lost, *warnings]
    largest = float(size.max())
    if USUAL_LARGEST[0] <= largest <= USUAL_LARGEST[1]:
        return data, []
    power = 3 - int(np.floor(np.log10(largest)))
    scaled = (data.astype(np.float64) * 10.0**power).astype(np.float32)
    return scaled, [f"{name} has values up to {largest:.2g}; all were multiplied by 1e{power:d}."]


def loud_background(data: np.ndarray) -> np.ndarray | None:
    """(I, J, K) bool, the voxels that are noise over the image's whole range; None where the corners are not.

    ``data`` (I, J, K), finite. In the uniform image (Marques et al. 2010) a ratio of two images without signal is as
    large as one of two with signal. Noise differs from voxel to voxel, tissue does not.
    """
    low, high = np.percentile(data, (1, 99))
    centred = (np.asarray(data, np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-12))
    sides = [(slice(max(2, n // CORNER)), slice(-max(2, n // CORNER), None)) for n in data.shape]
    corners = [(float(part.std()), float(part.mean())) for part in (centred[corner] for corner in product(*sides))]
    loud = [sd for sd, mean in corners if sd > LOUD and MIDDLE[0] < mean < MIDDLE[1]]
    if len(loud) < len(corners) / 2:
        return None
    mean = ndimage.uniform_filter(centred, 3)
    variance = np.maximum(ndimage.uniform_filter(np.square(centred), 3) - np.square(mean), 0)
    return ndimage.gaussian_filter(np.sqrt(variance), 1.0) > SHARE * float(np.median(loud))
