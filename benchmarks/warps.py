"""How smooth the warp of the regions should be: Dice of the atlas alone, read through it. Painted images, SIMULATED.

python benchmarks/warps.py EXAMPLES [--maps training_seg_13 training_seg_03] [--elastic 0.7 1.2 1.6 2 3]

EXAMPLES is the folder ``examples`` of a training of ``regions``. Each map is painted as one axial stack of a bare T1w,
as three fused stacks of a T2w and as a sharp T1w with its skull; the template is registered to that, and the atlas of
the bundled weights, at the likeliest region of each cell of 2 mm, is held against the map. Deep: thalamus, caudate,
putamen, pallidum, hippocampus, amygdala. ``affine``: without any warp.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from bids_lfenhance.imaging.anatomy import fit_warp
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.template import load_head_template
from bids_lfenhance.imaging.warp import Warp
from bids_lfenhance.nn.weights import load_weights
from bids_lfenhance.segmentation.method import TRAINABLE
from bids_lfenhance.segmentation.network import RegionNet, build
from bids_lfenhance.segmentation.regions import indices
from bids_lfenhance.segmentation.synthesis import Appearance, paint_patch
from bids_lfenhance.segmentation.warps import places
from bids_lfenhance.simulators.source import COMMON_MM
from bids_lfenhance.training.examples import list_examples

DEEP = (10, 11, 12, 13, 17, 18, 49, 50, 51, 52, 53, 54)
LOOKS = {
    "axial": (5, Appearance("T1w", (2,), True, deformed=False, warp=0)),
    "fused": (8, Appearance("T2w", (0, 1, 2), False, deformed=False, warp=0)),
    "sharp": (5, Appearance("T1w", (), False, deformed=False, warp=0)),
}
"""Seed of the painting, and what it looks like."""


def atlas() -> RegionNet:
    """The bundled network, of which the atlas is asked."""
    loaded = load_weights("regions", TRAINABLE.name, ())
    net = build(TRAINABLE.about.settings(**loaded.settings))["regions"]
    net.load_state_dict(loaded.state["regions"])
    assert isinstance(net, RegionNet)
    return net


def overlap(net: RegionNet, where: np.ndarray, target: np.ndarray) -> str:
    """Mean Dice of the deep and of all regions."""
    with torch.no_grad():
        found = net.warped_prior(torch.from_numpy(where.astype(np.float32))[None])[0].argmax(0).numpy()
    truth = target[::2, ::2, ::2][tuple(slice(0, side) for side in found.shape)]
    scores = {}
    for channel, index in enumerate(indices()[1:], start=1):
        one, other = found == channel, truth == channel
        scores[int(index)] = 2 * (one & other).sum() / max(1, one.sum() + other.sum())
    return f"{np.mean([scores[index] for index in DEEP]):.3f} / {np.mean(list(scores.values())):.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("examples", type=Path)
    parser.add_argument("--maps", nargs="+", default=["training_seg_13", "training_seg_03"])
    parser.add_argument("--looks", nargs="+", default=list(LOOKS), choices=list(LOOKS))
    parser.add_argument("--elastic", type=float, nargs="+", default=[0.7, 1.2, 1.6, 2.0, 3.0])
    given = parser.parse_args()
    net, template = atlas(), load_head_template()
    print("| map, look | elastic | deep / all |\n|---|---|---|")
    for example in (one for one in list_examples(given.examples) if one.subject in given.maps):
        labels = np.asarray(example.labels)
        grid = Grid(example.affine, labels.shape)
        affine = grid.affine @ np.linalg.inv(example.to_template) @ np.diag([1 / COMMON_MM] * 3 + [1.0])
        straight = places(Warp(affine, np.zeros((3, 2, 2, 2), np.float32), Grid(grid.affine, (2, 2, 2))), grid)
        for name in given.looks:
            seed, look = LOOKS[name]
            item = paint_patch(labels, straight[None], labels.shape, np.random.default_rng(seed), look)
            image, target = item["input"][0], item["target"][0]
            print(f"| {example.subject}, {name} | affine | {overlap(net, straight, target)} |", flush=True)
            for elastic in given.elastic:
                warp = fit_warp(image, grid, template, affine, elastic=elastic)
                print(f"| | {elastic:g} | {overlap(net, places(warp, grid), target)} |", flush=True)


if __name__ == "__main__":
    main()
