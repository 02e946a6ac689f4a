"""An independent low-field scanner: what our own simulator and operators are judged on.

It shares no code with ``bids_lfenhance`` but the ``Stack`` record. On purpose it works otherwise than the package:
additive tissue contrast (ours multiplies), a finer lattice, a box-car slice profile (ours is Gaussian), in-plane
resolution by truncating k-space (ours is Gaussian), Rician noise drawn in the complex plane.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_lfenhance.imaging.volume import Stack

PLANES: Mapping[str, tuple[int, int, int]] = {"axi": (0, 1, 2), "cor": (0, 2, 1), "sag": (1, 2, 0), "iso": (0, 1, 2)}
"""World axis (R, A, S) of each voxel axis of a stack; the thick one comes last."""

LF_MEANS: Mapping[str, tuple[float, float, float]] = {
    "T1w": (0.40, 0.80, 1.00),
    "T2w": (1.00, 0.66, 0.54),
    "FLAIR": (0.30, 1.00, 0.86),
}
"""Low-field intensity of CSF, GM, WM, arbitrary units: less grey-white contrast than any 3 T protocol."""


@dataclass(frozen=True)
class Acquired:
    """One simulated stack: ``data`` (I, J, K) float32, bias field and noise in it.

    ``native_affine`` (4, 4) voxel → the stack's own scanner RAS+ mm; ``motion`` (4, 4) scanner mm → head mm, the true
    rigid transform; ``fwhm`` (3,) mm nominal resolution; ``sigma`` standard deviation of the noise before magnitude.
    """

    name: str
    contrast: str
    plane: str
    data: np.ndarray
    native_affine: np.ndarray
    motion: np.ndarray
    fwhm: tuple[float, float, float]
    sigma: float

    def stack(self, error: np.ndarray | None = None) -> Stack:
        """The package's record, truly aligned, or misaligned by ``error`` (4, 4) head mm → head mm."""
        alignment = self.motion if error is None else error @ self.motion
        affine = alignment @ self.native_affine
        return Stack(self.name, self.contrast, self.data, affine, self.native_affine, self.fwhm, self.sigma)


def rigid(translation_mm: Sequence[float], rotation_deg: Sequence[float], centre: np.ndarray) -> np.ndarray:
    """(4, 4) RAS+ mm: rotation by the vector ``rotation_deg`` (axis × degrees) about ``centre``, then a shift."""
    vector = np.radians(np.asarray(rotation_deg, dtype=float))
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = np.asarray(centre) - turn @ np.asarray(centre) + np.asarray(translation_mm)
    return matrix


def random_rigid(
    rng: np.random.Generator, translation_mm: float, rotation_deg: float, centre: np.ndarray
) -> np.ndarray:
    """(4, 4) a rigid transform of exactly these magnitudes, in random directions, about ``centre``."""
    shift, turn = rng.normal(size=(2, 3))
    return rigid(translation_mm * shift / np.linalg.norm(shift), rotation_deg * turn / np.linalg.norm(turn), centre)


def load_head(head: Path | nib.Nifti1Image, zoom: float = 1.0, border: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """((X, Y, Z) float32 in [0, about 1], (4, 4) voxel → RAS+ mm): a real head, upright at ``zoom`` mm, cut to what is
    there; exactly zero stays zero."""
    loaded = nib.as_closest_canonical(nib.load(head) if isinstance(head, Path) else head)
    data = np.asarray(loaded.dataobj, dtype=np.float32)
    step = zoom / np.array(loaded.header.get_zooms()[:3])
    found = np.argwhere(data > 0.02 * data.max())
    start = found.min(axis=0) - border * step
    shape = tuple(int(n) for n in np.ceil((found.max(axis=0) + border * step - start) / step))
    moved = ndimage.affine_transform(data, np.diag(step), start, output_shape=shape, order=3, mode="constant")
    there = ndimage.affine_transform((data > 0).astype(np.float32), np.diag(step), start, output_shape=shape, order=1)
    image = np.where(there > 0.5, np.maximum(moved, 0), 0)
    affine = loaded.affine @ np.block([[np.diag(step), start[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])
    return (image / np.percentile(image[image > 0], 99.9)).astype(np.float32), affine


def tissue_by_intensity(image: np.ndarray, mask: np.ndarray, smooth: float = 0.5, t1_like: bool = True) -> np.ndarray:
    """(3, X, Y, Z) float32 posteriors of CSF, GM, WM by a three-Gaussian mixture of the intensities in ``mask``."""
    values = image[mask].astype(np.float64)
    means, spread = np.percentile(values, [8, 45, 85]), np.full(3, values.std() / 4)
    weight = np.full(3, 1 / 3)
    for _ in range(30):
        density = weight * np.exp(-0.5 * ((values[:, None] - means) / spread) ** 2) / spread + 1e-12
        share = density / density.sum(axis=1, keepdims=True)
        total = share.sum(axis=0)
        means = (share * values[:, None]).sum(axis=0) / total
        spread = np.sqrt((share * (values[:, None] - means) ** 2).sum(axis=0) / total) + 1e-6
        weight = total / total.sum()
    order = np.argsort(means) if t1_like else np.argsort(-means)
    tissue = np.zeros((3, *image.shape), dtype=np.float32)
    tissue[:, mask] = share[:, order].T
    return np.stack([ndimage.gaussian_filter(part, smooth) for part in tissue])


def low_field_image(
    image: np.ndarray, tissue: np.ndarray, means: Sequence[float], texture: float = 1.0, background: float = 1.0
) -> np.ndarray:
    """(X, Y, Z) float32 the head as a noiseless, sharp low-field scanner would see it.

    Each tissue takes its mean from ``means`` (CSF, GM, WM); what the image has beyond its own tissue means (texture,
    partial volume) is kept, scaled by the ratio of grey-white contrasts; outside, the image is scaled to match WM.
    """
    own = np.array([np.average(image, weights=part) for part in tissue])
    scale = (means[1] - means[2]) / (own[1] - own[2])
    inside = tissue.sum(axis=0)
    painted = np.tensordot(np.asarray(means), tissue, axes=1)
    rest = image - np.tensordot(own, tissue, axes=1)
    outside = background * means[2] / own.max() * image
    return np.maximum(painted + inside * texture * scale * rest + (1 - inside) * outside, 0).astype(np.float32)


def voxel_size(contrast: str, plane: str) -> tuple[float, float, float]:
    """(3,) mm: in plane, in plane, through plane, as in ds006557."""
    if plane == "iso":
        return (2.3, 2.3, 2.3)
    inplane = 1.5 if contrast == "T2w" else 1.6
    return (inplane, inplane, 5.0)


def scanner_affine(
    image: np.ndarray, affine: np.ndarray, plane: str, zooms: Sequence[float], margin_mm: float = 6.0
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """((4, 4) voxel → RAS+ mm, shape): an upright field of view around everything that is not background."""
    index = np.argwhere(image > 0.02 * image.max())
    ends = np.stack([index.min(axis=0), index.max(axis=0)])
    world = np.sort(ends @ affine[:3, :3].T + affine[:3, 3], axis=0)
    axes = list(PLANES[plane])
    extent = (world[1] - world[0])[axes] + 2 * margin_mm
    shape = tuple(int(n) + int(n) % 2 for n in np.ceil(extent / np.asarray(zooms)))
    matrix = np.zeros((4, 4))
    matrix[axes, [0, 1, 2]] = zooms
    matrix[3, 3] = 1
    matrix[:3, 3] = world.mean(axis=0) - matrix[:3, :3] @ ((np.array(shape) - 1) / 2)
    return matrix, (shape[0], shape[1], shape[2])


def truncate_k_space(fine: np.ndarray, axis: int, keep: int, taper: float = 0.15) -> np.ndarray:
    """The image at ``keep`` samples along ``axis``: outer k-space dropped, the last ``taper`` rolled off."""
    spectrum = np.fft.fft(np.moveaxis(fine, axis, -1), axis=-1)
    frequency = np.fft.fftfreq(keep, 1 / keep)
    edge = np.clip((np.abs(frequency) / (keep / 2) - (1 - taper)) / taper, 0, 1)
    kept = spectrum[..., frequency.astype(int)] * (0.5 + 0.5 * np.cos(np.pi * edge))
    return np.moveaxis(np.fft.ifft(kept, axis=-1).real * (keep / fine.shape[axis]), -1, axis).astype(np.float32)


def sample_finely(
    head: np.ndarray,
    affine: np.ndarray,
    placed: np.ndarray,
    shape: tuple[int, int, int],
    refine: tuple[int, int, int],
    order: int = 3,
) -> np.ndarray:
    """(I·a, J·b, K·c) float32 the head at the sub-voxels of a stack; in plane they start at voxel centres, through
    plane they tile the slice."""
    steps = np.array(refine, dtype=float)
    start = np.array([0.0, 0.0, -(steps[2] - 1) / 2 / steps[2]])
    sub = np.eye(4)
    sub[:3, :3], sub[:3, 3] = np.diag(1 / steps), start
    matrix = np.linalg.inv(affine) @ placed @ sub
    fine_shape = tuple(int(n * s) for n, s in zip(shape, refine, strict=True))
    return ndimage.affine_transform(
        head.astype(np.float32), matrix[:3, :3], matrix[:3, 3], output_shape=fine_shape, order=order, mode="constant"
    )


def smooth_bias(shape: tuple[int, ...], amplitude: float, rng: np.random.Generator) -> np.ndarray:
    """(I, J, K) a receive field around 1: exp of a random quadratic of standard deviation ``amplitude``."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    terms = [x, y, z, x * y, y * z, x * z, x**2 - 1 / 3, y**2 - 1 / 3, z**2 - 1 / 3]
    field = sum(weight * term for weight, term in zip(rng.normal(size=len(terms)), terms, strict=True))
    return np.exp(amplitude * (field - field.mean()) / field.std()).astype(np.float32)


def acquire_stack(
    image: np.ndarray,
    affine: np.ndarray,
    tissue: np.ndarray,
    contrast: str,
    *,
    plane: str,
    rng: np.random.Generator,
    motion: np.ndarray | None = None,
    snr: float = 15.0,
    bias: float = 0.05,
    means: Sequence[float] | None = None,
    zooms: tuple[float, float, float] | None = None,
    order: int = 3,
    margin_mm: float = 6.0,
) -> Acquired:
    """One stack of a head.

    ``image`` (X, Y, Z) high field, ``affine`` (4, 4) voxel → head RAS+ mm, ``tissue`` (3, X, Y, Z) posteriors of
    CSF, GM, WM; ``motion`` scanner mm → head mm; ``snr`` of white matter (0: no noise); ``bias`` SD of log sensitivity;
    ``order`` of the splines that sample the head; ``margin_mm`` of the field of view around it.
    """
    head = low_field_image(image, tissue, means or LF_MEANS[contrast])
    zooms = zooms or voxel_size(contrast, plane)
    native, shape = scanner_affine(image, affine, plane, zooms, margin_mm)
    motion = np.eye(4) if motion is None else motion
    refine = (2, 2, max(2, round(zooms[2] / 0.65)))
    fine = sample_finely(head, affine, motion @ native, shape, refine, order)
    thick = fine.reshape(*fine.shape[:2], shape[2], refine[2]).mean(axis=3)
    clean = truncate_k_space(truncate_k_space(thick, 0, shape[0]), 1, shape[1])
    white = (means or LF_MEANS[contrast])[2]
    sigma = white / snr if snr else 0.0
    real, imaginary = sigma * rng.normal(size=(2, *shape)).astype(np.float32)
    data = np.hypot(clean * smooth_bias(shape, bias, rng) + real, imaginary)
    return Acquired(f"acq-{plane}_{contrast}", contrast, plane, data, native, motion, zooms, sigma)


def acquire_session(
    image: np.ndarray,
    affine: np.ndarray,
    tissue: np.ndarray,
    rng: np.random.Generator,
    *,
    contrasts: Sequence[str] = ("T1w",),
    planes: Sequence[str] = ("axi", "cor", "sag"),
    motion_mm: float = 2.0,
    motion_deg: float = 2.0,
    **protocol: Any,
) -> list[Acquired]:
    """Every contrast in every plane, each stack moved by its own rigid transform of these magnitudes.

    ``protocol`` as of ``acquire_stack``.
    """
    centre = head_centre(image, affine)
    return [
        acquire_stack(
            image,
            affine,
            tissue,
            contrast,
            plane=plane,
            rng=rng,
            motion=random_rigid(rng, motion_mm, motion_deg, centre),
            **protocol,
        )
        for contrast in contrasts
        for plane in planes
    ]


def misaligned(
    session: Sequence[Acquired],
    rng: np.random.Generator,
    centre: np.ndarray,
    error_mm: float = 0.3,
    error_deg: float = 0.3,
) -> list[Stack]:
    """The package's stacks, each off by a random rigid error of these magnitudes, as after a registration."""
    return [scan.stack(random_rigid(rng, error_mm, error_deg, centre)) for scan in session]


def head_centre(image: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(3,) RAS+ mm: middle of the box around everything that is not background."""
    index = np.argwhere(image > 0.02 * image.max())
    return affine[:3, :3] @ ((index.min(axis=0) + index.max(axis=0)) / 2) + affine[:3, 3]


def phantom_head(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """((X, Y, Z) T1w-like image, (4, 4) affine, (3, X, Y, Z) posteriors): folded shells of CSF, GM, WM at 1 mm."""
    affine = np.eye(4)
    affine[:3, 3] = -(size - 1) / 2
    axes = (np.arange(size) - (size - 1) / 2) / (0.45 * size)
    x, y, z = np.meshgrid(axes, axes, axes, indexing="ij", sparse=True)
    radius = np.sqrt((x / 0.85) ** 2 + y**2 + (z / 0.9) ** 2)
    fold = ndimage.gaussian_filter(rng.normal(size=(size,) * 3), 3.0 * size / 100 + 1)
    radius = radius + 0.07 * fold / fold.std() * (radius > 0.3)
    edges = [np.clip((level - radius) * 0.45 * size + 0.5, 0, 1) for level in (1.0, 0.9, 0.72, 0.2)]
    outer, grey, white, ventricle = edges
    tissue = np.stack([outer - grey + ventricle, grey - white, white - ventricle]).astype(np.float32)
    texture = ndimage.gaussian_filter(rng.normal(size=(size,) * 3), 1.0)
    image = np.tensordot(np.array([0.25, 0.60, 1.0]), tissue, axes=1) * (1 + 0.04 * texture / texture.std())
    return image.astype(np.float32), affine, tissue


def brain_fit_psnr(image: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> float:
    """PSNR in dB inside ``mask`` after the least-squares gain and offset of ``image``; range = 99.9th percentile of the
    reference inside the mask."""
    truth = reference[mask].astype(np.float64)
    design = np.stack([image[mask].astype(np.float64), np.ones(truth.size)], axis=1)
    fitted = design @ np.linalg.lstsq(design, truth, rcond=None)[0]
    error = np.mean((fitted - truth) ** 2)
    return float(10 * np.log10(np.percentile(truth, 99.9) ** 2 / error))
