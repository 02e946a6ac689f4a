"""What ``cssdiff`` says against its own result: structure that its restorer would change, and its own cycle."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from ...nn.batch import Batch
from ...nn.crop import BrainCrop
from ...nn.stage import Nets
from ...nn.weights import Loaded
from .network import Restorer, Reverse
from .settings import CssDiffSampling, CssDiffSettings
from .slices import as_slices, as_volume

FLOOR = 0.02
"""Added to the noise, as a share of the image's scale."""

SMOOTHING_FWHM = 3.0
"""Width in mm of the Gaussian that calms the cycle map."""

MAP_METADATA = {
    "Plausibility": {
        "Description": "Structure plausibility: |E_T(y') - y'|, y' being the enhanced image and E_T the network that "
        "learned to restore high field with blocks turned or taken out; large where y' is not built like high field. "
        "Mean over draws; no measure of truth.",
        "Units": "share of the contrast's scale",
    },
    "Cycle": {
        "Description": "Cycle error: |F(y') - x| / (noise + 0.02), y' being the enhanced image, F the network that "
        "learned to take high field to low field and x the fused low field, smoothed by 3 mm. Mean over draws; blind "
        "to detail finer than the band limit that the risk map's sidecar tells.",
        "Units": "noise SD",
    },
}
"""What is said of each map in its sidecar."""

MAP_NETWORKS = {"Plausibility": ("restorer", Restorer), "Cycle": ("reverse", Reverse)}
"""The network behind each map."""


def available_maps(loaded: Loaded) -> dict[str, Mapping[str, str]]:
    """The maps that these weights can make: of networks that are there and have learned something."""
    found: dict[str, Mapping[str, str]] = {}
    for name, (net, _) in MAP_NETWORKS.items():
        last = loaded.state.get(net, {}).get("tail.weight")
        if last is not None and bool(last.any()):
            found[name] = MAP_METADATA[name]
    return found


def maps_to_come(loaded: Loaded, sampling: CssDiffSampling, draws: int) -> Mapping[str, Mapping[str, str]]:
    """What ``available_maps`` has, whatever the options and the number of draws."""
    return available_maps(loaded)


def maps_of(
    nets: Nets, found: Tensor, crop: BrainCrop, batch: Batch, settings: CssDiffSettings
) -> dict[str, np.ndarray]:
    """The maps (C, X, Y, Z) float32, ≥ 0, of a result ``found`` (1, C, x, y, z) for the ``batch`` of a ``crop``."""
    made: dict[str, np.ndarray] = {}
    if "restorer" in nets:
        change = (through(nets["restorer"], found, batch, settings) - found).abs()
        made["Plausibility"] = crop.placed(_known(change, crop))
    if "reverse" in nets:
        error = (through(nets["reverse"], found, batch, settings) - batch.input).abs()
        unit = crop.noise()[:, None, None, None] + FLOOR
        made["Cycle"] = crop.placed(_smooth(_known(error, crop) / unit, crop))
    return made


def through(net: nn.Module, found: Tensor, batch: Batch, settings: CssDiffSettings) -> Tensor:
    """(B, C, X, Y, Z) in [0, 1]: what a network of slices makes of an image of that shape, where there is brain."""
    slices = as_slices(replace(batch, input=found))
    out = torch.full_like(slices.low, -1)
    with torch.no_grad():
        for item in range(len(out)):
            brain = slices.mask[item].flatten(1).any(dim=1).nonzero()[:, 0]
            for index in brain.split(settings.slices_at_once) if len(brain) else ():
                out[item, index] = net(slices.low[item, index]).float()
    return as_volume(out, found.shape)


def _known(values: Tensor, crop: BrainCrop) -> Any:
    """(C, x, y, z): zero for what the weights do not know."""
    return values[0].cpu().numpy() * crop.known[:, None, None, None]


def _smooth(values: np.ndarray, crop: BrainCrop) -> np.ndarray:
    """(C, x, y, z): Gaussian means inside the mask alone."""
    sd = [SMOOTHING_FWHM / np.sqrt(8 * np.log(2)) / zoom for zoom in crop.grid.zooms]
    share = np.maximum(ndimage.gaussian_filter(crop.mask.astype(np.float32), sd), 1e-3)
    return np.stack([ndimage.gaussian_filter(channel * crop.mask, sd) / share for channel in values])
