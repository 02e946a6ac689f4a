"""The learned estimate on SIMULATED low field (independent oracle): image, error scale and spectrum, any set of stacks.

python benchmarks/estimate.py sub-53 patient26 --contrasts T1w T2w --planes axi axi+cor+sag [--target-contrast own]

A row: brain-fit PSNR / SSIM of the plain mean and of the estimate, where high field has brain; coverage of 2 SD and the
correlation of the SD with |error| in the found brain; power at .1–.2, .2–.3, .3–.4 /mm as a share of high field's.
Subjects as of fidelity.py.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.fidelity import SHARED, Case, brain_fit_ssim, make_case
from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.resources import measured
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


def row(case: Case, contrast: str, image: np.ndarray, std: np.ndarray) -> str:
    channel, truth = CONTRASTS.index(contrast), case.truth[contrast]
    found = case.brain & case.volume.brain
    low, high = case.volume.image[channel], image[channel]
    scores = [
        (oracle.brain_fit_psnr(one, truth, case.brain), brain_fit_ssim(one, truth, case.brain)) for one in (low, high)
    ]
    fit, gain = fitted(high, truth, found)
    error, sd = np.abs(fit - truth)[found], abs(gain) * std[channel][found]
    reference = power(truth, found)
    shares = [
        "/".join(f"{v:.2f}" for v in power(fitted(one, truth, found)[0], found) / reference) for one in (low, high)
    ]
    (p0, s0), (p1, s1) = scores
    return (
        f"{p0:6.2f} / {s0:.3f}  {p1:6.2f} / {s1:.3f}  {p1 - p0:+5.2f}  {(error < 2 * sd).mean():6.1%}  "
        f"{np.corrcoef(error, sd)[0, 1]:5.2f}  {shares[0]} -> {shares[1]}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("subjects", nargs="+")
    parser.add_argument("--contrasts", nargs="+", default=["T1w"], choices=CONTRASTS)
    parser.add_argument("--planes", nargs="+", default=["axi", "axi+cor+sag"])
    parser.add_argument("--target-contrast", default="own", choices=["own", "high-field"])
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    method = get_method("fusionnet")
    sampling = method.about.sampling(target_contrast=given.target_contrast, device=given.device)
    print(
        f"SIMULATED low field, target {given.target_contrast}: plain mean, estimate, gain, coverage of 2 SD, r, power"
    )
    for subject in given.subjects:
        for planes in given.planes:
            scanner = {"snr": 15.0, "error_mm": 0.3, "error_deg": 0.3, "seed": 0}
            options = argparse.Namespace(contrasts=given.contrasts, planes=planes.split("+"), **scanner)
            case = make_case(given.data, subject, options)
            with measured() as usage:
                result = enhance(case.volume, method, sampling, np.random.default_rng(0))
            assert result.std is not None
            for contrast in given.contrasts:
                text = row(case, contrast, result.image, result.std)
                print(f"{subject:9} {planes:12} {contrast:5} {text}  {usage.cpu_seconds:.0f} CPU-s", flush=True)


if __name__ == "__main__":
    main()
