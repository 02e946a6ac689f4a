"""The learned estimate on SIMULATED low field (independent oracle): image, error scale and spectrum, any set of stacks.

python benchmarks/estimate.py sub-53 patient26 --contrasts T1w T2w --planes axi axi+cor+sag [--target-contrast own]

A row, in the table of ``--out`` too: brain-fit PSNR / SSIM of the plain mean and of the estimate, where high field has
brain; in the brain that was found: coverage of 2 SD, correlation of the SD with |error|, power at .1–.2, .2–.3 and
.3–.4 /mm as a share of high field's. What high field has of noise is no error of the estimate: its variance is added to
that which the SD tells. Subjects as of fidelity.py.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.fidelity import SHARED, Case, brain_fit_ssim, make_case
from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.imaging.noise import noise_sigma
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.methods.options import TargetContrast
from bids_lfenhance.resources import track_usage
from tests import oracle

BANDS = (0.1, 0.2, 0.3)
"""Lower ends of bands of .1 /mm."""


def power(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(3,) power of the brain in ``BANDS``, voxels of 1 mm."""
    spectrum = np.abs(np.fft.fftn(image * mask)) ** 2
    axes = np.meshgrid(*[np.fft.fftfreq(side) for side in image.shape], indexing="ij")
    frequency = np.sqrt(sum(axis**2 for axis in axes))
    return np.array([spectrum[(frequency >= low) & (frequency < low + 0.1)].sum() for low in BANDS])


def fitted(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, float]:
    """(The image with the gain and offset that fit it to the truth, the gain)."""
    gain, offset = np.polyfit(image[mask].astype(float), truth[mask].astype(float), 1)
    return gain * image + offset, float(gain)


def noise_of(truth: np.ndarray, brain: np.ndarray) -> float:
    """SD of the noise of high field inside the brain, in its units."""
    return noise_sigma(np.where(brain, np.maximum(truth, 0), 0))


def scores(case: Case, contrast: str, image: np.ndarray, std: np.ndarray) -> dict[str, float]:
    """The figures of a row, those of the plain mean first."""
    channel, truth = CONTRASTS.index(contrast), case.truth[contrast]
    found = case.brain & case.volume.brain
    figures: dict[str, float] = {}
    reference = power(truth, found)
    for name, one in (("mean", case.volume.image[channel]), ("estimate", image[channel])):
        figures[f"{name}_psnr"] = oracle.brain_fit_psnr(one, truth, case.brain)
        figures[f"{name}_ssim"] = brain_fit_ssim(one, truth, case.brain)
        fit, gain = fitted(one, truth, found)
        for low, share in zip(BANDS, power(fit, found) / reference, strict=True):
            figures[f"{name}_power_{low:g}"] = share
    error = np.abs(fit - truth)[found]
    sd = np.hypot(gain * std[channel][found], noise_of(truth, case.brain))
    return figures | {
        "coverage": float((error < 2 * sd).mean()),
        "correlation": float(np.corrcoef(error, sd)[0, 1]),
        "found": float(found.sum() / case.brain.sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("subjects", nargs="+")
    parser.add_argument("--contrasts", nargs="+", default=["T1w"], choices=CONTRASTS)
    parser.add_argument("--planes", nargs="+", default=["axi", "axi+cor+sag"])
    parser.add_argument("--target-contrast", default="auto", choices=get_args(TargetContrast))
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--picture", type=Path, help="file for a picture of the last row: axial, coronal, sagittal")
    parser.add_argument("--out", type=Path, help="table of tab-separated values that the rows are added to")
    given = parser.parse_args()
    method = get_method("fusionnet")
    sampling = method.about.sampling(target_contrast=given.target_contrast, device=given.device)
    for subject in given.subjects:
        for planes in given.planes:
            scanner = {"snr": 15.0, "error_mm": 0.3, "error_deg": 0.3, "seed": 0}
            options = argparse.Namespace(contrasts=given.contrasts, planes=planes.split("+"), **scanner)
            case = make_case(given.data, subject, options)
            with track_usage() as usage:
                result = enhance(case.volume, method, sampling, np.random.default_rng(0))
            assert result.std is not None
            for contrast in given.contrasts:
                about = {"subject": subject, "planes": planes, "contrast": contrast, "target": given.target_contrast}
                figures = scores(case, contrast, result.image, result.std)
                report(about, {**figures, "cpu_seconds": usage.cpu_seconds / len(given.contrasts)}, given.out)
                if given.picture:
                    draw(case, contrast, result.image, result.std, given.picture)


def draw(case: Case, contrast: str, image: np.ndarray, std: np.ndarray, path: Path) -> None:
    """Plain mean, estimate, high field, SD of the error (to 20 % of white matter) through the middle of the brain."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    channel = CONTRASTS.index(contrast)
    images = {"plain mean": case.volume.image[channel], "fusionnet": image[channel], "high field": case.truth[contrast]}
    shown = {name: one / np.percentile(one[case.brain], 98) for name, one in images.items()}
    shown["SD of the error"] = std[channel] / np.percentile(image[channel][case.brain], 98) * 5
    box = ndimage.find_objects(case.brain.astype(np.uint8))[0]
    middle = [(part.start + part.stop) // 2 for part in box]
    figure, axes = plt.subplots(3, 4, figsize=(12, 9.6), facecolor="black")
    for column, name in enumerate(("plain mean", "fusionnet", "high field", "SD of the error")):
        for row, axis in enumerate((2, 1, 0)):
            plane = shown[name][box].take(middle[axis] - box[axis].start, axis=axis)
            axes[row, column].imshow(plane.T, cmap="gray", origin="lower", vmin=0, vmax=1)
            axes[row, column].axis("off")
        axes[0, column].set_title(name, color="white")
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=80, facecolor="black", pil_kwargs={"quality": 88})


def report(about: Mapping[str, str], figures: Mapping[str, float], out: Path | None) -> None:
    """Print a row, and add it to a table."""
    words = {**about, **{name: f"{value:.3f}" for name, value in figures.items()}}
    print("SIMULATED", *(f"{name}={value}" for name, value in words.items()), flush=True)
    if out:
        new = not out.exists()
        with out.open("a") as file:
            file.write("\t".join(words) + "\n" if new else "")
            file.write("\t".join(words.values()) + "\n")


if __name__ == "__main__":
    main()
