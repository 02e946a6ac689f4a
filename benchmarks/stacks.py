"""What each stack of a session is worth to the estimate, on SIMULATED low field (independent oracle).

python benchmarks/stacks.py norm [--out benchmarks/results/stacks.tsv]

A row for every set of the axial, coronal and sagittal stack: brain-fit PSNR / SSIM of plain mean and estimate, as
estimate.py has them. Then the axial stack with a coronal one that shows the right half of the head alone: PSNR of each
half, with that stack and without it. Subjects as of fidelity.py.
"""

import argparse
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.estimate import report
from benchmarks.fidelity import SHARED, Case, brain_fit_ssim, make_case
from bids_lfenhance.imaging.fusion import fuse_mean
from bids_lfenhance.imaging.grid import apply_affine
from bids_lfenhance.imaging.volume import Stack, volume_from_channels
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.enhance import enhance
from tests import oracle

PLANES = ("axi", "cor", "sag")


def with_stacks(case: Case, stacks: tuple[Stack, ...]) -> Case:
    """The session with these stacks alone; its brain mask stays, so that nothing else differs."""
    volume = volume_from_channels(case.volume.grid, {"T1w": fuse_mean(list(stacks), case.volume.grid)}, stacks)
    return replace(case, volume=replace(volume, mask=case.volume.mask, tissue=case.volume.tissue))


def estimated(case: Case) -> np.ndarray:
    """(X, Y, Z) the default method's T1w."""
    method = get_method("fusionnet")
    return enhance(case.volume, method, method.about.sampling(), np.random.default_rng(0)).image[0]


def right_half(stack: Stack, middle: float) -> Stack:
    """The smallest part of the stack, cut along its own axes, that shows what lies right of ``middle``, mm."""
    side = np.abs(stack.affine[0, :3]).argmax()
    ends = np.zeros((stack.data.shape[side], 3))
    ends[:, side] = np.arange(len(ends))
    keep = np.flatnonzero(apply_affine(stack.affine, ends)[:, 0] > middle)
    affines = [one @ _shift(side, int(keep[0])) for one in (stack.affine, stack.native_affine)]
    return replace(stack, data=stack.data.take(keep, axis=side), affine=affines[0], native_affine=affines[1])


def _shift(axis: int, voxels: int) -> np.ndarray:
    matrix = np.eye(4)
    matrix[axis, 3] = voxels
    return matrix


def halves(case: Case, image: np.ndarray) -> dict[str, float]:
    """PSNR of the left and right half of the brain, each with one gain and offset of its own."""
    x = apply_affine(case.volume.grid.affine, np.argwhere(case.brain))[:, 0]
    right = np.zeros_like(case.brain)
    right[case.brain] = x > np.median(x)
    parts = {"left": case.brain & ~right, "right": right}
    return {name: oracle.brain_fit_psnr(image, case.truth["T1w"], part) for name, part in parts.items()}


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("subject")
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--out", type=Path, help="table of tab-separated values that the rows are added to")
    given = parser.parse_args()
    scanner = {"snr": 15.0, "error_mm": 0.3, "error_deg": 0.3, "seed": 0}
    case = make_case(given.data, given.subject, argparse.Namespace(contrasts=["T1w"], planes=list(PLANES), **scanner))
    by_plane = dict(zip(PLANES, case.volume.stacks, strict=True))
    images: dict[tuple[str, ...], np.ndarray] = {}
    for names in (names for size in (1, 2, 3) for names in combinations(PLANES, size)):
        part = with_stacks(case, tuple(by_plane[name] for name in names))
        images[names] = estimated(part)
        figures: dict[str, float] = {}
        for name, one in (("mean", part.volume.image[0]), ("estimate", images[names])):
            figures[f"{name}_psnr"] = oracle.brain_fit_psnr(one, case.truth["T1w"], case.brain)
            figures[f"{name}_ssim"] = brain_fit_ssim(one, case.truth["T1w"], case.brain)
        report({"subject": given.subject, "planes": "+".join(names)}, figures, given.out)
    x = apply_affine(case.volume.grid.affine, np.argwhere(case.brain))[:, 0]
    half = right_half(by_plane["cor"], float(np.median(x)))
    mixed = estimated(with_stacks(case, (by_plane["axi"], half)))
    for name, one in (("axi", images[("axi",)]), ("axi+right half of cor", mixed), ("axi+cor", images[("axi", "cor")])):
        report({"subject": given.subject, "halves with": name}, halves(case, one), None)


if __name__ == "__main__":
    main()
