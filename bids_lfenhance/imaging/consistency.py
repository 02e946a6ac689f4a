"""The posterior of an estimate's error, given its error model and the session's stacks: its mean, and draws of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from .acquisition import Acquisition, Frame, signal_of
from .conjugate_gradient import conjugate_gradient
from .fusion import slab_profile
from .grid import Grid, box_of, resample
from .volume import Stack, in_order

SPECTRUM = (300, 24, 9.5, 5.9, 3.0, 1.4, 0.8, 0.4, 0.24, 0.2)
"""Relative power of an estimate's standardised error in bands of ``BAND`` from 0 on, the last for all above: it errs
less in single voxels than over a few millimetres. Measured on one simulated head; the first is about half of what was
measured, as what is smoother than ``FIELD_MM`` is not compared (docs/methods/fusionnet.md)."""

BAND = 0.05
"""Width of a band, cycles per voxel of about 1 mm."""

TRUST = 0.4
"""Weight of the scans, 1 if noise were their only error: registration and slice profiles are not exact (chosen on one
person of each of two scanners, docs/methods/fusionnet.md)."""

STEPS = 5
"""Conjugate-gradient steps of one solution."""

DRAW_ROUNDS = 2
"""How often a draw's correction is solved, each time from the last solution: it has no good first guess."""

WIDENINGS = 3
"""How often the correction is solved again with wider SDs."""

TAIL = 0.35
"""Where the local RMS of the correction exceeds this many SDs of the error, that SD was too small: it is widened in
proportion. Errors have heavier tails than a Gaussian, lesions above all (chosen with ``WIDENINGS`` and ``TAIL_MM`` on
lesions planted in two people and on the PSNR of three, docs/methods/fusionnet.md)."""

TAIL_MM = 1.0
"""SD of the Gaussian window of that local RMS."""

INSIDE_MM = 2.0
"""How deep in the mask a stack's voxel must lie, so that its slice hardly reaches beyond, where nothing is solved."""

FIELD_MM = 15.0
"""SD of the smoothing that finds the rest of a bias field, which is no error of the estimate."""

SHADING_MM = 10.0
"""SD of the smoothing that finds how the levels of two images differ over centimetres (docs/methods/fusionnet.md)."""

LEAST_VOXELS = 100
"""A stack with fewer voxels in the mask says nothing."""

MARGIN = 4
"""Voxels around the brain that a slice profile may reach into."""


def shading(estimate: np.ndarray, fused: np.ndarray, where: np.ndarray, zooms: Sequence[float]) -> np.ndarray:
    """(x, y, z) float32: the smooth factor that brings ``estimate`` half way (in logarithms) to the level of ``fused``.

    Both are wrong over centimetres, and not in the same places: scans by what is left of the coil's field, a network by
    the shading of the scanner it learned from. So neither is taken for the truth. The level is a local least-squares
    gain, of the voxels ``where`` both hold; 1 far from them.
    """
    widths = SHADING_MM / np.array(zooms)
    products = [np.where(where, estimate * one, 0).astype(np.float32) for one in (fused, estimate)]
    both, own = (ndimage.gaussian_filter(one, widths, mode="constant") for one in products)
    ratio = np.divide(both, own, out=np.ones_like(own), where=(own > 1e-6 * own.max()) & (both > 0))
    return np.sqrt(ratio)


@dataclass(frozen=True, eq=False)
class _Scan:
    """One stack compared with the estimate: its operator, the ``gain`` between their units, residual, SD of its noise.

    ``residual`` (n,) in the voxels compared, less its part smoother than ``FIELD_MM`` (``field``).
    """

    operator: Acquisition
    gain: float
    residual: np.ndarray
    noise: float
    field: "_Field"

    def of_draw(self, spectrum: np.ndarray, generator: np.random.Generator) -> "_Scan":
        """The stack with the residual that an error of this ``spectrum`` and a draw of its noise would leave."""
        noise = generator.standard_normal(self.residual.shape, np.float32) * np.float32(self.noise / TRUST**0.5)
        return replace(self, residual=self.field.taken_from(self.gain * self.operator.measure(spectrum) + noise))


@dataclass(frozen=True, eq=False)
class _Field:
    """The smooth part of values at the voxels ``where`` of a stack; ``widths`` (3,) SD of the smoothing in voxels."""

    where: np.ndarray
    widths: np.ndarray

    @cached_property
    def share(self) -> np.ndarray:
        """(I, J, K) how much of the smoothing's weight lies within ``where``."""
        return self._smooth(self.where.astype(np.float32))

    def taken_from(self, values: np.ndarray) -> np.ndarray:
        """(n,) float32: values (n,) of the voxels ``where``, less their smooth part."""
        image = np.zeros(self.where.shape, np.float32)
        image[self.where] = values
        image -= self._smooth(image) / np.maximum(self.share, 1e-3)
        return image[self.where]

    def _smooth(self, image: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(image, self.widths, mode="constant", truncate=2.5)


@dataclass(frozen=True, eq=False)
class ErrorPosterior:
    """The Gaussian posterior of an estimate's error, given its error model and the scans.

    ``mean`` (X, Y, Z) float32, what is to be added to the estimate, in its units; zero outside the mask.
    """

    mean: np.ndarray
    box: tuple[slice, ...]
    inside: np.ndarray
    sigma: np.ndarray
    root: np.ndarray
    frame: Frame
    scans: Sequence[_Scan]

    def draw(self, prior: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """(X, Y, Z) float32: the deviation of a draw from ``mean``, made of ``prior``, a draw of the error model.

        ``prior`` (X, Y, Z) has mean 0. By Matheron's rule, prior − K (A prior + n): K the gain that makes ``mean`` of
        the scans, A their acquisition, n a draw of their noise. K is that of the SD as given; only ``mean`` is
        computed with the SD widened for lesions.
        """
        out = prior.astype(np.float32)
        spectrum = self.frame.spectrum(out[self.box])
        scans = [scan.of_draw(spectrum, generator) for scan in self.scans]
        change = np.zeros_like(self.sigma)
        for _ in range(DRAW_ROUNDS):
            change = _posterior_mean(scans, self.sigma, self.root, self.frame, change)
        out[self.box] -= np.where(self.inside > 0, change, 0)
        return out

    def without_level(self, error: np.ndarray) -> np.ndarray:
        """(X, Y, Z) float32: an error (X, Y, Z), zero outside the brain, less what is smoother than ``FIELD_MM``."""
        out = error.astype(np.float32)
        field = _Field(out[self.box] != 0, FIELD_MM / np.array(self.frame.grid.zooms))
        out[self.box][field.where] = field.taken_from(out[self.box][field.where])
        return out


def posterior_of_error(
    estimate: np.ndarray, scale: np.ndarray, stacks: Sequence[Stack], mask: np.ndarray, grid: Grid
) -> ErrorPosterior | None:
    """What the scans tell about the error of ``estimate``; None where they show too little of the brain.

    Parameters
    ----------
    estimate, scale : (X, Y, Z) image in the contrast of the stacks, and the SD of its error
    stacks : of one contrast, aligned with the grid
    mask : (X, Y, Z) bool, where the estimate holds

    The mean δ minimises Σ_k τ ‖g_k A_k (μ + δ) − y_k‖² / s_k² + ‖C^(−½) δ / σ‖²: y_k the scans, A_k their slice
    profiles and sampling, g_k a gain, s_k their noise (no less than what is left of a good fit), σ the SD and C the
    correlation (``SPECTRUM``) of the estimate's error, τ = ``TRUST``. Then ``WIDENINGS`` times more, with σ widened
    where δ says that it was too small (``TAIL``).
    """
    if not stacks or not mask.any():
        return None
    box = box_of(mask, MARGIN)
    image, sigma, inside = (np.asarray(one[box], np.float32) for one in (estimate, scale, mask))
    frame = Frame(grid.cut(box))
    root = _root_of_correlation(frame)
    depth = ndimage.distance_transform_edt(inside, frame.grid.zooms).astype(np.float32)
    spectrum = frame.spectrum(image)
    compared = [_compare(stack, spectrum, depth, frame) for stack in in_order(stacks)]
    scans = [scan for scan in compared if scan is not None]
    if not scans:
        return None

    change, wider = np.zeros_like(image), sigma
    for _ in range(1 + WIDENINGS):
        change = _posterior_mean(scans, wider, root, frame, change)
        excess = _local_rms(change / np.maximum(sigma, 1e-9), inside, frame.grid.zooms) / np.float32(TAIL)
        wider = np.maximum(excess, 1) * sigma
    mean = np.zeros(estimate.shape, np.float32)
    mean[box] = np.where(inside > 0, change, 0)
    return ErrorPosterior(mean, box, inside, sigma, root, frame, scans)


def _posterior_mean(
    scans: Sequence[_Scan], sigma: np.ndarray, root: np.ndarray, frame: Frame, start: np.ndarray
) -> np.ndarray:
    """(x, y, z) float32 δ, by iteration from ``start``, for an error of SD ``sigma`` and correlation ``root``².

    Solved for the half spectrum û with δ = σ C^½ u, where the prior is ‖u‖².
    """
    weights = [np.float32(TRUST * scan.gain / scan.noise**2) for scan in scans]

    def error_of(u: np.ndarray) -> np.ndarray:
        return sigma * frame.image(u * root)

    def spread(fields: Sequence[np.ndarray]) -> np.ndarray:
        """The adjoint of û → scans, weighted."""
        parts = [scan.operator.spread(w * field) for scan, w, field in zip(scans, weights, fields, strict=True)]
        return frame.spectrum(frame.image(np.sum(parts, axis=0)) * sigma) * root

    def normal(u: np.ndarray) -> np.ndarray:
        delta = frame.spectrum(error_of(u))
        return u + spread([scan.gain * scan.operator.measure(delta) for scan in scans])

    # For a constant sigma and scans that cover all of the box, ``normal`` would be a product with this.
    variance = np.square(sigma).sum() / max(np.count_nonzero(sigma), 1)
    diagonal = np.ones(root.shape, np.float32)
    for scan, weight in zip(scans, weights, strict=True):
        density = frame.grid.voxel_volume / scan.operator.geometry.voxel_volume
        strength = weight * np.float32(scan.gain * density * variance)
        diagonal += strength * np.square(scan.operator.profile_spectrum() * root)
    standardised = np.divide(start, sigma, out=np.zeros_like(start), where=sigma > 0)
    u = frame.spectrum(standardised) / root
    target = spread([scan.residual for scan in scans])
    return error_of(conjugate_gradient(normal, target, u, steps=STEPS, inner=frame.inner, diagonal=diagonal))


def _local_rms(values: np.ndarray, inside: np.ndarray, zooms: Sequence[float]) -> np.ndarray:
    """(x, y, z): root mean square of the values around each voxel, of those ``inside`` alone."""
    widths = TAIL_MM / np.array(zooms)
    weight = (inside > 0).astype(np.float32)
    squares = ndimage.gaussian_filter(values**2 * weight, widths)
    return np.sqrt(squares / np.maximum(ndimage.gaussian_filter(weight, widths), 0.1))


def _compare(stack: Stack, spectrum: np.ndarray, depth: np.ndarray, frame: Frame) -> _Scan | None:
    """The stack against an image of this ``spectrum``; None where it shows too little of the brain.

    ``depth`` (x, y, z): mm from the border of the mask.
    """
    geometry = Grid(stack.affine, stack.data.shape)
    where = resample(depth, frame.grid.affine, geometry) > INSIDE_MM
    if where.sum() < LEAST_VOXELS:
        return None
    box = box_of(where)
    geometry, where, data = geometry.cut(box), where[box], stack.data[box]
    operator = Acquisition(geometry, slab_profile(stack.fwhm), frame.grid, where, frame)
    signal = signal_of(data[where], stack.sigma)
    expected = operator.measure(spectrum)
    gain = float(np.vdot(expected, signal)) / max(float(np.vdot(expected, expected)), 1e-12)
    field = _Field(where, FIELD_MM / np.array(geometry.zooms))
    residual = field.taken_from(signal - gain * expected)
    noise = max(float(stack.sigma), 1.4826 * float(np.median(np.abs(residual))))
    return _Scan(operator, gain, residual, noise, field) if noise > 0 and gain > 0 else None


def _root_of_correlation(frame: Frame) -> np.ndarray:
    """Half spectrum, float32: the filter C^½ of unit variance."""
    centres = (np.arange(len(SPECTRUM)) + 0.5) * BAND

    def power(parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.interp(np.sqrt(sum(part**2 for part in parts)), centres, SPECTRUM)

    whole = np.fft.fftfreq(64)
    mean = power(np.meshgrid(whole, whole, whole, indexing="ij", sparse=True)).mean()
    return np.sqrt(power(frame.frequencies()) / mean).astype(np.float32)
