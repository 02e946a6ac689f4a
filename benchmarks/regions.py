"""The regions of real images never trained on: Dice against FreeSurfer, between contrasts, in a mirror; and the cost.

python benchmarks/regions.py [--weights FOLDER] [--only norm test_scan open_ms sub-11 head] [--no-flip]

``norm`` and ``test_scan`` are freesurfer_pairs against FreeSurfer's labels, as acquired and as SIMULATED low field (the
independent oracle of fidelity.py): the plain mean of the stacks, what ``fusionnet`` makes of them in each of its two
contrasts, and both together, as the pipeline does; where the brain lies is sought on the plain mean, as there.
``open_ms``: T1w, T2w and FLAIR of two people, each segmented for itself, Dice between each two. ``sub-11`` and ``head``
have no labels: against our own regions of their high field.
FreeSurfer's "CSF" is another thing than ours and is left out of every mean. Deep: thalamus, caudate, putamen, pallidum,
hippocampus, amygdala, both sides. Mirror: the image reversed left to right with its own registration, regions renamed:
Dice with the first answer, and the share of left regions' voxels more than 5 mm right of the middle, or the reverse.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nibabel as nib
import numpy as np

from benchmarks.fidelity import SHARED, TEST_SCAN_AFFINE, Case, make_case
from bids_lfenhance.imaging.anatomy import Anatomy, find_anatomy
from bids_lfenhance.imaging.bias import correct_bias, head_mask
from bids_lfenhance.imaging.grid import Grid, resample
from bids_lfenhance.imaging.warp import Warp
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.methods.restored import restore
from bids_lfenhance.resources import track_usage
from bids_lfenhance.segmentation.regions import channels_of_kinds, indices, kinds, mirrored_channels, regions
from bids_lfenhance.segmentation.segment import CSF, Predictor, Segmentation, predictor, segment
from bids_lfenhance.segmentation.warps import warp_to_template
from bids_lfenhance.simulators.source import COMMON_MM, common_place

DEEP = {10, 11, 12, 13, 17, 18, 49, 50, 51, 52, 53, 54}
BIG = {"white matter": {2, 41}, "cortex": {3, 42}}
CALLOSUM = range(251, 256)
LABELLED = ("norm", "test_scan")
KNOWN = [*LABELLED, "open_ms", "sub-11", "head"]


def ras(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, Grid]:
    """The image in RAS voxel order, cut to what is not zero and 16 voxels, and its grid."""
    image = nib.as_closest_canonical(nib.Nifti1Image(data, affine))
    array = np.asarray(image.dataobj)
    where = np.argwhere(array > 0)
    low = np.maximum(where.min(axis=0) - 16, 0)
    high = np.minimum(where.max(axis=0) + 17, array.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    moved = image.affine.copy()
    moved[:3, 3] = (image.affine @ [*low, 1])[:3]
    return array[box], Grid(moved, array[box].shape)


def together(image: np.ndarray, labels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Image and labels in RAS order on one grid."""
    seen, grid = ras(image.astype(np.float32), affine)
    start = np.rint(np.linalg.inv(nib.as_closest_canonical(nib.Nifti1Image(image, affine)).affine) @ grid.affine)[:3, 3]
    full = np.asarray(nib.as_closest_canonical(nib.Nifti1Image(labels.astype(np.int32), affine)).dataobj)
    box = tuple(slice(int(a), int(a) + n) for a, n in zip(start, grid.shape, strict=True))
    return seen, full[box], grid


def pair(data: Path, name: str) -> tuple[np.ndarray, np.ndarray, Grid]:
    """(T1w, FreeSurfer's numbers as they are, grid) of one of the two pairs."""
    folder = data / "freesurfer_pairs"
    if name == "norm":
        image, labels = (nib.MGHImage.from_filename(folder / file) for file in ("norm.mgz", "aparc.a2009s+aseg.mgz"))
        return together(np.asarray(image.dataobj, np.float32), np.asarray(labels.dataobj), image.affine)
    with np.load(folder / "test_scan.npz") as file:
        image, labels = file["vol"].astype(np.float32), file["seg"]
    return together(image, labels, TEST_SCAN_AFFINE)


def truth_of(labels: np.ndarray, grid: Grid) -> np.ndarray:
    """(X, Y, Z) channels of FreeSurfer's labels; its parcels are cortex, the callosum is white matter of its side."""
    labels = np.rint(labels).astype(np.int64)
    left = np.where(labels // 1000 == 11, 3, np.where(labels // 1000 == 12, 42, labels))
    middle = np.argwhere(np.isin(labels, (10, 49))).mean(axis=0)[0]
    side = np.where(np.arange(grid.shape[0]) < middle, 2, 41)[:, None, None]  # RAS: low is left
    left = np.where(np.isin(left, [*CALLOSUM, 77, 80]), side, left)
    kind = np.zeros(int(left.max()) + 1, np.uint8)
    for place, one in enumerate(kinds(), start=1):
        kind[[label for label in one.labels if label < kind.size]] = place
    return channels_of_kinds()[kind[left]]


def dice(first: np.ndarray, second: np.ndarray) -> dict[int, float]:
    """Dice by FreeSurfer's number of two label images; NaN where both lack a region."""
    found = {}
    for region in regions():
        a, b = first == region.index, second == region.index
        size = a.sum() + b.sum()
        found[region.index] = 2 * float((a & b).sum()) / size if size else float("nan")
    return found


def row(name: str, scores: dict[int, float]) -> None:
    """One line of the table."""

    def mean(wanted: set[int]) -> str:
        return f"{np.nanmean([scores[index] for index in wanted]):.3f}"

    everything = set(scores) - {CSF}
    cells = [mean(everything), mean(DEEP), *(mean(one) for one in BIG.values())]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def by_region(columns: dict[str, dict[int, float]]) -> None:
    """Dice of every region in every image."""
    print(f"\n| region | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for region in regions():
        values = [f"{scores[region.index]:.3f}" for scores in columns.values()]
        print(f"| {region.name} | {' | '.join(values)} |")
    print(flush=True)


def look(
    image: np.ndarray,
    grid: Grid,
    anatomy: Anatomy,
    predict: Predictor,
    flip: bool,
    warp: Warp | None = None,
    also: Sequence[np.ndarray] = (),
) -> Segmentation:
    """The regions, through a warp of the image's own unless one is given, and on stderr what they cost.

    ``also``: images that are segmented together with it.
    """
    with track_usage() as usage:
        warp = warp or warp_to_template(np.maximum(image, 0), grid, anatomy.warp.affine)
        found = segment([image, *also], grid, anatomy.mask, warp, predict, flip=flip)
    shape = "x".join(map(str, found.posteriors.shape[1:]))
    cost = f"{usage.cpu_seconds:.0f} CPU s, {usage.seconds:.0f} s, peak {usage.peak_memory_mib:.0f} MiB, seen {shape}"
    print(f"  cost: {cost}", file=sys.stderr, flush=True)
    return found


def low_field(data: Path, name: str, planes: str) -> tuple[dict[str, list[np.ndarray]], Case]:
    """(The plain mean of simulated stacks and what the default method makes of them, by how; the session)."""
    scanner = {"snr": 15.0, "error_mm": 0.3, "error_deg": 0.3, "seed": 0}
    case = make_case(data, name, argparse.Namespace(contrasts=["T1w"], planes=planes.split("+"), **scanner))
    method = get_method("fusionnet")
    sampling = method.about.sampling()
    enhanced = enhance(case.volume, method, sampling, np.random.default_rng(0)).image[0]
    restored = restore(case.volume, sampling)
    assert restored is not None
    images = {
        "plain mean": [case.volume.image[0]],
        "fusionnet": [enhanced],
        "fusionnet, contrast of high field": [restored.image[0]],
        "fusionnet, both contrasts": [enhanced, restored.image[0]],
    }
    return images, case


def mirror(image: np.ndarray, grid: Grid, known: Anatomy, first: Segmentation, predict: Predictor, flip: bool) -> None:
    """What the image in a mirror is cut into."""
    anatomy = find_anatomy(image[::-1], grid, "T1w")
    found = look(image[::-1], grid, anatomy, predict, flip)
    renamed = np.zeros(256, np.uint8)
    renamed[indices()] = indices()[mirrored_channels()]
    row("mirror image against the first answer", dice(renamed[found.labels][::-1], first.labels))
    for name, result, where in (("as it is", first, known), ("mirrored", found, anatomy)):
        share = wrong_side(result, common_place(where.warp.affine, grid))
        print(f"| {name}: share of voxels on the wrong side | {share:.5f} | | | |", flush=True)


def wrong_side(found: Segmentation, place: np.ndarray) -> float:
    """Share of the voxels of sided regions more than 5 mm beyond the middle of common space."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in found.labels.shape), indexing="ij", sparse=False))
    x = COMMON_MM * (np.tensordot(place[0, :3], index, 1) + place[0, 3])
    left = np.isin(found.labels, [r.index for r in regions() if r.name.startswith("left")])
    right = np.isin(found.labels, [r.index for r in regions() if r.name.startswith("right")])
    wrong = (left & (x > 5)) | (right & (x < -5))
    return float(wrong.sum() / max(1, (left | right).sum()))


def freesurfer(data: Path, name: str, predict: Predictor, flip: bool) -> None:
    """One real T1w against FreeSurfer, as acquired, in the mirror, and as low field."""
    image, labels, grid = pair(data, name)
    truth = indices()[truth_of(labels, grid)]
    anatomy = find_anatomy(image, grid, "T1w")
    first = look(image, grid, anatomy, predict, flip)
    columns = {"as acquired": dice(first.labels, truth)}
    row(f"{name}, as acquired", columns["as acquired"])
    mirror(image, grid, anatomy, first, predict, flip)
    for planes in ("axi", "axi+cor+sag"):
        images, case = low_field(data, name, planes)
        place = case.volume.grid
        there, brain = resample(truth, grid.affine, place, order=0), find_anatomy(images["plain mean"][0], place, "T1w")
        for how, (one, *also) in images.items():
            found = look(one, place, brain, predict, flip, also=also)
            columns[f"{planes}, {how}"] = dice(found.labels, there)
            row(f"{name}, {planes} at 64 mT (simulated), {how}", columns[f"{planes}, {how}"])
    by_region(columns)


def unlabelled(data: Path, name: str, predict: Predictor, flip: bool) -> None:
    """One axial stack of a head that has no labels, against our own regions of its high field."""
    images, case = low_field(data, name, "axi")
    place, high = case.volume.grid, case.truth["T1w"]
    truth = look(high, place, find_anatomy(high, place, "T1w"), predict, flip).labels
    brain = find_anatomy(images["plain mean"][0], place, "T1w")
    for how, (one, *also) in images.items():
        found = look(one, place, brain, predict, flip, also=also)
        row(f"{name}, axi at 64 mT (simulated), {how}, against ours of high field", dice(found.labels, truth))


def open_ms(data: Path, predict: Predictor, flip: bool) -> None:
    """Three contrasts of one brain against each other."""
    for folder in sorted((data / "open_ms" / "cross_sectional").glob("patient*")):
        images = {}
        for contrast in ("T1", "T2", "FLAIR"):
            image = nib.as_closest_canonical(nib.load(folder / f"{contrast}.nii.gz"))
            images[contrast] = np.maximum(np.asarray(image.dataobj, np.float32), 0)
            grid = Grid(image.affine, image.shape)
        images = {n: correct_bias(one, grid.affine, head_mask(one, grid.affine))[0] for n, one in images.items()}
        anatomy = find_anatomy(images["T1"], grid, "T1w")
        warp = warp_to_template(images["T1"], grid, anatomy.warp.affine)
        found = {name: look(one, grid, anatomy, predict, flip, warp).labels for name, one in images.items()}
        columns = {f"{a}–{b}": dice(found[a], found[b]) for a, b in combinations(found, 2)}
        for name, scores in columns.items():
            row(f"{folder.name}, {name}", scores)
        by_region(columns)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="auto", help="folder of a training, file, or name (default: the bundled)")
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--only", nargs="+", default=KNOWN, choices=KNOWN)
    parser.add_argument("--no-flip", action="store_true", help="one look instead of the mean of two")
    given = parser.parse_args()
    predict = predictor(given.weights)
    print("| image | all but CSF | deep | white matter | cortex |\n|---|---|---|---|---|", flush=True)
    for name in given.only:
        if name == "open_ms":
            open_ms(given.data, predict, not given.no_flip)
        else:
            compare = freesurfer if name in LABELLED else unlabelled
            compare(given.data, name, predict, not given.no_flip)


if __name__ == "__main__":
    main()
