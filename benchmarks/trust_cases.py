"""SIMULATED sessions enhanced by ``fusionnet``, with everything that says how far to trust them; kept between runs.

python benchmarks/trust_cases.py sub-11:axi+cor+sag norm:axi head:axi --cache FOLDER
python benchmarks/trust_cases.py patient26:axi+cor+sag:T1w+T2w+FLAIR --cache FOLDER --no-volumes

A case is SUBJECT:PLANES[:CONTRASTS], subjects and simulation as of fidelity.py (independent oracle, white-matter SNR
15, alignment off by .3 mm and .3°, seed 0). Of each contrast FOLDER then has CASE_CONTRAST.npz, cut to the brain, and
CASE_CONTRAST.json: volumes of regions and tissue in the enhanced image and in high field, segmented each for itself as
in a session without high field. benchmarks/reliability.py makes tables of them. 140 CPU-s to simulate and enhance a
contrast, 100 for the volumes of each image.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.estimate import noise_of
from benchmarks.fidelity import SHARED, Case, make_case
from bids_lfenhance.evaluation.risk import risk_map
from bids_lfenhance.imaging.anatomy import Anatomy, find_anatomy
from bids_lfenhance.imaging.grid import Grid, box_of
from bids_lfenhance.imaging.slots import fill_slots
from bids_lfenhance.imaging.tissue import segment_tissue, tissue_volumes
from bids_lfenhance.imaging.warp import Warp
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.methods.restored import restore
from bids_lfenhance.resources import track_usage
from bids_lfenhance.segmentation.segment import Predictor, predictor, segment, volume_rows
from bids_lfenhance.segmentation.warps import warp_to_template

SCANNER = {"snr": 15.0, "error_mm": 0.3, "error_deg": 0.3, "seed": 0}


@dataclass(frozen=True, eq=False)
class Segmenter:
    """Regions and tissue of images on one grid; the mask is found on ``plain``, the regions' warp on ``first``."""

    grid: Grid
    contrast: str
    plain: np.ndarray
    first: np.ndarray
    predict: Predictor

    @cached_property
    def anatomy(self) -> Anatomy:
        return find_anatomy(self.plain, self.grid, self.contrast)

    @cached_property
    def warp(self) -> Warp:
        return warp_to_template(np.maximum(self.first, 0), self.grid, self.anatomy.warp.affine)

    def rows(self, image: np.ndarray, also: Sequence[np.ndarray] = ()) -> dict[str, list[dict[str, Any]]]:
        """Rows of volumes by segmentation; ``also``: images that its regions are found in too."""
        regions = volume_rows(segment([image, *also], self.grid, self.anatomy.mask, self.warp, self.predict))
        posteriors, labels = segment_tissue(image, self.anatomy.mask, self.anatomy.priors)
        return {"regions": regions, "tissue": tissue_volumes(posteriors, labels, self.grid.voxel_volume)}


def make(name: str, data: Path, folder: Path, with_volumes: bool) -> None:
    """The files of a case, made where they are not there."""
    subject, planes, *rest = name.split(":")
    contrasts = rest[0].split("+") if rest else ["T1w"]
    paths = {contrast: folder / f"{subject}_{planes}_{contrast}.npz" for contrast in contrasts}
    ends = (".npz", ".json") if with_volumes else (".npz",)
    paths = {name: path for name, path in paths.items() if not all(path.with_suffix(end).exists() for end in ends)}
    if not paths:
        return
    with track_usage() as usage:
        case = make_case(data, subject, argparse.Namespace(contrasts=contrasts, planes=planes.split("+"), **SCANNER))
    print(f"{name}: simulated, {usage.cpu_seconds:.0f} CPU-s", flush=True)
    method, predict = get_method("fusionnet"), predictor("auto")
    with track_usage() as usage:
        sampling = method.about.sampling()
        result = enhance(case.volume, method, sampling, np.random.default_rng(0))
        restored = restore(case.volume, sampling) if with_volumes else None
    print(f"{name}: enhanced, {usage.cpu_seconds:.0f} CPU-s", flush=True)
    assert result.std is not None
    enhanced, scale = (replace(case.volume, image=image) for image in (result.image, result.std))
    first, grid = contrasts[0], case.volume.grid
    low = Segmenter(grid, first, case.volume.channel(first), enhanced.channel(first), predict)
    high = Segmenter(grid, first, case.truth[first], case.truth[first], predict)
    with track_usage() as usage:
        for contrast, path in paths.items():
            of_high = folder / f"high_{subject}_{contrast}.json"  # the same for every set of planes
            if with_volumes and not of_high.exists():
                of_high.write_text(json.dumps(high.rows(case.truth[contrast])))
            if with_volumes:
                also = [restored.channel(contrast)] if restored and contrast in restored.contrasts else []
                found = low.rows(enhanced.channel(contrast), also)
                rows = {"enhanced": found, "high": json.loads(of_high.read_text())}
                path.with_suffix(".json").write_text(json.dumps(rows))
            images(case, contrast, enhanced.channel(contrast), scale.channel(contrast), path)
    print(f"{name}: measured, {usage.cpu_seconds:.0f} CPU-s", flush=True)


def images(case: Case, contrast: str, image: np.ndarray, scale: np.ndarray, path: Path) -> None:
    """What is known of the error voxel by voxel, cut to the brain: all in the units of the scan."""
    volume, grid = case.volume, case.volume.grid
    assert volume.tissue is not None
    found = case.brain & volume.brain
    truth = case.truth[contrast]
    gain, offset = np.polyfit(image[found].astype(float), truth[found].astype(float), 1)
    risk, record = risk_map(image, volume.stacks_of(contrast), volume.tissue, volume.brain, grid)
    slots = fill_slots(volume.stacks_of(contrast), grid, volume.brain)
    count = slots.covered.sum(axis=0)
    mean = (slots.image * slots.covered).sum(axis=0) / np.maximum(count, 1)
    squares = ((slots.image - mean) ** 2 * slots.covered).sum(axis=0)
    spread = slots.unit * np.sqrt(squares / np.maximum(count - 1, 1))
    box = box_of(found, [4, 4, 4])
    kept = {
        "image": image,
        "truth": (truth - offset) / gain,
        "scale": scale,
        "cycle": risk * float(np.mean([one["NoiseUnit"] for one in record["Stacks"]])),
        "spread": spread,
        "mean": volume.channel(contrast),
    }
    arrays = {key: value[box].astype(np.float32) for key, value in kept.items()}
    noise = noise_of(truth, case.brain) / abs(gain)
    np.savez(path, found=found[box], zooms=np.array(grid.zooms), noise=noise, **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="+", metavar="SUBJECT:PLANES[:CONTRASTS]")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument(
        "--no-volumes", action="store_true", help="no segmentation: what reliability.py volumes leaves out"
    )
    parser.add_argument("--data", type=Path, default=SHARED)
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    for name in given.cases:
        make(name, given.data, given.cache, not given.no_volumes)


if __name__ == "__main__":
    main()
