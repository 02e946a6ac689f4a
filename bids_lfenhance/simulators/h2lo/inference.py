"""Whole heads through the operator: slabs, a volume of the session, a stack of a simulation."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ...config import CONTRASTS
from ...errors import InputError
from ...imaging.grid import Grid, box_of, resample, translation
from ...imaging.volume import Stack
from ...nn.batch import Batch, required
from ...nn.intensity_scale import Scale
from ...nn.stage import Nets
from ...nn.weights import LoadedWeights, load_weights
from ..physics import add_rician
from ..simulator import stack_of
from ..source import HighField, mean_of
from .network import REACH, build
from .settings import H2loNetwork, LearnedRecord

SLAB = 32
"""Planes that are mapped at once."""


def degrade_batch(nets: Nets, batch: Batch) -> Tensor:
    """(B, C, X, Y, Z) float32 ≥ 0 inside the mask, each contrast by its own operator."""
    out = torch.zeros_like(batch.input)
    with torch.no_grad():
        for item, channel in batch.present.nonzero().tolist():
            if CONTRASTS[channel] in nets:
                image, to_template = batch.input[item, channel], required(batch.to_template)[item]
                out[item, channel] = whole(nets[CONTRASTS[channel]], image, to_template)
    return out.clamp(min=0) * batch.mask


def whole(network: nn.Module, image: Tensor, to_template: Tensor, slab: int = SLAB) -> Tensor:
    """(X, Y, Z) float32: the operator at every voxel of an image (X, Y, Z), ``slab`` planes at a time.

    Each slab is given the ``REACH`` planes on either side that its voxels see, so that any thickness gives the same;
    beyond the array there is background. ``to_template`` (4, 4) as in a batch.
    """
    padded = functional.pad(image, (REACH,) * 6)[None, None]
    parts = []
    for start in range(0, image.shape[0], slab):
        planes = padded[:, :, start : start + slab + 2 * REACH]
        offset = torch.eye(4, dtype=to_template.dtype, device=to_template.device)
        offset[:3, 3] = torch.tensor([start - REACH, -REACH, -REACH])
        parts.append(network(planes, (to_template @ offset)[None]).reshape(-1, *image.shape[1:]))
    return torch.cat(parts).float()


def operators(loaded: LoadedWeights) -> dict[str, nn.Module]:
    """The operators of trained weights, by contrast, ready to be used; ``InputError`` where one is missing."""
    if absent := [name for name in loaded.contrasts if name not in loaded.state]:
        raise InputError(
            f"Expected an operator for {', '.join(absent)} in {loaded.path}, which says it knows it, found those of "
            f"{', '.join(loaded.state) or 'none'}; choose other weights, or train on these contrasts."
        )
    every = build(H2loNetwork("all", *(loaded.settings[key] for key in ("features", "no_siren", "no_trunk"))))
    return loaded.into({name: every[name] for name in loaded.contrasts}, "cpu")


def apply(source: HighField, geometry: Grid, record: LearnedRecord) -> Stack:
    """The stack of a record on ``geometry``, which may be the source's own grid.

    The operator learned what fused low field looks like on the grid of the high field, slice profile included: voxels
    are read where they lie, without another profile. ``fwhm`` is that of the geometry's voxels.
    """
    low = _low(source, record.weights, record.sha256)
    moved = Grid(np.array(record.motion) @ geometry.affine, geometry.shape)
    data = resample(low, source.grid.affine, moved, order=3).clip(0, float(low.max()))
    sigma = mean_of(low, source.tissue[2]) / record.snr if record.snr else 0.0
    if sigma:
        data = add_rician(data, sigma, np.random.default_rng(record.seed))
    return stack_of(data, geometry, geometry.zooms, sigma, record)


# The stacks of a session are read from one low field, whose making takes a minute.
@lru_cache(maxsize=1)
def _low(source: HighField, weights: str, sha256: str) -> np.ndarray:
    """(X, Y, Z) float32 ≥ 0 in units of the source, on its grid, zero outside its mask; always made on the CPU."""
    loaded = load_weights(weights, "h2lo", (source.contrast,))
    if loaded.sha256 != sha256:
        raise InputError(
            f"Expected the weights of h2lo that the record names ({sha256[:12]}…), found {loaded.sha256[:12]}… under "
            f"'{weights}'; put the old ones back, say where they are (weights=), or simulate anew."
        )
    network = operators(loaded)[source.contrast]
    box = box_of(source.mask)
    scale = Scale.of(source.image[None], source.mask)
    image = scale.apply(source.image[None], source.mask)[0][box]
    offset = translation([one.start for one in box])
    with torch.no_grad():
        signal = whole(network, torch.from_numpy(image), torch.from_numpy(source.to_template @ offset).float())
    low = np.zeros(source.grid.shape, np.float32)
    low[box] = scale.undo(signal.clamp(min=0).numpy()[None])[0] * source.mask[box]
    return low
