"""How well the network finds the regions of heads it did not learn from, in images synthesised for the test."""

from collections.abc import Mapping

import numpy as np
import torch

from ..nn.batch import collate
from ..nn.example import Example
from ..nn.stage import Nets
from .network import predict
from .regions import indices
from .settings import RegionsSettings
from .synthesis import Appearance, paint_patch
from .warps import AXIAL, FUSED, WARPED

APPEARANCES = {
    "low": Appearance("T1w", (2,), True, deformed=False, warp=WARPED.index(AXIAL)),
    "thin": Appearance("T2w", (), False, deformed=False, warp=WARPED.index(FUSED)),
}
"""An axial stack of a bare brain's T1w, and a sharp T2w of a head with its skull, each with a warp found so."""

SEED = 20
"""Seed of the synthesis, so that every validation sees the same images."""


def score(nets: Nets, example: Example, settings: RegionsSettings, device: torch.device) -> Mapping[str, float]:
    """``dice_low``, ``dice_thin``: mean Dice over the regions of one head in each appearance; ``dice``: both."""
    scores = {}
    for number, (name, appearance) in enumerate(APPEARANCES.items()):
        item = paint_patch(
            example.labels,
            example.template_coordinates,
            example.labels.shape,
            np.random.default_rng([SEED, number]),
            appearance,
        )
        batch = collate([item]).to(device)
        with torch.no_grad():
            found = predict(nets, batch, settings, torch.Generator())[0].argmax(dim=0).cpu().numpy()
        scores[f"dice_{name}"] = float(np.nanmean(dice(found, item["target"][0])))
    return {"dice": float(np.mean(list(scores.values()))), **scores}


def dice(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(32,) Dice of each region, 2|A∩B| / (|A| + |B|), of two (X, Y, Z) arrays of channels; NaN where both lack it."""
    channels = len(indices())
    both = np.bincount(truth[found == truth].ravel(), minlength=channels)
    each = np.bincount(found.ravel(), minlength=channels) + np.bincount(truth.ravel(), minlength=channels)
    with np.errstate(invalid="ignore"):
        return (2 * both / each)[1:]
