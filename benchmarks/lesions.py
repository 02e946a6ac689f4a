"""Lesions through the learned estimate, on SIMULATED low field (independent oracle).

python benchmarks/lesions.py real patient26 --contrasts T1w T2w FLAIR --planes axi axi+cor+sag [--out TABLE]
python benchmarks/lesions.py planted norm sub-11 --planes axi axi+cor+sag [--target-contrast own] [--out TABLE]
python benchmarks/lesions.py large norm sub-12 --target-contrast own [--picture FILE] [--out TABLE]
python benchmarks/lesions.py drawn patient26 --method cssdiff --draws 5 --contrasts T1w T2w --planes axi+cor+sag

``real``: lesions outlined in a person of open_ms. Contrast = (mean of the lesions − mean of the white matter around
them) / that mean, in high field, in the plain mean of the stacks and in the estimate. ``planted``: cubes, crosses and
shells of 2 to 12 mm, brighter and darker than the white matter they lie in, put into high field before it is acquired.
Each session is made twice, with and without them; what is kept = the sum over a lesion of the difference that they make
to the estimate / the same of the plain mean. ``large``: a ball of 44 mm in one half of the brain (dark core, bright
rim, grey oedema, as of a tumour) and a cavity of 36 mm that opens to the surface of the other, put into high field;
contrast of each part as above, to undisturbed white matter, and the share of it inside the brain mask that is found.
``drawn``: the contrast of real lesions in draws of a method, over that in the estimate; and "grown", the share of
healthy places (balls of 5 mm deep in white matter, in each draw) that differ from the white matter around them by more
than half the contrast of the lesions. Subjects as of fidelity.py.
"""

import argparse
import sys
from pathlib import Path
from typing import get_args

import nibabel as nib
import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.estimate import report
from benchmarks.fidelity import SHARED, Case, high_field, make_case
from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.imaging.grid import Grid, resample
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.methods.options import TargetContrast
from tests import oracle

SIZES_MM = (12, 8, 6, 4, 3, 2)
KINDS = {"bright": 0.5, "dark": -0.35}
"""What a planted lesion adds to high field, as a share of its white matter."""

APART_MM = 10.0
RING = (2, 5)
"""Voxels from a real lesion between which the white matter around it is taken."""

TUMOUR_MM, CAVITY_MM = (11, 15, 22), 18
"""Radii of core, rim and oedema of a large lesion, and of a cavity, uneven by some mm."""

LARGE = {"core": 0.25, "rim": 1.15, "oedema": 0.6, "cavity": 0.2}
"""Their intensity at high field, T1w after contrast agent, as a share of white matter."""

HEALTHY, BALL = 20, 2.5
"""Healthy places where a draw may grow a lesion, and their radius in mm."""

SEED = 3


def estimated(case: Case, target: TargetContrast) -> np.ndarray:
    """(C, X, Y, Z) the image of the default method."""
    method = get_method("fusionnet")
    sampling = method.about.sampling(target_contrast=target)
    return enhance(case.volume, method, sampling, np.random.default_rng(0)).image


def session(given: argparse.Namespace, planes: str, contrasts: list[str]) -> argparse.Namespace:
    scanner = {"snr": 15.0, "error_mm": 0.3, "error_deg": 0.3, "seed": 0}
    return argparse.Namespace(contrasts=contrasts, planes=planes.split("+"), **scanner)


def contrast_of(image: np.ndarray, lesion: np.ndarray, around: np.ndarray) -> float:
    return float(image[lesion].mean() / image[around].mean() - 1)


def outlined_lesions(given: argparse.Namespace, subject: str, case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(X, Y, Z) bool each: the lesions, the white matter around them, all white matter."""
    file = given.data / "open_ms" / "cross_sectional" / subject / "lesions.nii.gz"
    outlined = nib.Nifti1Image.from_filename(file)
    lesion = resample(np.asarray(outlined.dataobj, np.float32), outlined.affine, case.volume.grid, order=1) > 0.5
    white = oracle.tissue_by_intensity(case.truth["T1w"], case.brain & ~lesion)[2] > 0.8
    distance = ndimage.distance_transform_edt(~lesion)
    return lesion, white & (distance > RING[0]) & (distance <= RING[1]), white


def real(given: argparse.Namespace, subject: str, planes: str) -> None:
    case = make_case(given.data, subject, session(given, planes, given.contrasts))
    lesion, around, _ = outlined_lesions(given, subject, case)
    image = estimated(case, given.target_contrast)
    for contrast in given.contrasts:
        channel = CONTRASTS.index(contrast)
        images = {"high": case.truth[contrast], "mean": case.volume.image[channel], "estimate": image[channel]}
        figures = {name: contrast_of(one, lesion, around) for name, one in images.items()}
        about = {"subject": subject, "planes": planes, "kind": "real", "contrast": contrast}
        report(about, figures | {"kept": figures["estimate"] / figures["mean"]}, given.out)


def drawn(given: argparse.Namespace, subject: str, planes: str) -> None:
    case = make_case(given.data, subject, session(given, planes, given.contrasts))
    lesion, around, white = outlined_lesions(given, subject, case)
    method = get_method(given.method)
    prepared = method.prepare(case.volume, method.about.sampling(target_contrast=given.target_contrast))
    made = [method.sample(prepared, np.random.default_rng(seed)) for seed in range(given.draws)]
    healthy = white & (ndimage.distance_transform_edt(~lesion) > APART_MM)
    balls = [
        ndimage.distance_transform_edt(~_at(point, white.shape))
        for point in places(healthy, HEALTHY, np.random.default_rng(SEED))
    ]
    for contrast in given.contrasts:
        channel = CONTRASTS.index(contrast)
        image = made[0].image[channel]
        draws = [np.maximum(image + one.residual[channel], 0) for one in made if one.residual is not None]
        kept = [contrast_of(one, lesion, around) / contrast_of(image, lesion, around) for one in draws]
        half = abs(contrast_of(image, lesion, around)) / 2
        seen = [
            contrast_of(one, ball <= BALL, healthy & (ball > BALL) & (ball <= BALL + RING[1]))
            for one in draws for ball in balls
        ]  # fmt: skip
        figures = {"estimate": contrast_of(image, lesion, around), "drawn": float(np.mean(kept))}
        figures |= {"drawn_sd": float(np.std(kept, ddof=1)), "grown": float(np.mean(np.abs(seen) > half))}
        report({"subject": subject, "planes": planes, "kind": given.method, "contrast": contrast}, figures, given.out)


def _at(point: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    found = np.zeros(shape, bool)
    found[tuple(point)] = True
    return found


def shape(kind: int, size: int) -> np.ndarray:
    """(n, n, n) bool: a cube, three crossed bars, or a hollow ball, none of which any training has drawn."""
    axes = np.abs(np.indices((size,) * 3) - (size - 1) / 2)
    if kind == 0 or size <= 3:
        return np.ones((size,) * 3, bool)
    if kind == 1:
        return np.sort(axes, axis=0)[1] <= max(size / 6, 0.5)
    radius = np.sqrt((axes**2).sum(axis=0))
    found: np.ndarray = (radius <= size / 2) & (radius >= size / 4)
    return found


def places(white: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """(number, 3) voxels of 1 mm deep in white matter, ``APART_MM`` and a lesion apart, the deepest first."""
    depth = ndimage.distance_transform_edt(white)
    candidates = np.argwhere(depth >= 2)
    order = np.argsort(-depth[tuple(candidates.T)] - rng.uniform(0, 1, len(candidates)))
    chosen: list[np.ndarray] = []
    for point in candidates[order]:
        if all(np.linalg.norm(point - other) >= APART_MM + max(SIZES_MM) / 2 for other in chosen):
            chosen.append(point)
        if len(chosen) == number:
            return np.array(chosen)
    raise SystemExit(f"only {len(chosen)} of {number} lesions fit into the white matter")


def plant(image: np.ndarray, grid: Grid, brain: np.ndarray) -> tuple[np.ndarray, list[tuple[str, int, np.ndarray]]]:
    """((X, Y, Z) what is added, (kind, size in mm, (X, Y, Z) bool) of each lesion)."""
    white = oracle.tissue_by_intensity(image, brain)[2] > 0.8
    level = float(np.median(image[white]))
    wanted = [(size, kind, which) for size in SIZES_MM for kind in KINDS for which in range(2)]
    added, lesions = np.zeros_like(image), []
    for number, ((size, kind, _), point) in enumerate(
        zip(wanted, places(white, len(wanted), np.random.default_rng(SEED)), strict=True)
    ):
        mask = np.zeros(image.shape, bool)
        corner = point - size // 2
        mask[tuple(slice(a, a + size) for a in corner)] = shape(number % 3, size)
        added += mask * np.float32(KINDS[kind] * level)
        lesions.append((kind, size, mask))
    return added, lesions


def planted(given: argparse.Namespace, subject: str, planes: str) -> None:
    image, grid, brain = high_field(given.data, subject)
    added, lesions = plant(image["T1w"], grid, brain)
    options = session(given, planes, ["T1w"])
    cases = [make_case(given.data, subject, options, one) for one in (None, {"T1w": added})]
    without, with_ = (
        {"mean": case.volume.image[0], "estimate": estimated(case, given.target_contrast)[0]} for case in cases
    )
    for kind in KINDS:
        for size in SIZES_MM:
            made = {
                name: [
                    float((with_[name] - without[name])[mask].sum()) for k, s, mask in lesions if (k, s) == (kind, size)
                ]
                for name in with_
            }
            about = {"subject": subject, "planes": planes, "kind": kind, "contrast": "T1w", "size_mm": str(size)}
            figures = {"kept": sum(made["estimate"]) / sum(made["mean"])}
            report(about, figures, given.out)


def large_lesions(image: np.ndarray, brain: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """((X, Y, Z) what is added, (X, Y, Z) bool of each part, (X, Y, Z) bool the white matter around all of them)."""
    white = oracle.tissue_by_intensity(image, brain)[2] > 0.8
    level, rng = float(np.median(image[white])), np.random.default_rng(SEED)
    middle = round(ndimage.center_of_mass(brain)[0])
    left = brain & (np.arange(image.shape[0])[:, None, None] < middle)
    uneven = ndimage.gaussian_filter(rng.standard_normal(image.shape).astype(np.float32), 4)
    uneven *= 2 / uneven.std()

    def distance(point: np.ndarray) -> np.ndarray:
        return ndimage.distance_transform_edt(~_at(point, image.shape)).astype(np.float32) + uneven

    depth = ndimage.distance_transform_edt(brain)
    tumour = distance(np.argwhere(left & (depth > 24) & (depth < 26))[0])
    surface = np.argwhere(brain & ~left & (depth <= 1.5))
    cavity = distance(surface[len(surface) // 2])
    parts = {
        "core": tumour < TUMOUR_MM[0],
        "rim": (tumour >= TUMOUR_MM[0]) & (tumour < TUMOUR_MM[1]),
        "oedema": (tumour >= TUMOUR_MM[1]) & (tumour < TUMOUR_MM[2]),
        "cavity": cavity < CAVITY_MM,
    }
    parts = {name: part & brain for name, part in parts.items()}
    values = np.zeros_like(image, np.float32)
    for name, part in parts.items():
        values[part] = LARGE[name] * level - image[part]
    untouched = (tumour > TUMOUR_MM[2] + 3) & (cavity > CAVITY_MM + 3)
    return values, parts, white & untouched


def large(given: argparse.Namespace, subject: str, planes: str) -> None:
    image, _, brain = high_field(given.data, subject)
    added, parts, around = large_lesions(image["T1w"], brain)
    case = make_case(given.data, subject, session(given, planes, ["T1w"]), {"T1w": added})
    images = {
        "high": case.truth["T1w"],
        "mean": case.volume.image[0],
        "estimate": estimated(case, given.target_contrast)[0],
    }
    for name, part in parts.items():
        inner = ndimage.binary_erosion(part)
        figures = {kind: contrast_of(one, inner, around) for kind, one in images.items()}
        figures |= {"kept": figures["estimate"] / figures["mean"], "masked": float(case.volume.brain[part].mean())}
        report({"subject": subject, "planes": planes, "kind": name, "contrast": "T1w"}, figures, given.out)
    if given.picture:
        show(images, parts, given.picture)


def show(images: dict[str, np.ndarray], parts: dict[str, np.ndarray], path: Path) -> None:
    """Plain mean, estimate and high field: axial and coronal through the tumour, axial through the cavity."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    (_, y, z), cavity = (np.argwhere(parts[name]).mean(axis=0).round().astype(int) for name in ("core", "cavity"))
    figure, axes = plt.subplots(3, 3, figsize=(9, 9.6), facecolor="black")
    for column, (name, words) in enumerate(
        {"mean": "plain mean", "estimate": "fusionnet", "high": "high field"}.items()
    ):
        shown = images[name] / np.percentile(images[name][images["high"] > 0], 98)
        for row, plane in enumerate((shown[:, :, z], shown[:, y], shown[:, :, cavity[2]])):
            axes[row, column].imshow(plane.T, cmap="gray", origin="lower", vmin=0, vmax=1)
            axes[row, column].axis("off")
        axes[0, column].set_title(words, color="white")
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=80, facecolor="black", pil_kwargs={"quality": 88})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("how", choices=["real", "planted", "large", "drawn"])
    parser.add_argument("subjects", nargs="+")
    parser.add_argument("--contrasts", nargs="+", default=["T1w", "T2w", "FLAIR"], choices=CONTRASTS)
    parser.add_argument("--planes", nargs="+", default=["axi", "axi+cor+sag"])
    parser.add_argument("--target-contrast", default="auto", choices=get_args(TargetContrast))
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--method", default="cfm", help="whose draws")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--picture", type=Path, help="of the last session with large lesions")
    parser.add_argument("--out", type=Path, help="table of tab-separated values that the rows are added to")
    given = parser.parse_args()
    run = {"real": real, "planted": planted, "large": large, "drawn": drawn}[given.how]
    for subject in given.subjects:
        for planes in given.planes:
            run(given, subject, planes)


if __name__ == "__main__":
    main()
