"""What the stacks say beyond an estimate: the error on which its error model and the scans agree, and draws of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import ndimage

from .acquisition import Acquisition, Frame
from .fusion import slab_profile
from .grid import Grid, box_of, resample
from .volume import Stack

SPECTRUM = (300, 24, 9.5, 5.9, 3.0, 1.4, 0.8, 0.4, 0.24, 0.2)
"""Relative power of an estimate's standardised error in bands of ``BAND`` from 0 on, the last for all above: it errs
less in single voxels than over a few millimetres. Measured on one simulated head, but for the first, which is about
half of that: what is smoother than ``FIELD_MM`` is not compared (docs/methods/fusionnet.md)."""

BAND = 0.05
"""Width of a band, cycles per voxel of about 1 mm."""

TRUST = 0.4
"""Weight of the scans against their noise alone: registration and slice profiles are not exact either (chosen on one
person of each of two scanners, docs/methods/fusionnet.md)."""

STEPS = 5
"""Conjugate-gradient steps of one solution."""

DRAW_ROUNDS = 2
"""Solutions, each from the last, for what the scans contradict of a draw, which no start is near."""

WIDENINGS = 3
"""How often the correction is sought once more with wider SDs."""

TAIL = 0.35
"""Where the correction exceeds this many SDs of the error over a few millimetres, that SD was too small: it is made as
wide. Errors have heavier tails than a Gaussian, lesions above all (chosen with ``WIDENINGS`` and ``TAIL_MM`` on lesions
planted in two people and on the PSNR of three, docs/methods/fusionnet.md)."""

TAIL_MM = 1.0
"""SD of the Gaussian that says what a few millimetres are."""

INSIDE_MM = 2.0
"""How deep in the brain mask a stack's voxel must lie: beyond the mask the estimate is no better than the scans."""

FIELD_MM = 15.0
"""SD of the smoothing that finds what is left of a bias field, which is no error of the estimate."""

SHADING_MM = 10.0
"""SD of the smoothing that finds how the levels of two images differ over centimetres (docs/methods/fusionnet.md)."""

LEAST_VOXELS = 100
"""A stack with fewer voxels in the brain says nothing."""

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
    found: np.ndarray = np.sqrt(ratio)
    return found


@dataclass(frozen=True, eq=False)
class _Scan:
    """One stack against the estimate: operator, ``gain`` between their units, what is left, SD of its noise.

    ``left`` (n,) of the voxels that are compared, without what is smoother than ``FIELD_MM`` (``field``).
    """

    operator: Acquisition
    gain: float
    left: np.ndarray
    noise: float
    field: "_Field"

    def of_draw(self, spectrum: np.ndarray, generator: np.random.Generator) -> "_Scan":
        """The stack as it would be of an error with this ``spectrum`` alone, with a draw of its noise."""
        noise = generator.standard_normal(self.left.shape, np.float32) * np.float32(self.noise / TRUST**0.5)
        return replace(self, left=self.field.taken_from(self.gain * self.operator.measure(spectrum) + noise))


@dataclass(frozen=True, eq=False)
class _Field:
    """What is smooth of values at the voxels ``where`` of a stack; ``widths`` (3,) of the smoothing in voxels."""

    where: np.ndarray
    widths: np.ndarray

    @cached_property
    def share(self) -> np.ndarray:
        """(I, J, K) how much of the smoothing's weight lies within ``where``."""
        return self._smooth(self.where.astype(np.float32))

    def taken_from(self, values: np.ndarray) -> np.ndarray:
        """(n,) float32: values (n,) of the voxels ``where`` without what is smooth of them."""
        image = np.zeros(self.where.shape, np.float32)
        image[self.where] = values
        image -= self._smooth(image) / np.maximum(self.share, 1e-3)
        found: np.ndarray = image[self.where]
        return found

    def _smooth(self, image: np.ndarray) -> np.ndarray:
        found: np.ndarray = ndimage.gaussian_filter(image, self.widths, mode="constant", truncate=2.5)
        return found


@dataclass(frozen=True, eq=False)
class ErrorPosterior:
    """What an estimate's error can be where its error model and the scans agree: a Gaussian.

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
        """(X, Y, Z) float32 a draw less ``mean``, of one of the error model, ``prior`` (X, Y, Z), less its mean.

        By Matheron's rule: with K what makes ``mean`` of the scans, A their acquisition and n a draw of their noise,
        prior − K (A prior + n). K is that of the SD as stated; the mean alone has it widened, for lesions.
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
        """(X, Y, Z) float32: an error (X, Y, Z), zero outside the mask, less what is smoother than ``FIELD_MM``."""
        out = error.astype(np.float32)
        field = _Field(self.inside > 0, FIELD_MM / np.array(self.frame.grid.zooms))
        out[self.box][field.where] = field.taken_from(out[self.box][field.where])
        return out


def posterior_of_error(
    estimate: np.ndarray, scale: np.ndarray, stacks: Sequence[Stack], mask: np.ndarray, grid: Grid
) -> ErrorPosterior | None:
    """What the scans say of the error of ``estimate``; None where they show too little of the brain.

    Parameters
    ----------
    estimate, scale : (X, Y, Z) image in the contrast of the stacks, and the SD of its error
    stacks : of one contrast, aligned with the grid
    mask : (X, Y, Z) bool, brain

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
    compared = [_compare(stack, spectrum, depth, frame) for stack in sorted(stacks, key=_order)]
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
    """(x, y, z) float32 δ, sought from ``start`` on, for a ``sigma`` of the error with the correlation ``root``².

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

    # Of one sigma and of scans that lie everywhere, ``normal`` would be this product.
    variance = np.square(sigma).sum() / max(np.count_nonzero(sigma), 1)
    diagonal = np.ones(root.shape, np.float32)
    for scan, weight in zip(scans, weights, strict=True):
        density = frame.grid.voxel_volume / scan.operator.geometry.voxel_volume
        strength = weight * np.float32(scan.gain * density * variance)
        diagonal += strength * np.square(scan.operator.profile_spectrum() * root)
    standardised = np.divide(start, sigma, out=np.zeros_like(start), where=sigma > 0)
    u = frame.spectrum(standardised) / root
    return error_of(_solve(normal, spread([scan.left for scan in scans]), u, diagonal, frame.inner))


def _local_rms(values: np.ndarray, inside: np.ndarray, zooms: Sequence[float]) -> np.ndarray:
    """(x, y, z): root mean square of the values around each voxel, of those ``inside`` alone."""
    widths = TAIL_MM / np.array(zooms)
    weight = (inside > 0).astype(np.float32)
    squares = ndimage.gaussian_filter(values**2 * weight, widths)
    found: np.ndarray = np.sqrt(squares / np.maximum(ndimage.gaussian_filter(weight, widths), 0.1))
    return found


def _order(stack: Stack) -> tuple[str, bytes]:
    """Sums of floats depend on their order: the same whatever the stacks' own, also of two with one name."""
    return stack.name, stack.data.tobytes()[:64]


def _compare(stack: Stack, spectrum: np.ndarray, depth: np.ndarray, frame: Frame) -> _Scan | None:
    """The stack against an image of this ``spectrum``; None where it shows too little of the brain.

    ``depth`` (x, y, z): mm from the border of the brain.
    """
    geometry = Grid(stack.affine, stack.data.shape)
    where = resample(depth, frame.grid.affine, geometry) > INSIDE_MM
    if where.sum() < LEAST_VOXELS:
        return None
    box = box_of(where)
    geometry, where, data = geometry.cut(box), where[box], stack.data[box]
    operator = Acquisition(geometry, slab_profile(stack.fwhm), frame.grid, where, frame)
    # The mean of a magnitude lies σ²/2s above its signal s (Rice distribution).
    signal = np.sqrt(np.maximum(np.square(data[where], dtype=np.float32) - stack.sigma**2, 0))
    expected = operator.measure(spectrum)
    gain = float(np.vdot(expected, signal)) / max(float(np.vdot(expected, expected)), 1e-12)
    field = _Field(where, FIELD_MM / np.array(geometry.zooms))
    left = field.taken_from(signal - gain * expected)
    noise = max(float(stack.sigma), 1.4826 * float(np.median(np.abs(left))))
    return _Scan(operator, gain, left, noise, field) if noise > 0 and gain > 0 else None


def _root_of_correlation(frame: Frame) -> np.ndarray:
    """Half spectrum, float32: the filter C^½ of unit variance."""
    centres = (np.arange(len(SPECTRUM)) + 0.5) * BAND

    def power(parts: Sequence[np.ndarray]) -> np.ndarray:
        found: np.ndarray = np.interp(np.sqrt(sum(part**2 for part in parts)), centres, SPECTRUM)
        return found

    whole = np.fft.fftfreq(64)
    mean = power(np.meshgrid(whole, whole, whole, indexing="ij", sparse=True)).mean()
    return np.sqrt(power(frame.frequencies()) / mean).astype(np.float32)


def _solve(
    normal: Callable[[np.ndarray], np.ndarray],
    target: np.ndarray,
    start: np.ndarray,
    diagonal: np.ndarray,
    inner: Callable[[np.ndarray, np.ndarray], float],
) -> np.ndarray:
    """Some conjugate-gradient steps from ``start`` on normal(u) = target, preconditioned by a ``diagonal``."""
    u = start.copy()
    residual = target - normal(u) if u.any() else target.copy()
    direction = residual / diagonal
    power = inner(residual, direction)
    for _ in range(STEPS):
        if power == 0:
            break
        product = normal(direction)
        length = np.float32(power / inner(direction, product))
        u += length * direction
        residual -= length * product
        scaled = residual / diagonal
        before, power = power, inner(residual, scaled)
        direction = scaled + np.float32(power / before) * direction
    return u
