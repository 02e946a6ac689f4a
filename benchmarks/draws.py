"""Draws of cfm, bridge and cssdiff against high field, as a user gets them: SIMULATED low field.

python benchmarks/draws.py sub-11 [--methods cfm bridge cssdiff] [--draws 2] [--slices 32] [--planes axi cor sag]
    [--contrast T1w] [--target-contrast auto] [--out benchmarks/results/draws.tsv] [--picture FILE.jpg]

A slab of axial slices through the brain (names: see fidelity.py) of a head that the independent oracle of tests/
scanned; eight slices more at each end are enhanced and not judged, as networks and thick scans have more beyond in a
whole head. Brain and tissue are given, the rest is the method. In the brain, after one gain and one offset of high
field:
"psnr" of one draw and "mean_psnr" of the mean of all, both of the image itself in the row "estimate";
"variance" of the draws (ddof 1) over the squared error of the estimate, 1 where they spread as they should; "crps" the
fair one of the draws, and that of the estimate with its calibrated Laplace error, % of the brain's 95th percentile;
"rms" of the error in units of its SD, as stated by the estimate; "power" of one draw over high field's, by bands of .05
cycles per mm; "along" and "across": correlation of neighbouring voxels of what is drawn, along the slice axis and in
plane, and of the true residual in the row "estimate". ``--picture``: low field, estimate, one draw of each, high field.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.estimate import report
from benchmarks.fidelity import SHARED
from benchmarks.residual import Head, fair_crps, judged, laplace_crps, make_slab
from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.imaging.volume import Volume
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.options import TargetContrast
from bids_lfenhance.nn.residual import radial_power
from bids_lfenhance.resources import keep_freed_memory, track_usage
from tests import oracle

METHODS = ("cfm", "bridge", "cssdiff")
BANDS = range(1, 9)
"""Of the power that is reported: .05 to .45 cycles per mm."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a method gave, (X, Y, Z) in the units of the scan: its image, the SD of its error, draws (N, X, Y, Z)."""

    image: np.ndarray
    sd: np.ndarray
    draws: np.ndarray
    cpu_seconds: float


def draw(volume: Volume, name: str, count: int, options: Mapping[str, object]) -> Drawn:
    """The estimate and ``count`` raw draws of a method, of the volume's one contrast."""
    channel = CONTRASTS.index(volume.contrasts[0])
    method = get_method(name)
    prepared = method.prepare(volume, method.about.sampling(**options))
    with track_usage() as usage:
        made = [method.sample(prepared, np.random.default_rng(seed)) for seed in range(count)]
    first = made[0]
    assert first.scale is not None
    residuals = [one.residual[channel] for one in made if one.residual is not None]
    image = first.image[channel]
    return Drawn(image, first.scale[channel], image + np.stack(residuals), usage.cpu_seconds / count)


def scaled(truth: np.ndarray, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """High field after one gain and one offset, by least squares on an image in ``mask``."""
    gain, offset = np.polyfit(truth[mask], image[mask], 1)
    return np.where(mask, gain * truth + offset, 0)


def neighbours(field: np.ndarray, mask: np.ndarray, axes: Sequence[int]) -> float:
    """Correlation of voxels of ``field`` with the next one along ``axes``, their mean, inside ``mask``."""
    found = []
    for axis in axes:
        one, other = (np.moveaxis(field, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        both = np.moveaxis(mask, axis, 0)
        both = both[:-1] & both[1:]
        found.append(float(np.corrcoef(one[both], other[both])[0, 1]))
    return float(np.mean(found))


def relative_power(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Power over high field's in ``BANDS``."""
    powers = [np.array(radial_power(torch.from_numpy(one), torch.from_numpy(mask))) for one in (image, truth)]
    return (powers[0] / powers[1])[list(BANDS)]


def figures_of(row: str, got: Drawn, truth: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """A row of the table, of the estimate or of a method's draws."""
    fit = scaled(truth, got.image, mask)
    error, unit = fit - got.image, float(np.quantile(fit[mask], 0.95)) / 100
    one, mean = (got.image, got.image) if row == "estimate" else (got.draws[0], got.draws.mean(axis=0))
    if row == "estimate":
        crps = laplace_crps(torch.from_numpy(error[mask]), torch.from_numpy(got.sd[mask])).mean()
        residual, variance = error, float("nan")
    else:
        shown = torch.from_numpy(got.draws[:, mask])
        crps = fair_crps(shown, torch.from_numpy(fit[mask])).mean()
        residual = got.draws[0] - got.image
        variance = float(got.draws.var(axis=0, ddof=1)[mask].mean() / np.square(error[mask]).mean())
    power = relative_power(one, fit, mask)
    return {
        "psnr": oracle.brain_fit_psnr(one, truth, mask),
        "mean_psnr": oracle.brain_fit_psnr(mean, truth, mask),
        "variance": variance,
        "crps": float(crps) / unit,
        "rms": float(np.sqrt(np.square(error / np.maximum(got.sd, 1e-6))[mask].mean())),
        **{f"power_{band / 20:.2f}": value for band, value in zip(BANDS, power, strict=True)},
        "along": neighbours(residual, mask, [2]),
        "across": neighbours(residual, mask, [0, 1]),
        "cpu_seconds": got.cpu_seconds,
    }


def picture(people: Mapping[str, tuple[Mapping[str, np.ndarray], np.ndarray]], path: Path) -> None:
    """An axial and a coronal cut of each image of each person; ``people``: images and mask by name."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    boxes = {name: ndimage.find_objects(mask.astype(np.uint8))[0] for name, (_, mask) in people.items()}
    sides = {name: [part.stop - part.start for part in box] for name, box in boxes.items()}
    heights = [size / one[0] for one in sides.values() for size in one[1:]]
    columns = len(next(iter(people.values()))[0])
    figure, axes = plt.subplots(len(heights), columns, height_ratios=heights, facecolor="black")
    figure.set_size_inches(1.9 * columns, 1.9 * sum(heights) + 0.3)
    for number, (name, (images, mask)) in enumerate(people.items()):
        for column, (title, image) in enumerate(images.items()):
            shown = np.where(mask, image / np.percentile(image[mask], 98), 0)[boxes[name]]
            for row, axis in ((2 * number, 2), (2 * number + 1, 1)):
                plane = shown.take(sides[name][axis] // 2, axis=axis).T
                axes[row, column].imshow(plane, cmap="gray", origin="lower", vmin=0, vmax=1, aspect="auto")
                axes[row, column].axis("off")
            axes[2 * number, column].set_title(title if column else f"{name}: {title}", color="white", fontsize=8)
    figure.tight_layout(pad=0.2)
    figure.savefig(path, dpi=100, facecolor="black", pil_kwargs={"quality": 85})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("subjects", nargs="+")
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--contrast", default="T1w", choices=CONTRASTS)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--weights", default="auto", help="of the method, where it is one")
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--slices", type=int, default=32)
    parser.add_argument("--planes", nargs="+", default=["axi", "cor", "sag"])
    parser.add_argument("--target-contrast", default="auto", choices=get_args(TargetContrast))
    parser.add_argument("--out", type=Path, help="table of tab-separated values that the rows are added to")
    parser.add_argument("--picture", type=Path, help="of all subjects")
    given = parser.parse_args()
    keep_freed_memory()  # as the app does in its workers
    options = {"target_contrast": given.target_contrast, "steps": given.steps, "weights": given.weights}
    people: dict[str, tuple[Mapping[str, np.ndarray], np.ndarray]] = {}
    for subject in given.subjects:
        truth, volume = make_slab(Head.of(given.data, subject, given.contrast), given.slices, given.planes, 0)
        about = {"subject": subject, "contrast": given.contrast, "planes": "+".join(given.planes)}
        about |= {"target": given.target_contrast}
        mask, images = judged(volume.brain), {"low field": volume.channel(given.contrast)}
        for name in given.methods:
            got = draw(volume, name, given.draws, options)
            for row in ["estimate", name] if name == given.methods[0] else [name]:
                report(about | {"row": row}, figures_of(row, got, truth, mask), given.out)
            images |= {"estimate": got.image, f"one draw of {name}": np.maximum(got.draws[0], 0)}
        people[subject] = images | {"high field": truth}, mask
    if given.picture:
        picture(people, given.picture)


if __name__ == "__main__":
    main()
