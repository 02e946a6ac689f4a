"""Target registration error of thick stacks moved by known rigid transforms, beside ANTs' rigid registrations.

python benchmarks/registration.py [--seeds 5] [--only inside,...] [--ants]   (needs ../shared/data; ~10 CPU-minutes
without --ants, which needs antspyx)

Stacks: tests/imaging/thick_stacks.py (box-car slices, ± 20 % bias, Rician noise of SNR 15), each moved by its own
transform of at most 10° and 10 mm; error at 500 random points inside the head. Tables: ``inside`` one session, one
contrast, on its reference stack; ``paired`` the whole of prepare_session on to a high field that lies up to 20° and
30 mm away; ``cross`` across contrasts, on heads drawn from label maps, whose two contrasts are aligned by construction.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# ITK reads this once; with more threads its sums, and so its answers, change from run to run.
os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nibabel as nib
import numpy as np

from bids_lfenhance.imaging.bias import head_mask
from bids_lfenhance.imaging.grid import zooms_of
from bids_lfenhance.imaging.preprocess import prepare_reference, prepare_session
from bids_lfenhance.imaging.registration import RegistrationImage, align, make_registration_image
from tests.imaging import thick_stacks as ts

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
HEADS = {
    "head with skull, T1w": "heads/otsu_T1_head.nii.gz",
    "head with skull, FLAIR": "heads/FLAIR.nii.gz",
    "brain, T1w (ds002748)": "ds002748/sub-01/anat/sub-01_T1w.nii.gz",
    "brain, T2w (open_ms)": "open_ms/cross_sectional/patient19/T2.nii.gz",
}
LABEL_MAPS = ("training_seg_01.nii.gz", "training_seg_04.nii.gz", "training_seg_12.nii.gz")


def registration_image(data: np.ndarray, affine: np.ndarray) -> RegistrationImage:
    return make_registration_image(data, affine, head_mask(data, affine))


def ours(moving: ts.Moved, fixed: ts.Moved, cross_contrast: bool) -> np.ndarray:
    first, second = (registration_image(s.image.get_fdata(dtype=np.float32), s.image.affine) for s in (moving, fixed))
    return align(first, second, cross_contrast=cross_contrast).pose


def ants_image(data: np.ndarray, affine: np.ndarray) -> Any:
    """An image (I, J, K) with its ``affine`` (4, 4), RAS+ mm, as ANTs has it, in LPS+ mm."""
    import ants

    zooms, flip = zooms_of(affine), np.diag([-1.0, -1.0, 1.0])
    direction = flip @ affine[:3, :3] / np.array(zooms)
    return ants.from_numpy(data, origin=list(flip @ affine[:3, 3]), spacing=list(zooms), direction=direction)


def ants_rigid(kind: str) -> Callable[[ts.Moved, ts.Moved, bool], np.ndarray]:
    def run(moving: ts.Moved, fixed: ts.Moved, cross_contrast: bool) -> np.ndarray:
        import ants

        images = [ants_image(s.image.get_fdata(dtype=np.float32), s.image.affine) for s in (fixed, moving)]
        found = ants.registration(*images, type_of_transform=kind, random_seed=1)
        transform = ants.read_transform(found["fwdtransforms"][0])
        numbers, centre = np.array(transform.parameters), np.array(transform.fixed_parameters)
        pull = np.eye(4)
        pull[:3, :3] = numbers[:9].reshape(3, 3)
        pull[:3, 3] = numbers[9:] + centre - pull[:3, :3] @ centre
        flip = np.diag([-1.0, -1.0, 1.0, 1.0])
        return np.linalg.inv(flip @ pull @ flip)

    return run


def row(label: str, errors: np.ndarray, seconds: float) -> None:
    """One line: median and 95th percentile over stacks and points, the worst stack's median, the worst point."""
    worst = np.median(errors, axis=-1).max()
    print(
        f"{label:58s} {np.median(errors):7.3f} {np.percentile(errors, 95):7.3f} {worst:7.3f} {errors.max():7.3f}"
        f" {seconds:8.1f}",
        flush=True,
    )


def inside(seeds: int, with_ants: bool) -> None:
    programs: dict[str, Callable[[ts.Moved, ts.Moved, bool], np.ndarray]] = {"ours": ours}
    if with_ants:
        programs |= {"ants Rigid": ants_rigid("Rigid"), "ants QuickRigid": ants_rigid("QuickRigid")}
    for label, path in HEADS.items():
        head, affine = ts.load_canonical(SHARED / path)
        for program, run in programs.items():
            errors, seconds = [], 0.0
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                stacks = ts.session({"T1w": head}, affine, rng, ("axi", "cor", "sag", "iso"))
                points = ts.head_points(head, affine, rng)
                start = time.process_time()
                found = [
                    s.image.affine if n == 0 else run(s, stacks[0], False) @ s.image.affine
                    for n, s in enumerate(stacks)
                ]
                seconds += time.process_time() - start
                errors.append(ts.errors(found, [s.truth for s in stacks], points, 0)[1:])
            row(f"inside · {label} · {program}", np.concatenate(errors), seconds / (3 * seeds))


def paired(seeds: int) -> None:
    for patient in ("patient19", "patient26"):
        folder = SHARED / "open_ms" / "cross_sectional" / patient
        heads = {f"{c}w": ts.load_canonical(folder / f"{c}.nii.gz") for c in ("T1", "T2")}
        affine = heads["T1w"][1]
        images = [(f"{c}.nii.gz", c, nib.Nifti1Image(data, affine)) for c, (data, _) in heads.items()]
        start = time.process_time()
        reference, xfms, _ = prepare_reference(images)
        spent = time.process_time() - start
        errors: dict[str, list[np.ndarray]] = {c: [] for c in heads}
        seconds = 0.0
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            stacks = ts.session({c: data for c, (data, _) in heads.items()}, affine, rng)
            points = ts.head_points(heads["T1w"][0], affine, rng)
            away = ts.rigid(rng, rng.uniform(0, 20), rng.uniform(0, 30), points.mean(axis=0))
            scans = [
                (s.name, s.contrast, s.plane, nib.Nifti1Image(s.image.get_fdata(), away @ s.image.affine))
                for s in stacks
            ]
            start = time.process_time()
            volume, _ = prepare_session(scans, reference)
            seconds += time.process_time() - start
            for contrast in heads:
                truths = [xfms[contrast] @ s.truth for s in stacks if s.contrast == contrast]
                errors[contrast].append(ts.errors([s.affine for s in volume.stacks_of(contrast)], truths, points, None))
        for contrast, found in errors.items():
            row(f"paired · {patient} · {contrast}, 6 stacks → 3 T", np.concatenate(found), seconds / seeds)
        print(f"  prepare_reference {spent:.1f} CPU-s")


def cross(seeds: int, with_ants: bool) -> None:
    programs = {"ours": ours} | ({"ants Rigid": ants_rigid("Rigid")} if with_ants else {})
    for kind in (
        "1 mm T1w → 1 mm T2w",
        "1 mm FLAIR → 1 mm T2w",
        "64 mT T1w axi → 1 mm T2w",
        "64 mT T1w axi → 64 mT T2w cor",
    ):
        for program, run in programs.items():
            errors, seconds = [], 0.0
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                heads, affine = ts.drawn_head(SHARED / "synthseg_label_maps" / LABEL_MAPS[seed % len(LABEL_MAPS)], rng)
                points = ts.head_points(heads["T1w"], affine, rng)
                moving = ts.full(heads["FLAIR" if "FLAIR" in kind else "T1w"], affine, rng)
                fixed = ts.full(heads["T2w"], affine, rng, still=True)
                if kind.startswith("64"):
                    moving = ts.session({"T1w": heads["T1w"]}, affine, rng, ("axi",))[0]
                if kind.endswith("cor"):
                    fixed = ts.session({"T2w": heads["T2w"]}, affine, rng, ("cor",))[0]
                start = time.process_time()
                found = [fixed.image.affine, run(moving, fixed, True) @ moving.image.affine]
                seconds += time.process_time() - start
                errors.append(ts.errors(found, [fixed.truth, moving.truth], points, 0)[1:])
            row(f"cross · {kind} · {program}", np.concatenate(errors), seconds / seeds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="inside,paired,cross")
    parser.add_argument("--ants", action="store_true", help="also ants Rigid and QuickRigid (~40 CPU-s a pair)")
    options = parser.parse_args()
    chosen = options.only.split(",")
    print(
        f"{'target registration error, mm':58s} {'median':>7s} {'95 %':>7s} {'stack':>7s} {'worst':>7s} {'CPU-s':>8s}"
    )
    if "inside" in chosen:
        inside(options.seeds, options.ants)
    if "paired" in chosen:
        paired(options.seeds)
    if "cross" in chosen:
        cross(options.seeds, options.ants)


if __name__ == "__main__":
    main()
