"""Which planted errors the maps of trust show, on SIMULATED low field: by size and contrast.

python benchmarks/planted.py SUBJECT [--planes axi+cor+sag axi]     # benchmarks/results/planted-errors.tsv

The image that ``fusionnet`` makes of a session (simulation of fidelity.py, SNR 15, alignment off by .3 mm and .3°) is
changed by Gaussian blobs of a width (FWHM) and a height (% of the brain's median), bright and dark, well inside the
brain: errors that nobody but the scans can contradict. AUC of a map: how well it tells the blobs' voxels from the same
voxels without blobs, .5 by chance; 180 CPU-s a session.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scipy import ndimage, stats

from benchmarks.fidelity import SHARED, make_case
from benchmarks.reliability import keep
from benchmarks.trust_cases import SCANNER
from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.evaluation.session import compute_expected_error, compute_risk
from bids_lfenhance.imaging.volume import Volume
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.enhance import enhance

SIZES = (3.0, 5.0, 8.0, 12.0, 20.0)
HEIGHTS = (10, 20, 40)

APART = 1.5
"""Centres of blobs lie at least so many widths from each other and from the border of the brain."""

MOST = 24


def maps(image: Volume, std: Volume, acquired: Volume) -> dict[str, np.ndarray]:
    """(X, Y, Z) expected error and risk of the one contrast of a session."""
    (contrast,) = acquired.contrasts
    risk, record = compute_risk(image, acquired)
    error = compute_expected_error(std, risk, record, acquired.brain)
    return {"Error": error.channel(contrast), "Risk": risk.channel(contrast)}


def blobs(brain: np.ndarray, zoom: float, width: float, rng: np.random.Generator) -> np.ndarray:
    """(X, Y, Z) Gaussians of height ±1 at random places of the brain, in turn bright and dark."""
    inside = ndimage.distance_transform_edt(brain, sampling=zoom)
    places: list[np.ndarray] = []
    for place in rng.permutation(np.argwhere(inside > min(APART * width, 0.8 * inside.max()))):
        if len(places) < MOST and all(np.linalg.norm(place - one) * zoom > 2 * APART * width for one in places):
            places.append(place)
    seeds = np.zeros(brain.shape, np.float32)
    for number, place in enumerate(places):
        seeds[tuple(place)] = (-1) ** number
    smooth = ndimage.gaussian_filter(seeds, width / np.sqrt(8 * np.log(2)) / zoom)
    return smooth / np.abs(smooth).max()


def rows(image: Volume, std: Volume, acquired: Volume) -> Iterator[dict[str, str]]:
    """A row a size: AUC of both maps by height."""
    (contrast,) = acquired.contrasts
    without, brain = maps(image, std, acquired), acquired.brain
    level, zoom = float(np.median(image.channel(contrast)[brain])), acquired.grid.zooms[0]
    for width in SIZES:
        planted = blobs(brain, zoom, width, np.random.default_rng(0))
        where, cells = brain & (np.abs(planted) > 0.5), {}
        for height in HEIGHTS:
            changed = image.image.copy()
            changed[CONTRASTS.index(contrast)] += height / 100 * level * planted
            for name, shown in maps(replace(image, image=np.maximum(changed, 0)), std, acquired).items():
                score = stats.mannwhitneyu(shown[where], without[name][where]).statistic / where.sum() ** 2
                cells[f"{name}, ± {height} %"] = f"{score:.2f}"
        yield {"width": f"{width:g} mm"} | {key: cells[key] for key in sorted(cells, key=lambda k: k[0])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject")
    parser.add_argument("--planes", nargs="+", default=["axi+cor+sag", "axi"])
    parser.add_argument("--data", type=Path, default=SHARED)
    given = parser.parse_args()
    method, found = get_method("fusionnet"), []
    for planes in given.planes:
        options = argparse.Namespace(contrasts=["T1w"], planes=planes.split("+"), **SCANNER)
        acquired = make_case(given.data, given.subject, options).volume
        result = enhance(acquired, method, method.about.sampling(), np.random.default_rng(0))
        assert result.std is not None
        image, std = (replace(acquired, image=one, stacks=()) for one in (result.image, result.std))
        found += [{"stacks": planes.replace("+", " + ")} | row for row in rows(image, std, acquired)]
    keep("planted-errors", found)


if __name__ == "__main__":
    main()
