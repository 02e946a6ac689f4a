"""Whole brains through the network of ``pfsr``: weights, windows, and the draws behind the uncertainty."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from torch import Tensor

from ...imaging.fusion import fuse_session
from ...imaging.volume import Stack, Volume
from ...nn.batch import Batch, collate
from ...nn.crop import OUTSIDE, BrainCrop
from ...nn.memory import FLOAT, choose_size, peak_bytes
from ...nn.method import Draw, Prepared, StartingImage
from ...nn.precision import use_precision
from ...nn.settings import JsonObject
from ...nn.stage import Nets
from ...nn.weights import LoadedWeights, load_for_session
from ..contrast import restore, starting_image
from ..options import COARSER
from .loss import singles
from .network import PfsrNet, build
from .settings import ABOUT, PfsrSampling, PfsrSettings, resolve

FIELDS = 12
"""Copies of one contrast's image that are in memory at once, beside what the network needs."""

WINDOWS = (128, 96, 64, 48, 32)
"""Sides of windows to try where the whole brain does not fit."""


@dataclass(frozen=True, eq=False)
class PfsrPrepared(Prepared[PfsrSettings]):
    """What all draws share.

    ``nets`` in their trained state on their device, multiplying in ``precision``; ``estimate``, the image that the
    network starts from, as in training, and ``crop`` the brain of it.
    """

    nets: Nets
    loaded: LoadedWeights
    precision: str
    estimate: StartingImage
    crop: BrainCrop


def prepare(volume: Volume, sampling: PfsrSampling) -> PfsrPrepared:
    """The trained network, and the image it starts from."""
    loaded = load_for_session(sampling.weights, ABOUT.name, volume.contrasts)
    settings = resolve(sampling, loaded.settings)
    device = torch.device(settings.device)
    nets = loaded.into(build(settings), device)
    half = use_precision(nets, settings.precision, device)
    start = starting_image(volume, settings.fusion, loaded.contrasts)
    crop = BrainCrop.of(start.volume, loaded.contrasts)
    return PfsrPrepared(volume, settings, nets, loaded, "bf16" if half else "fp32", start, crop)


def fit_to_memory(prepared: PfsrPrepared, limit: int) -> PfsrPrepared:
    """The same with the largest windows, at most those of the settings, that ``limit`` bytes allow: the same result."""
    settings, sides = prepared.settings, prepared.crop.mask.shape
    with torch.device("meta"):
        network = build(settings)["enhancer"]
    assert isinstance(network, PfsrNet)
    halo = 2 * network.reach

    def needed(window: int) -> int:
        seen = [min(side, window + halo) if window else side for side in sides]
        image, contrast = torch.empty(1, 1, *seen, device="meta"), torch.empty(1, dtype=torch.long, device="meta")
        return FIELDS * math.prod(sides) * FLOAT + peak_bytes(lambda: network(image, contrast))

    wanted = settings.window or max(sides)
    sizes = [] if settings.attention == "global" else [size for size in WINDOWS if size < wanted]
    window = choose_size([settings.window, *sizes], needed, limit, sides, COARSER)
    return replace(prepared, settings=replace(settings, window=window))


def enhance_batch(nets: Nets, batch: Batch, settings: PfsrSettings) -> Tensor:
    """(B, C, X, Y, Z) float32 inside the mask, every contrast present enhanced by itself.

    ``settings.strength`` is the share of the network's change that is applied (0: all of it).
    """
    network = nets["enhancer"]
    assert isinstance(network, PfsrNet)
    out = torch.zeros_like(batch.input)
    with torch.no_grad():
        items, contrasts, images = singles(batch, batch.present)
        for number, (item, contrast) in enumerate(zip(items.tolist(), contrasts.tolist(), strict=True)):
            one = slice(number, number + 1)
            answer = _whole(network, images[one], contrasts[one], settings.window)
            out[item, contrast] = torch.lerp(images[one], answer, settings.strength or 1.0)[0, 0]
    return out * batch.mask


def _whole(network: PfsrNet, image: Tensor, contrast: Tensor, window: int) -> Tensor:
    """(1, 1, X, Y, Z) float32, in one piece or in windows that see as far around themselves as the network reaches."""
    if not window:
        answer: Tensor = network(image, contrast).float()
        return answer
    out = torch.empty_like(image)
    for core, seen, inner in _windows(image.shape[2:], window, network.reach, network.shuffle):
        out[:, :, *core] = network(image[:, :, *seen], contrast).float()[:, :, *inner]
    return out


def _windows(
    shape: torch.Size, window: int, reach: int, multiple: int
) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...], tuple[slice, ...]]]:
    """(Part of the volume, the same with its surroundings, the part within those) of each window.

    Everything starts on a multiple of the folding, so that each voxel takes the same channel in every window.
    """
    size, halo = -(-window // multiple) * multiple, -(-reach // multiple) * multiple
    for corner in product(*(range(0, side, size) for side in shape)):
        core = tuple(slice(c, min(c + size, side)) for c, side in zip(corner, shape, strict=True))
        seen = tuple(
            slice(max(0, s.start - halo), min(side, s.stop + halo)) for s, side in zip(core, shape, strict=True)
        )
        inner = tuple(slice(c.start - s.start, c.stop - s.start) for c, s in zip(core, seen, strict=True))
        yield core, seen, inner


def sample(prepared: PfsrPrepared, generator: np.random.Generator) -> Draw:
    """One draw: the session with fresh noise, mirrored left to right and shifted at random, enhanced, moved back.

    The spread over draws shows what the scan's noise does to the result, and that the network is not symmetric under
    mirroring and shifts. What it learned wrongly is wrong in every draw: the spread is a lower bound of the error.
    """
    settings, crop, start = prepared.settings, prepared.crop, prepared.estimate
    if settings.noise:
        noisier = _noisier(prepared.volume, settings.noise, prepared.loaded.contrasts, generator)
        if settings.fusion == "mean":  # starting_image expects the mean in the volume
            noisier = replace(noisier, image=fuse_session(noisier, "mean"))
        start = starting_image(noisier, settings.fusion, prepared.loaded.contrasts)
    image = start.volume.image[(slice(None), *crop.box)]
    mirrored, shift = bool(generator.integers(2)), generator.integers(0, settings.shuffle, 3)
    moved, mask = (_moved(one, mirrored, shift) for one in (crop.scale.apply(image, crop.mask), crop.mask[None]))
    item = {"input": moved, "present": crop.known, "mask": mask}
    result = enhance_batch(prepared.nets, collate([item]).to(settings.device), settings)
    enhanced = _moved_back(result[0].cpu().numpy(), mirrored, shift)
    drawn = {"window": settings.window, "mirrored": mirrored, "shift": shift.tolist(), "nfe": 1}
    around = replace(crop, volume=start.volume)  # outside the mask too, the image has the noise of this draw
    draw = Draw(around.paste(enhanced), _record(prepared, drawn))
    return restore(draw, prepared.volume, settings.contrast, start)


def _record(prepared: PfsrPrepared, drawn: JsonObject) -> JsonObject:
    """The record of a draw: what is the same for all, and ``drawn``, what is this one's."""
    loaded = prepared.loaded
    return {
        "weights": loaded.where,
        "input": prepared.estimate.record,
        "weights_sha256": loaded.sha256,
        "scale": prepared.crop.scales(),
        "precision": prepared.precision,
        "strength": prepared.settings.strength or 1.0,
        "outside": OUTSIDE,
        **drawn,
        "warnings": [*prepared.estimate.record["warnings"], *prepared.crop.warnings(loaded.contrasts)],
    }


def _noisier(volume: Volume, times: float, contrasts: Sequence[str], generator: np.random.Generator) -> Volume:
    """The session with fresh noise in its stacks of some contrasts, ``times`` as strong as their own."""

    def worse(stack: Stack) -> Stack:
        if stack.contrast not in contrasts:
            return stack
        noise = generator.normal(0, times * stack.sigma, stack.data.shape).astype(np.float32)
        return replace(stack, data=stack.data + noise, sigma=float(np.hypot(1, times) * stack.sigma))

    # Sorted, so that the order in which files were found changes nothing.
    return replace(volume, stacks=tuple(worse(stack) for stack in sorted(volume.stacks, key=lambda s: s.name)))


def _moved(image: np.ndarray, mirrored: bool, shift: np.ndarray) -> np.ndarray:
    """(C, X', Y', Z'): mirrored along the first axis, then moved away from the origin over zeros."""
    image = image[:, ::-1] if mirrored else image
    return np.pad(image, [(0, 0), *((int(n), 0) for n in shift)])


def _moved_back(image: np.ndarray, mirrored: bool, shift: np.ndarray) -> np.ndarray:
    """(C, X, Y, Z): the inverse of ``_moved``."""
    image = image[:, shift[0] :, shift[1] :, shift[2] :]
    return image[:, ::-1] if mirrored else image
