"""What a scanner does to an image: blur by the slice profile, then sampling; a linear operator with its exact adjoint.

The Gaussian profile of a stack that is oblique to the grid is still Gaussian, with a full covariance matrix. So the
blur is one product in Fourier space, exact for any rotation. Samples are taken with a quadratic B-spline, whose own
blur is divided out of that product.
"""

from functools import cached_property

import numpy as np
from scipy import fft, sparse

from .grid import Grid, apply_affine, zooms_of
from .profile import FWHM_PER_SD, PAD_MM
from .volume import Stack


def signal_of(magnitude: np.ndarray, sigma: float) -> np.ndarray:
    """Float32, ≥ 0: the signal behind magnitudes with noise of SD ``sigma``.

    The mean of a magnitude lies σ²/2s above its signal s (Rice distribution).
    """
    return np.sqrt(np.maximum(np.square(magnitude, dtype=np.float32) - float(sigma) ** 2, 0))


class Frame:
    """The padded Fourier box of one grid, shared by every acquisition on that grid."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.pad = tuple(int(np.ceil(PAD_MM / zoom)) for zoom in grid.zooms)
        self.shape = tuple(
            int(fft.next_fast_len(n + 2 * pad, real=True)) for n, pad in zip(grid.shape, self.pad, strict=True)
        )
        self._inside = tuple(slice(pad, pad + n) for pad, n in zip(self.pad, grid.shape, strict=True))

    def frequencies(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Three broadcastable arrays, cycles per voxel, of the half spectrum of a real image."""
        x, y, z = self.shape
        parts = (fft.fftfreq(x), fft.fftfreq(y), fft.rfftfreq(z))
        first, second, third = (part.astype(np.float32) for part in parts)
        return first[:, None, None], second[None, :, None], third[None, None, :]

    def spectrum(self, image: np.ndarray) -> np.ndarray:
        """Half spectrum, complex64, of an (X, Y, Z) image with zeros around it."""
        padded = np.zeros(self.shape, dtype=np.float32)
        padded[self._inside] = image
        return fft.rfftn(padded)

    def image(self, spectrum: np.ndarray) -> np.ndarray:
        """(X, Y, Z) float32: the image of a half spectrum, without the border."""
        return fft.irfftn(spectrum, s=self.shape)[self._inside]

    def inner(self, one: np.ndarray, other: np.ndarray) -> float:
        """The inner product of two padded images, from their half spectra, times the number of voxels."""
        products = one.real * other.real + one.imag * other.imag
        twice = 2 * np.sum(products, dtype=np.float64) - np.sum(products[..., 0], dtype=np.float64)
        return float(twice if self.shape[2] % 2 else twice - np.sum(products[..., -1], dtype=np.float64))


class Acquisition:
    """One stack as a linear operator: ``forward`` takes the grid to the stack's voxels.

    Parameters
    ----------
    geometry : the stack's own voxels, placed in the grid's world (its affine includes the rigid alignment)
    fwhm : (3,) mm, Gaussian resolution along the stack's voxel axes; never less than the grid's own voxel
    grid : the grid of the image
    where : (I, J, K) bool, the stack voxels to compute; the others are zero in ``forward``
    frame : the grid's Fourier box, if several stacks share it

    Equation: docs/methods/simulators.md, without the contrast factor. What lies outside the grid counts as zero.
    """

    def __init__(
        self,
        geometry: Grid,
        fwhm: tuple[float, float, float],
        grid: Grid,
        where: np.ndarray | None = None,
        frame: Frame | None = None,
    ) -> None:
        self.geometry = geometry
        self.fwhm = tuple(max(float(width), min(grid.zooms)) for width in fwhm)
        self.frame = frame or Frame(grid)
        self._where = np.flatnonzero(np.ones(geometry.shape, bool) if where is None else where)
        self._sampling = self._sample_matrix()

    @classmethod
    def of(cls, stack: Stack, grid: Grid, where: np.ndarray | None = None, frame: Frame | None = None) -> "Acquisition":
        """The operator of an acquired stack."""
        return cls(Grid(stack.affine, stack.data.shape), stack.fwhm, grid, where, frame)

    def forward(self, image: np.ndarray) -> np.ndarray:
        """(I, J, K) float32: what the stack would measure of an (X, Y, Z) image, without noise."""
        samples = np.zeros(self.geometry.shape, dtype=np.float32)
        samples.flat[self._where] = self.measure(self.frame.spectrum(image))
        return samples

    def measure(self, spectrum: np.ndarray) -> np.ndarray:
        """(N,) float32: the samples at ``where``, from the image's spectrum (shared between stacks)."""
        blurred = fft.irfftn(spectrum * self._transfer, s=self.frame.shape)
        return self._sampling @ blurred.ravel()

    def spread(self, samples: np.ndarray) -> np.ndarray:
        """Half spectrum, complex64: the adjoint of ``measure``, to be added up over stacks and inverted once."""
        scattered = (self._sampling.T @ samples).reshape(self.frame.shape)
        return fft.rfftn(scattered) * self._transfer

    def profile_spectrum(self) -> np.ndarray:
        """Half spectrum, float32: Fourier transform of the profile, 1 at frequency 0."""
        axes = self.geometry.affine[:3, :3] / np.array(zooms_of(self.geometry.affine))
        to_grid = np.linalg.inv(self.frame.grid.affine[:3, :3]) @ axes * (np.array(self.fwhm) / FWHM_PER_SD)
        parts = self.frame.frequencies()
        exponent = np.zeros(1, dtype=np.float32)
        for column in to_grid.T:
            along = sum(np.float32(weight) * part for weight, part in zip(column, parts, strict=True))
            exponent = exponent + np.square(along)
        exponent *= np.float32(-2 * np.pi**2)
        return np.exp(exponent, out=exponent)

    @cached_property
    def _transfer(self) -> np.ndarray:
        """The profile's spectrum, that of the B-spline divided out."""
        transfer = self.profile_spectrum()
        for part in self.frame.frequencies():
            transfer /= np.sinc(part) ** 3
        return transfer

    def _sample_matrix(self) -> sparse.csr_matrix:
        """(N, box) float32: quadratic B-spline weights of every sample, 27 per row."""
        index = np.stack(np.unravel_index(self._where, self.geometry.shape), axis=1)
        to_box = np.linalg.inv(self.frame.grid.affine) @ self.geometry.affine
        place = apply_affine(to_box, index) + np.array(self.frame.pad)
        nearest = np.rint(place).astype(np.int32)
        shape = np.array(self.frame.shape)
        known = np.all((nearest >= 1) & (nearest < shape - 1), axis=1)
        nearest = np.clip(nearest, 1, shape - 2).astype(np.int32)
        offset = (place - nearest).astype(np.float32)
        taps = np.stack([(0.5 - offset) ** 2 / 2, 0.75 - offset**2, (0.5 + offset) ** 2 / 2], axis=2)
        taps *= known[:, None, None]
        weights = np.einsum("ni,nj,nk->nijk", taps[:, 0], taps[:, 1], taps[:, 2], optimize=True)
        step = np.arange(-1, 2, dtype=np.int32)
        _, ny, nz = self.frame.shape
        corner = (nearest[:, 0] * ny + nearest[:, 1]) * nz + nearest[:, 2]
        around = (step[:, None, None] * ny + step[:, None]) * nz + step
        columns = corner[:, None] + around.ravel()
        rows = np.arange(0, columns.size + 1, 27, dtype=np.int32)
        size = (index.shape[0], int(np.prod(self.frame.shape)))
        return sparse.csr_matrix((weights.ravel(), columns.ravel().astype(np.int32), rows), shape=size)
