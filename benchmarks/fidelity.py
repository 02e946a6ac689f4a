"""Fidelity of every way to one image, on SIMULATED low field: real high-field heads through the independent oracle.

python benchmarks/fidelity.py sub-53 sub-55 head [--data ../shared/data] [--methods interp interp:sr inr] [--budget cpu]
python benchmarks/fidelity.py sub-53 --methods pfsr --weights TRAINED [--examples EXAMPLES]
python benchmarks/fidelity.py sub-53 --methods interp:contrast=restored pfsr:contrast=none:strength=0.5

Subjects are ds002748 folders, ``head`` for heads/otsu_T1_head.nii.gz, ``head-flair`` for heads/FLAIR.nii.gz (FLAIR
alone), ``norm`` and ``test_scan`` of freesurfer_pairs, or ``patient19``, ``patient26`` of open_ms.
Stacks: tests/oracle.py (box-car slices, k-space cropping, finer lattice, motion, Rician noise, another contrast),
aligned up to a random rigid error, as after a registration. Protocol ``brain-fit`` (targets.md §4). T1w is real, and so
is the T2w of open_ms; elsewhere T2w is painted from the tissue of the T1w, so its figures only say that two contrasts
do not harm each other. TRAINED is the folder of a training (level train); with it comes the row of a monotone map of
the plain mean, fitted on its training people. Brain mask and tissue a method is given: found on the plain mean, as the
pipeline does; the mask scored in: that of the high field. sub-01 and sub-52 were used for tuning.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nibabel as nib
import numpy as np
from scipy import ndimage

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.imaging.anatomy import find_anatomy
from bids_lfenhance.imaging.fusion import fuse_mean, fuse_sr
from bids_lfenhance.imaging.grid import Grid, resample
from bids_lfenhance.imaging.tissue import segment_tissue
from bids_lfenhance.imaging.volume import Volume, volume_from_channels
from bids_lfenhance.methods import METHODS, get_method
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.nn.intensity_scale import Scale
from bids_lfenhance.resources import track_usage
from bids_lfenhance.training.assess import MonotoneMap
from bids_lfenhance.training.examples import list_examples
from tests import oracle

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

TEST_SCAN_AFFINE = np.array([[-1, 0, 0, 80], [0, 0, 1, -110], [0, -1, 0, 96], [0, 0, 0, 1]], float)
"""Of test_scan.npz: its axes run to the left, to below and to the front, as the cerebellum and labels 2 and 41 say."""

HEADS = {"head": ("otsu_T1_head.nii.gz", "T1w"), "head-flair": ("FLAIR.nii.gz", "FLAIR")}
"""Whole heads: file and contrast."""

HF_T2W = (1.00, 0.56, 0.44)
"""Painted high-field T2w: signal of CSF, GM, WM."""


@dataclass(frozen=True)
class Case:
    """One simulated session: high-field truth by contrast, the brain it is scored in, and what a method is given."""

    name: str
    truth: dict[str, np.ndarray]
    brain: np.ndarray
    volume: Volume


def high_field(data: Path, subject: str, zoom: float = 1.0) -> tuple[dict[str, np.ndarray], Grid, np.ndarray]:
    """(Real high field by contrast, their grid of ``zoom`` mm, the brain)."""
    if subject.startswith("patient"):
        folder = data / "open_ms" / "cross_sectional" / subject
        image, affine = oracle.load_head(folder / "T1.nii.gz", zoom)
        grid = Grid(affine, image.shape)
        files = {"T2w": "T2.nii.gz", "FLAIR": "FLAIR.nii.gz"}  # the same voxels, cut otherwise
        others = {name: resample(*oracle.load_head(folder / file, zoom), grid, order=1) for name, file in files.items()}
        return {"T1w": image, **others}, grid, ndimage.binary_fill_holes(image > 0.02)
    if subject in ("norm", "test_scan"):
        image, affine = oracle.load_head(freesurfer_image(data / "freesurfer_pairs", subject), zoom)
        return {"T1w": image}, Grid(affine, image.shape), image > 0
    if subject in HEADS:
        file, contrast = HEADS[subject]
        image, affine = oracle.load_head(data / "heads" / file, zoom)
        grid = Grid(affine, image.shape)
        return {contrast: image}, grid, find_anatomy(image, grid, contrast).mask
    folder = next(one for one in (data / "ds002748", data / "ds002748-1mm") if (one / subject).is_dir())
    image, affine = oracle.load_head(folder / subject / "anat" / f"{subject}_T1w.nii.gz", zoom)
    return {"T1w": image}, Grid(affine, image.shape), image > 0


def freesurfer_image(folder: Path, subject: str) -> Path | nib.Nifti1Image:
    """The T1w of a pair of ``freesurfer_pairs``."""
    if subject == "norm":
        return folder / "norm.mgz"
    with np.load(folder / "test_scan.npz") as file:
        return nib.Nifti1Image(file["vol"].astype(np.float32), TEST_SCAN_AFFINE)


def make_case(
    data: Path,
    subject: str,
    options: argparse.Namespace,
    added: Mapping[str, np.ndarray] | None = None,
    **protocol: Any,
) -> Case:
    """A simulated session; ``added`` (X, Y, Z) by contrast: what the high field is changed by before it is acquired.

    ``protocol`` as of ``oracle.acquire_stack``.
    """
    real, grid, brain = high_field(data, subject)
    image = real.get("T1w", real[options.contrasts[0]])
    tissue = oracle.tissue_by_intensity(image, brain)
    if "T1w" not in real:
        tissue = tissue[[0, 2, 1]]  # grey matter of FLAIR is the brightest
    real |= {name: np.maximum(real[name] + change, 0) for name, change in (added or {}).items()}
    rng = np.random.default_rng(options.seed)
    session = []
    for name in options.contrasts:
        head, about = real.get(name, image), {"planes": options.planes, "snr": options.snr, **protocol}
        session += oracle.acquire_session(head, grid.affine, tissue, rng, contrasts=[name], **about)
    centre = oracle.head_centre(image, grid.affine)
    stacks = tuple(oracle.misaligned(session, rng, centre, options.error_mm, options.error_deg))
    truth = {"T2w": oracle.low_field_image(image, tissue, HF_T2W), **real}
    means = {name: fuse_mean([s for s in stacks if s.contrast == name], grid) for name in options.contrasts}
    volume = volume_from_channels(grid, means, stacks)
    anatomy = find_anatomy(means[options.contrasts[0]], grid, options.contrasts[0])
    posteriors, _ = segment_tissue(means[options.contrasts[0]], anatomy.mask, anatomy.priors)
    return Case(subject, truth, brain, volume.with_anatomy(anatomy.mask, posteriors))


def brain_fit_ssim(image: np.ndarray, reference: np.ndarray, mask: np.ndarray) -> float:
    from skimage.metrics import structural_similarity

    box = ndimage.find_objects(ndimage.binary_dilation(mask, iterations=6).astype(np.uint8))[0]
    image, reference, mask = image[box], reference[box], mask[box]
    gain, offset = np.polyfit(image[mask].astype(float), reference[mask].astype(float), 1)
    span = float(np.percentile(reference[mask], 99.9))
    fitted = (gain * image + offset).astype(np.float32)
    _, local = structural_similarity(
        fitted, reference, data_range=span, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    return float(local[mask].mean())


def single_stacks(volume: Volume) -> list[np.ndarray]:
    """(C, X, Y, Z) for every plane: its stack alone, cubic; the best of them is quoted."""
    images = []
    for plane in sorted({stack.name.split("_")[0] for stack in volume.stacks}):
        alone = {s.contrast: fuse_mean([s], volume.grid) for s in volume.stacks if s.name.startswith(f"{plane}_")}
        images.append(volume_from_channels(volume.grid, alone).image)
    return images


def fused(volume: Volume, fuse: Callable[..., np.ndarray]) -> list[np.ndarray]:
    channels = {name: fuse(list(volume.stacks_of(name)), volume.grid) for name in volume.contrasts}
    return [volume_from_channels(volume.grid, channels).image]


def by_method(name: str, budget: str, seed: int, weights: Path | None = None) -> Callable[[Volume], list[np.ndarray]]:
    """``interp``, ``inr``, or with settings: ``interp:sr`` for a fusion, ``pfsr:contrast=none:strength=0.5``."""
    method, *asked = name.split(":")
    record = get_method(method)
    changed: dict[str, object] = dict(record.about.budgets.get(budget, {}))
    changed |= {"weights": str(weights)} if weights and record.about.is_trained else {}
    usual = record.about.sampling()
    for word in asked:
        key, _, value = word.rpartition("=")
        key = key or "fusion"
        changed[key] = type(getattr(usual, key))(value)
    settings = record.about.sampling(**changed)
    return lambda volume: [enhance(volume, record, settings, np.random.default_rng(seed)).image]


def ways(options: argparse.Namespace) -> dict[str, Callable[[Volume], list[np.ndarray]]]:
    table: dict[str, Callable[[Volume], list[np.ndarray]]] = {
        "best single stack, cubic": single_stacks,
        "plain mean": lambda volume: fused(volume, fuse_mean),
        "sr": lambda volume: fused(volume, lambda stacks, grid: fuse_sr(stacks, grid, volume.mask)),
    }
    if options.weights:
        table["plain mean, monotone map"] = monotone(options.weights, options.examples)
    return table | {name: by_method(name, options.budget, options.seed, options.weights) for name in options.methods}


def monotone(weights: Path, examples: Path | None) -> Callable[[Volume], list[np.ndarray]]:
    """The best that a change of grey scale can do to the plain mean, learnt from who the weights learnt from."""
    people = json.loads((weights / "split.json").read_text())["train"]
    learned_from = [e for e in list_examples(examples or weights / "examples") if e.person in people]
    fitted = MonotoneMap(learned_from, "lf2hf")

    def way(volume: Volume) -> list[np.ndarray]:
        scale = Scale.of(volume.image, volume.brain)
        shown = scale.apply(volume.image, np.ones(volume.grid.shape, bool))  # a short mask must not count against it
        mapped = np.stack([fitted(channel, name) for channel, name in zip(shown, CONTRASTS, strict=True)])
        return [scale.undo(mapped)]

    return way


def score(case: Case, images: Sequence[np.ndarray], contrast: str) -> tuple[float, float]:
    channels = [image[CONTRASTS.index(contrast)] for image in images]
    best = max(channels, key=lambda channel: oracle.brain_fit_psnr(channel, case.truth[contrast], case.brain))
    truth = case.truth[contrast]
    return oracle.brain_fit_psnr(best, truth, case.brain), brain_fit_ssim(best, truth, case.brain)


def run_case(case: Case, options: argparse.Namespace) -> dict[tuple[str, str], float]:
    """PSNR by (way, contrast); prints one line for each."""
    found: dict[tuple[str, str], float] = {}
    for name, way in ways(options).items():
        with track_usage() as usage:
            images = way(case.volume)
        for contrast in options.contrasts:
            psnr, ssim = score(case, images, contrast)
            found[name, contrast] = psnr
            gain = psnr - found.get(("plain mean", contrast), psnr)
            cost = f"{usage.cpu_seconds:8.1f} {usage.peak_memory_mib:8.0f}"
            print(f"{case.name:8} {contrast:6} {name:26} {psnr:7.2f} {gain:+6.2f} {ssim:6.3f} {cost}", flush=True)
        if options.save:
            options.save.mkdir(parents=True, exist_ok=True)
            np.save(options.save / f"{case.name}_{name.replace(' ', '-')}.npy", images[0])
    return found


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("subjects", nargs="+", help="ds002748 folders such as sub-53, 'head', 'patient19'")
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--contrasts", nargs="+", default=["T1w"], choices=["T1w", "T2w", "FLAIR"])
    parser.add_argument("--planes", nargs="+", default=["axi", "cor", "sag"], choices=list(oracle.PLANES))
    parser.add_argument("--methods", nargs="*", default=[], help=f"{', '.join(METHODS)}, interp:sr", metavar="METHOD")
    parser.add_argument("--budget", default="cpu", choices=["sloppy", "cpu", "gpu"])
    parser.add_argument("--weights", type=Path, help="folder of a training, for methods that learn")
    parser.add_argument("--examples", type=Path, help="folder of its examples (default: in it)")
    parser.add_argument("--snr", type=float, default=15.0, help="of white matter")
    parser.add_argument("--error-mm", type=float, default=0.3, help="left by the registration of each stack")
    parser.add_argument("--error-deg", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="keep the (C, X, Y, Z) images here as .npy")
    return parser.parse_args(argv)


def main() -> None:
    options = parse()
    planes = "+".join(options.planes)
    print(
        f"SIMULATED low field (independent oracle), white-matter SNR {options.snr:g}, stacks {planes}, alignment off by"
    )
    print(f"{options.error_mm:g} mm and {options.error_deg:g}°; protocol brain-fit; seed {options.seed}\n")
    print(f"{'subject':8} {'':6} {'way':26} {'PSNR':>7} {'gain':>6} {'SSIM':>6} {'CPU s':>8} {'MiB':>8}")
    results = [run_case(make_case(options.data, subject, options), options) for subject in options.subjects]
    for key in results[0]:
        values = np.array([found[key] for found in results])
        gains = values - np.array([found["plain mean", key[1]] for found in results])
        tail = f"least gain {gains.min():+.2f}, n = {len(values)}"
        print(f"{'mean':8} {key[1]:6} {key[0]:26} {values.mean():7.2f} {gains.mean():+6.2f}   {tail}")


if __name__ == "__main__":
    main()
