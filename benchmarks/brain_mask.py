"""Brain mask and tissue maps against label maps: heads drawn from SynthSeg's training labels, at 3 T and at 64 mT.

python benchmarks/brain_mask.py [--ids 2 5 9 14] [--contrast T1w] [--field high low] [--tilt 0] [--regions]

``--regions``: also the mask and the tissue that the bundled network of the regions implies; it learned from maps 1 to
12, so only 13 and 14 say something.

The truth is every label of the brain (ventricles included) plus the CSF (label 24) within ``CSF_REACH_MM`` of it:
sulci and cisterns count as brain, the wide spaces of an atrophied vault and the spinal canal do not. Dice against
the whole intracranial volume (all of label 24) and against tissue alone is printed beside it.
"""

import argparse
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bids_lfenhance.imaging.anatomy import Anatomy, find_anatomy
from bids_lfenhance.imaging.fusion import fuse_mean
from bids_lfenhance.imaging.grid import Grid, apply_affine, canonical_grid, resample, zooms_of
from bids_lfenhance.imaging.tissue import segment_tissue
from bids_lfenhance.imaging.volume import Stack
from bids_lfenhance.segmentation.segment import predictor, segment

LABEL_MAPS = Path(__file__).resolve().parents[2] / "shared" / "data" / "synthseg_label_maps"
TEST_IDS = (2, 5, 9, 14)
"""Held out: nothing was tuned on these four."""

CSF_REACH_MM = 3.0
CLASSES = {
    "CSF": (4, 5, 14, 15, 24, 43, 44, 72),
    "GM": (3, 8, 10, 11, 12, 13, 17, 18, 26, 42, 47, 49, 50, 51, 52, 53, 54, 58, 136, 137, 163, 164),
    "WM": (2, 7, 16, 28, 30, 41, 46, 60, 62, 77, 85, 25, 57),
}
MEANS = {
    # label group: T1w of SynthSeg's priors, then T2w and FLAIR tables of ours; mean, standard deviation inside
    "T1w": {"CSF": (44, 15), "GM": (96, 14), "WM": (160, 12), "deep": (125, 12), 507: (94, 40), 511: (113, 60)},
    "T2w": {"CSF": (210, 20), "GM": (120, 14), "WM": (85, 12), "deep": (105, 12), 507: (70, 35), 511: (90, 50)},
    "FLAIR": {"CSF": (35, 12), "GM": (130, 14), "WM": (105, 12), "deep": (120, 12), 507: (80, 35), 511: (85, 50)},
    "T1w-low": {"CSF": (50, 12), "GM": (100, 8), "WM": (135, 8), "deep": (118, 8), 507: (105, 40), 511: (110, 60)},
}
OUTER = {502: 60, 506: 18, 508: 110, 509: 70, 512: 70, 514: 50, 515: 28, 516: 90, 530: 140}
DEEP = (10, 12, 13, 16, 28, 49, 51, 52, 60)


def load_labels(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (I, J, K) int and their affine, one of SynthSeg's 14 heads."""
    image = nib.as_closest_canonical(nib.load(LABEL_MAPS / f"training_seg_{number:02d}.nii.gz"))
    return np.asarray(image.dataobj).round().astype(np.int16), image.affine


def tissue_of(labels: np.ndarray) -> np.ndarray:
    """(X, Y, Z) uint8: 1 CSF, 2 GM, 3 WM, 0 outside the brain."""
    table = np.zeros(600, np.uint8)
    for index, group in enumerate(CLASSES.values()):
        table[list(group)] = index + 1
    return table[labels]


def brain_of(labels: np.ndarray, reach: float = CSF_REACH_MM) -> np.ndarray:
    """(X, Y, Z) bool: brain, ventricles, and CSF within ``reach`` mm of them; one piece, gaps (sinuses) closed."""
    tissue = (labels > 0) & (labels < 500) & (labels != 24)
    near = ndimage.distance_transform_edt(~tissue) <= reach
    pieces, _ = ndimage.label(tissue | ((labels == 24) & near))
    whole = pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1
    grown = ndimage.distance_transform_edt(~whole) <= 2
    return ndimage.binary_fill_holes(ndimage.distance_transform_edt(grown) > 2)


def draw_head(labels: np.ndarray, contrast: str, rng: np.random.Generator, noise: float = 3.0) -> np.ndarray:
    """(X, Y, Z) float32: one intensity per label and texture in it, partial volume, smooth bias, Rician noise."""
    table = MEANS[contrast]
    mean, std = np.zeros(600), np.zeros(600)
    for name, group in CLASSES.items():
        mean[list(group)], std[list(group)] = table[name]
    mean[list(DEEP)], std[list(DEEP)] = table["deep"]
    for label, value in OUTER.items():
        mean[label], std[label] = value, 15
    for label in (507, 511):
        mean[label], std[label] = table[label]
    mean *= rng.uniform(0.93, 1.07, 600)
    texture = rng.standard_normal(labels.shape) + 3 * ndimage.gaussian_filter(rng.standard_normal(labels.shape), 1.5)
    clean = ndimage.gaussian_filter(mean[labels] + std[labels] * texture, 0.6)
    return rician(np.clip(clean, 0, None) * draw_bias(labels.shape, rng), noise, rng)


def draw_bias(shape: tuple[int, ...], rng: np.random.Generator, strength: float = 0.15) -> np.ndarray:
    """(X, Y, Z) float32 around 1: four random control points a side, cubic."""
    field = ndimage.zoom(rng.uniform(-strength, strength, (4, 4, 4)), [n / 4 for n in shape], order=3, mode="nearest")
    return np.exp(field).astype(np.float32)


def rician(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """The magnitude of the image with complex Gaussian noise, float32."""
    real = image + sigma * rng.standard_normal(image.shape)
    return np.hypot(real, sigma * rng.standard_normal(image.shape)).astype(np.float32)


def degrade_head(image: np.ndarray, grid: Grid, rng: np.random.Generator, snr: float = 15.0) -> np.ndarray:
    """(X, Y, Z) float32: three orthogonal stacks of 1.6 × 1.6 × 5 mm with Rician noise, fused by the plain mean."""
    stacks = []
    for axis in range(3):
        zooms = np.full(3, 1.6)
        zooms[axis] = 5.0
        low, high = grid.corners().min(axis=0), grid.corners().max(axis=0)
        affine = np.diag([*zooms, 1.0])
        affine[:3, 3] = low + zooms / 2
        i, j, k = (int(n) for n in (high - low) // zooms)
        blurred = ndimage.gaussian_filter(image, zooms / 2.355 / np.array(zooms_of(grid.affine)))
        stack = resample(blurred, grid.affine, Grid(affine, (i, j, k)), order=1)
        stack = rician(stack, float(np.percentile(stack, 95)) / snr, rng)
        stacks.append(Stack(str(axis), "T1w", stack, affine, affine, tuple(zooms), 1.0))
    return np.clip(fuse_mean(stacks, grid), 0, None)


def make_case(
    number: int, contrast: str, field: str, tilt: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Image (X, Y, Z) float32, labels (X, Y, Z) int and grid of one drawn head, tilted by up to ``tilt`` degrees."""
    labels, affine = load_labels(number)
    from scipy.spatial.transform import Rotation

    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-tilt, tilt, 3), degrees=True).as_matrix()
    affine = motion @ affine
    head = np.argwhere(labels > 0)
    grid = canonical_grid(apply_affine(affine, head[:: max(1, len(head) // 20000)].astype(float)))
    moved = resample(labels, affine, grid, order=0).round().astype(np.int16)
    low = field == "low"
    image = draw_head(
        moved, contrast + "-low" if low and contrast == "T1w" else contrast, rng, noise=1.0 if low else 3.0
    )
    return (degrade_head(image, grid, rng) if low else image), moved, grid


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """2 |A ∩ B| / (|A| + |B|), 1 for two empty masks."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def of_regions(image: np.ndarray, grid: Grid, anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """(X, Y, Z) bool mask, every region and the CSF next to them without holes, and uint8 tissue, of the network."""
    found = segment([image], grid, anatomy.mask, anatomy.warp, predictor("auto"))
    tissue = (found.labels > 0) & (found.labels != 24)
    near = ndimage.distance_transform_edt(~tissue, sampling=grid.zooms) <= CSF_REACH_MM
    return ndimage.binary_fill_holes(tissue | near & (found.labels == 24)), tissue_of(found.labels)


def measure_case(number: int, contrast: str, field: str, tilt: float, regions: bool) -> dict[str, float]:
    """Dice of the mask against three truths and of the tissues, volumes in ml, CPU seconds, of one drawn head."""
    image, labels, grid = make_case(number, contrast, field, tilt, np.random.default_rng(number))
    truth, tissue = brain_of(labels), tissue_of(labels)
    start = time.process_time()
    anatomy = find_anatomy(image, grid, contrast)
    middle = time.process_time()
    _, found = segment_tissue(image, anatomy.mask, anatomy.priors)
    end = time.process_time()
    inside = (labels > 0) & (labels < 500)
    row = {"brain": truth, "intracranial": inside, "noCSF": inside & (labels != 24)}
    figures = {name: dice(anatomy.mask, mask) for name, mask in row.items()}
    figures |= {name: dice(found == k + 1, (tissue == k + 1) & truth) for k, name in enumerate(CLASSES)}
    if regions:
        mask, labelled = of_regions(image, grid, anatomy)
        figures |= {f"regions-{name}": dice(mask, one) for name, one in row.items()}
        figures |= {
            f"regions-{name}": dice(labelled == k + 1, (tissue == k + 1) & truth) for k, name in enumerate(CLASSES)
        }
    figures |= {"trueMl": truth.sum() / 1e3, "maskMl": anatomy.mask.sum() / 1e3}
    return figures | {"maskCpu": middle - start, "tissueCpu": end - middle}


def main() -> None:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ids", type=int, nargs="+", default=list(TEST_IDS))
    parser.add_argument("--contrast", nargs="+", default=["T1w"])
    parser.add_argument("--field", nargs="+", default=["high", "low"])
    parser.add_argument("--tilt", type=float, default=0.0)
    parser.add_argument("--regions", action="store_true", help="the same of the network of the regions")
    args = parser.parse_args()
    for number in args.ids:
        for contrast in args.contrast:
            for field in args.field:
                row = measure_case(number, contrast, field, args.tilt, args.regions)
                figures = "  ".join(
                    f"{name} {value:.3f}" if value < 2 else f"{name} {value:.0f}" for name, value in row.items()
                )
                print(f"{number:02d} {contrast:5s} {field:4s} tilt {args.tilt:3.0f}: {figures}", flush=True)


if __name__ == "__main__":
    main()
