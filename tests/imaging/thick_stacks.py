"""Thick stacks of a head at known positions, by code that shares nothing with the package (box-car, Rician noise).

Used by test_registration.py, test_preprocess.py and benchmarks/registration.py.
"""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

PLANES = {"axi": (1.6, 1.6, 5.0), "cor": (1.6, 5.0, 1.6), "sag": (5.0, 1.6, 1.6), "iso": (2.3, 2.3, 2.3)}
"""Voxel sizes of ds006557's 64 mT stacks, mm along right, anterior, superior."""


@dataclass(frozen=True)
class Moved:
    """A stack as the scanner writes it, and where its voxels truly are: ``truth`` (4, 4) voxel → mm of the head."""

    name: str
    contrast: str
    plane: str
    image: nib.Nifti1Image
    truth: np.ndarray


def rigid(rng: np.random.Generator, degrees: float, mm: float, centre: np.ndarray) -> np.ndarray:
    """(4, 4) rotation by exactly ``degrees`` about a random axis through ``centre``, then a shift of exactly ``mm``."""
    axis, shift = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    angle = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + mm * shift
    return matrix


def scan(
    head: np.ndarray,
    affine: np.ndarray,
    plane: str,
    motion: np.ndarray,
    rng: np.random.Generator,
    snr: float = 15.0,
    bias: float = 0.2,
    step: float = 0.8,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Magnitude data (I, J, K), header affine (4, 4) and true affine (4, 4) of one stack.

    Each voxel is the mean of the head over a box of the voxel's size, sampled every ~``step`` mm.
    """
    zooms = np.array(PLANES[plane])
    inside = np.argwhere(head > 0.05 * np.percentile(head, 99.5))
    ends = inside.min(axis=0), inside.max(axis=0)
    corners = np.array([affine[:3, :3] @ e + affine[:3, 3] for e in ends])
    low, high = corners.min(axis=0) - 18, corners.max(axis=0) + 18
    shape = np.ceil((high - low) / zooms).astype(int)
    header = np.diag([*zooms, 1.0])
    header[:3, 3] = low + zooms / 2
    truth = motion @ header
    to_voxel = np.linalg.inv(affine) @ truth
    counts = np.maximum(1, np.round(zooms / step)).astype(int)
    total = np.zeros(shape)
    smooth = np.asarray(head, np.float32)
    for offset in np.ndindex(*counts):
        shift = (np.array(offset) + 0.5) / counts - 0.5
        origin = to_voxel[:3, :3] @ shift + to_voxel[:3, 3]
        total += ndimage.affine_transform(smooth, to_voxel[:3, :3], origin, output_shape=tuple(shape), order=1)
    data = total / counts.prod()
    level = data[data > 0.2 * np.percentile(data, 99)].mean()
    ramp = [np.linspace(-1, 1, n) for n in shape]
    x, y, z = np.meshgrid(*ramp, indexing="ij", sparse=True)
    a, b, c, d = rng.uniform(-bias, bias, 4)
    data = data * np.exp(a * x + b * y + c * z + d * (x**2 + y**2 + z**2))
    sigma = level / snr
    noise = rng.normal(0, sigma, (2, *shape))
    return np.hypot(data + noise[0], noise[1]).astype(np.float32), header, truth


def session(
    heads: dict[str, np.ndarray],
    affine: np.ndarray,
    rng: np.random.Generator,
    planes: tuple[str, ...] = ("axi", "cor", "sag"),
    degrees: float = 10.0,
    mm: float = 10.0,
    snr: float = 15.0,
    still: bool = False,
    step: float = 0.8,
) -> list[Moved]:
    """The stacks of one session, each moved by its own rigid transform of at most ``degrees`` and ``mm``.

    ``still``: the first stack of each contrast does not move.
    """
    stacks = []
    for contrast, head in heads.items():
        centre = affine[:3, :3] @ np.array(ndimage.center_of_mass(head)) + affine[:3, 3]
        for number, plane in enumerate(planes):
            size = rng.uniform(0, 1, 2) * (not (still and number == 0))
            motion = rigid(rng, degrees * size[0], mm * size[1], centre)
            data, header, truth = scan(head, affine, plane, motion, rng, snr=snr, step=step)
            image = nib.Nifti1Image(data, header)
            image.header.set_xyzt_units("mm")
            stacks.append(Moved(f"acq-{plane}_{contrast}", contrast, plane, image, truth))
    return stacks


def head_points(head: np.ndarray, affine: np.ndarray, rng: np.random.Generator, n: int = 500) -> np.ndarray:
    """(n, 3) random points inside the head, mm."""
    inside = np.argwhere(ndimage.binary_fill_holes(head > 0.15 * np.percentile(head, 99)))
    chosen = inside[rng.choice(len(inside), n)]
    return chosen @ affine[:3, :3].T + affine[:3, 3]


def errors(found: list[np.ndarray], truths: list[np.ndarray], points: np.ndarray, common: int | None) -> np.ndarray:
    """(S, N) mm: how far the found position of the tissue at each point lies from the true one.

    ``found``, ``truths``: voxel → mm of each stack. ``common``: the stack whose own frame is the frame of the answer,
    None where it is the frame of the head.
    """
    frame = np.eye(4) if common is None else found[common] @ np.linalg.inv(truths[common])
    out = []
    for guess, truth in zip(found, truths, strict=True):
        delta = np.linalg.inv(frame) @ guess @ np.linalg.inv(truth)
        out.append(np.linalg.norm(points @ delta[:3, :3].T + delta[:3, 3] - points, axis=1))
    return np.array(out)


def load_canonical(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Data (X, Y, Z) float32, non-negative, and affine of an image turned to RAS."""
    image = nib.as_closest_canonical(nib.load(path))
    return np.maximum(np.asarray(image.dataobj, dtype=np.float32), 0), image.affine


CLASSES = {
    "CSF": (4, 5, 14, 15, 24, 43, 44, 72),
    "GM": (3, 8, 17, 18, 26, 42, 47, 53, 54, 58),
    "deep": (10, 11, 12, 13, 49, 50, 51, 52, 28, 60, 16),
    "WM": (2, 7, 41, 46, 77, 85),
}
"""FreeSurfer labels by tissue; every other label is outside the brain."""

LEVELS = {
    "T1w": {"CSF": 40, "GM": 95, "deep": 120, "WM": 150},
    "T2w": {"CSF": 210, "GM": 120, "deep": 100, "WM": 85},
    "FLAIR": {"CSF": 35, "GM": 130, "deep": 115, "WM": 105},
}


def drawn_head(path: Path, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A whole head in three contrasts, (X, Y, Z) each, aligned by construction, and its affine; from a label map.

    Tissues of the brain have the usual order of grey; everything else gets its own random level in every contrast.
    A smooth texture, its own for each contrast, keeps the regions from being flat.
    """
    image = nib.as_closest_canonical(nib.load(path))
    labels = np.asarray(image.dataobj).astype(int)
    heads = {}
    for contrast, levels in LEVELS.items():
        table = np.zeros(labels.max() + 1)
        for label in np.unique(labels)[1:]:
            tissue = next((t for t, members in CLASSES.items() if label in members), None)
            table[label] = rng.uniform(20, 160) if tissue is None else levels[tissue]
        texture = ndimage.zoom(rng.normal(0, 1, [n // 4 for n in labels.shape]).astype(np.float32), 4, order=1)
        heads[contrast] = ndimage.gaussian_filter(table[labels].astype(np.float32), 0.6) * (1 + 0.06 * texture)
    return heads, image.affine


def full(head: np.ndarray, affine: np.ndarray, rng: np.random.Generator, still: bool = False) -> Moved:
    """The head itself as a scan of high resolution, little noise, its header displaced unless ``still``."""
    centre = affine[:3, :3] @ np.array(ndimage.center_of_mass(head)) + affine[:3, 3]
    motion = np.eye(4) if still else rigid(rng, rng.uniform(0, 10), rng.uniform(0, 10), centre)
    data = np.hypot(head + rng.normal(0, 3, head.shape), rng.normal(0, 3, head.shape)).astype(np.float32)
    return Moved("full", "T1w", "iso", nib.Nifti1Image(data, np.linalg.inv(motion) @ affine), affine)
