"""One scan prepared: bias divided out, noise and head found, a working copy for registration beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from ..config import CONTRASTS
from ..errors import InputError
from .artefacts import artefacts
from .bias import correct_bias, head_mask
from .grid import Box, Grid, apply_affine, box_of, canonical_grid, coverage, translation, zooms_of
from .noise import noise_sigma
from .registration import RegistrationImage, make_registration_image

HEAD_MARGIN = 8.0
"""Room left around the head on the canonical grid, mm."""

SMALLEST_HEAD = 2e5
"""Foreground below this volume, mm³, is no head."""

LEAST_OVERLAP = 0.1
"""Share of one head that must lie in the other's field of view, by the headers, for two stacks to be of one session."""

LONGEST_STEP = 3
"""Noise is never sought in differences over more voxels than this: further apart it is anatomy that differs."""

GAP = 0.9
"""Slices thinner than this share of their spacing have gaps between them."""

FILLED = 0.5
"""Where more than this share of a plane is above zero, the planes of zeros beyond it were not acquired."""

LEAST_NOISE = 1e-3
"""Noise is taken to be at least this share of the head's median, so that dividing by it is safe."""


@dataclass(frozen=True)
class PreparedScan:
    """A scan after bias correction, and its working copy for registration.

    ``data`` (I, J, K); ``affine`` voxel → scanner RAS+ mm; ``mask`` (I, J, K) bool, the head; ``sigma`` its noise in
    the units of ``data``; ``field`` least and greatest value of the bias inside the head; ``plane`` axi, cor, sag, iso;
    ``fwhm`` (3,) mm, resolution along the voxel axes: the voxel's size, across slices with gaps their thickness;
    ``artefacts`` as ``artefacts.artefacts`` measures them.
    """

    name: str
    contrast: str
    plane: str
    data: np.ndarray
    affine: np.ndarray
    mask: np.ndarray
    sigma: float
    field: tuple[float, float]
    registration_image: RegistrationImage
    fwhm: tuple[float, float, float]
    artefacts: Mapping[str, float | None]

    @property
    def gap(self) -> bool:
        """Whether there are gaps between the slices."""
        return self.fwhm != zooms_of(self.affine)

    @property
    def snr(self) -> float:
        """Median signal of the head over the standard deviation of the noise."""
        return float(np.median(self.data[self.mask])) / self.sigma


def prepare_scan(
    name: str,
    contrast: str,
    plane: str | None,
    image: nib.Nifti1Image,
    *,
    acquired: float = 0.0,
    thickness: float | None = None,
    sloppy: bool = False,
) -> PreparedScan:
    """One scan, bias-corrected, its noise and head found.

    Planes of zeros that it was padded with are left out. ``plane`` None is derived from the voxel sizes; ``acquired``
    is the finest voxel size that is acquired, mm (finer ones were interpolated); ``thickness`` that of its slices, mm,
    where it is known. Raises ``InputError`` for an unknown contrast and where there is no head.
    """
    if contrast not in CONTRASTS:
        message = f"{name} should be one of {', '.join(CONTRASTS)}, found {contrast}: leave it out."
        raise InputError(message, code="unknown-contrast", scan=name)
    data = np.asarray(image.dataobj, dtype=np.float32)
    box = unpadded(data)
    data, affine = data[box], image.affine @ translation([part.start for part in box])
    mask = head_mask(data, affine)
    if mask.sum() * np.prod(zooms_of(affine)) < SMALLEST_HEAD:
        message = f"{name} should show a head of at least {SMALLEST_HEAD / 1e3:.0f} ml, found none: look at it."
        raise InputError(message, code="no-head", scan=name)
    corrected, field = correct_bias(np.maximum(data, 0), affine, mask, sloppy=sloppy)
    inside = field[mask]
    steps = tuple(min(LONGEST_STEP, round(2 * acquired / z)) if z < 0.9 * acquired else 1 for z in zooms_of(affine))
    noise = noise_sigma(data, steps)
    # Dividing by the field moves the noise with it; the head's median is what "the" noise of the stack means.
    sigma = max(noise * float(np.median(1 / inside)), LEAST_NOISE * float(np.median(corrected[mask])))
    span = (float(inside.min()), float(inside.max()))
    registration_image = make_registration_image(corrected, affine, mask)
    plane, fwhm = plane or plane_of(affine), slice_profile(affine, thickness)
    found = artefacts(np.maximum(data, 0), affine, mask, noise)
    return PreparedScan(name, contrast, plane, corrected, affine, mask, sigma, span, registration_image, fwhm, found)


def unpadded(data: np.ndarray) -> Box:
    """The part of an image (I, J, K) that was acquired: without the planes of zeros that a program added at its ends.

    Zeros beside a plane that is mostly above zero were added, for air has noise, and a head from which the air was
    removed ends in a small plane. Counted as seen, they would be averaged with what other scans saw there.
    """
    acquired = box_of(data > 0)
    ends = []
    for axis, (part, side) in enumerate(zip(acquired, data.shape, strict=True)):
        first, last = (data[acquired].take(end, axis) > 0 for end in (0, -1))
        ends.append(slice(part.start if first.mean() > FILLED else 0, part.stop if last.mean() > FILLED else side))
    return ends[0], ends[1], ends[2]


def slice_profile(affine: np.ndarray, thickness: float | None) -> tuple[float, float, float]:
    """(3,) mm: the voxel's size, but ``thickness`` mm along its longest side where slices have gaps.

    A thickness below a tenth of the spacing is a mistake (metres, say), one near it or above no gap: both are ignored.

    >>> slice_profile(np.diag([1.5, 1.5, 5.0, 1.0]), 2.5), slice_profile(np.diag([1.5, 1.5, 5.0, 1.0]), 0.005)
    ((1.5, 1.5, 2.5), (1.5, 1.5, 5.0))
    """
    zooms = list(zooms_of(affine))
    longest = int(np.argmax(zooms))
    if thickness is not None and 0.1 * zooms[longest] < thickness < GAP * zooms[longest]:
        zooms[longest] = thickness
    x, y, z = zooms
    return x, y, z


def plane_of(affine: np.ndarray) -> str:
    """The plane of highest resolution, from the voxel sizes: axi, cor, sag, or iso.

    >>> plane_of(np.diag([1.6, 5.0, 1.6, 1.0]))
    'cor'
    """
    zooms = np.array(zooms_of(affine))
    thick = int(zooms.argmax())
    if zooms[thick] < 1.5 * np.median(zooms):
        return "iso"
    return ("sag", "cor", "axi")[int(np.abs(affine[:3, thick]).argmax())]


def check_overlap(scan: PreparedScan, other: PreparedScan) -> None:
    """Refuse two stacks of one session whose headers put them in different places."""
    shares = [
        float(
            coverage(b.data.shape, b.affine, Grid(a.registration_image.affine, a.registration_image.data.shape))[
                a.registration_image.head
            ].mean()
        )
        for a, b in ((scan, other), (other, scan))
    ]
    if max(shares) < LEAST_OVERLAP:
        message = (
            f"{scan.name} and {other.name} are of one session and should overlap, by their headers at most "
            f"{100 * max(shares):.0f} % of one head lies inside the other: check the headers, or leave one out."
        )
        raise InputError(message, code="no-overlap", scans=(scan.name, other.name))


def head_grid(placed: Sequence[tuple[PreparedScan, np.ndarray]], zoom: float = 1.0, multiple: int = 16) -> Grid:
    """The canonical grid around the heads of scans, each with the pose (4, 4) that puts it in the frame."""
    corners = []
    for scan, pose in placed:
        points = apply_affine(
            pose @ scan.registration_image.affine, np.argwhere(scan.registration_image.head).astype(np.float64)
        )
        corners += [points.min(axis=0) - HEAD_MARGIN, points.max(axis=0) + HEAD_MARGIN]
    return canonical_grid(np.array(corners), zoom, multiple)


def covered_share(scan: PreparedScan, pose: np.ndarray, grid: Grid, head: np.ndarray) -> float:
    """Share of the head (X, Y, Z) bool on the canonical grid that the scan's field of view reaches."""
    return float(coverage(scan.data.shape, pose @ scan.affine, grid)[head].mean()) if head.any() else 0.0
