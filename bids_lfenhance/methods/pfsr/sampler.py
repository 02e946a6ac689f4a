"""Whole brains through the network of ``pfsr``: weights, windows, and the draws behind the uncertainty."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...imaging.volume import Stack, Volume
from ...nn.cut import OUTSIDE, Cut
from ...nn.memory import FLOAT, choose_size, peak_bytes
from ...nn.method import Draw
from ...nn.precision import use_precision
from ...nn.weights import Loaded, default_weights, load_weights
from ..contrast import finished, shown
from ..options import as_trained
from .loss import singles
from .network import Enhancer
from .recipe import PfsrSettings, build

FIELDS = 12
"""Copies of one contrast's image that are in memory at once, beside what the network needs."""

WINDOWS = (128, 96, 64, 48, 32)
"""Sides of windows to try where the whole brain does not fit."""


def set_up(volume: Volume, settings: PfsrSettings) -> Mapping[str, Any]:
    """``enhancer`` in its trained state on its device, its ``settings``, what was ``loaded``, ``precision``, the
    session as it is ``shown``, as in training.

    Weights that know only some of the session's contrasts will do; the others keep their own image. Half precision is
    used where the processor has it, as in training: several times faster, and told in the record.
    """
    source = settings.weights
    if source == "auto":
        source = default_weights("pfsr", volume.contrasts) or "auto"
    loaded = load_weights(source, "pfsr", ())
    settings = as_trained(settings, loaded.settings)
    network = build(settings)["enhancer"]
    network.load_state_dict(loaded.state["enhancer"])
    device = torch.device(settings.device)
    network.to(device).eval()
    half = use_precision({"enhancer": network}, settings.precision, device)
    precision = "bf16" if half else "fp32"
    return {
        "enhancer": network,
        "settings": settings,
        "loaded": loaded,
        "precision": precision,
        "shown": shown(volume, settings.fusion, loaded.contrasts),
    }


def fit(nets: Mapping[str, Any], volume: Volume, limit: int) -> Mapping[str, Any]:
    """``nets`` with the largest windows, at most those of the settings, that ``limit`` bytes allow: the same result."""
    settings: PfsrSettings = nets["settings"]
    sides = Cut.of(nets["shown"].volume, nets["loaded"].contrasts).mask.shape
    with torch.device("meta"):
        network = build(settings)["enhancer"]
    assert isinstance(network, Enhancer)
    halo = 2 * network.reach

    def needed(window: int) -> int:
        seen = [min(side, window + halo) if window else side for side in sides]
        image, contrast = torch.empty(1, 1, *seen, device="meta"), torch.empty(1, dtype=torch.long, device="meta")
        return FIELDS * math.prod(sides) * FLOAT + peak_bytes(lambda: network(image, contrast))

    wanted = settings.window or max(sides)
    sizes = [] if settings.attention == "global" else [size for size in WINDOWS if size < wanted]
    advice = "choose smaller weights, or --sloppy, whose grid is coarser"
    window = choose_size([settings.window, *sizes], needed, limit, "pfsr", sides, advice)
    return {**nets, "settings": replace(settings, window=window)}


def enhance_batch(nets: Mapping[str, nn.Module], batch: Mapping[str, Tensor], settings: PfsrSettings) -> Tensor:
    """(B, C, X, Y, Z) float32 inside the mask, every contrast present on its own: no result leans on its neighbours.

    ``settings.strength`` of the way from the input to what the network says (0: all of it).
    """
    network = nets["enhancer"]
    assert isinstance(network, Enhancer)
    out = torch.zeros_like(batch["input"])
    with torch.no_grad():
        items, contrasts, images = singles(batch, batch["present"])
        for number, (item, contrast) in enumerate(zip(items.tolist(), contrasts.tolist(), strict=True)):
            one = slice(number, number + 1)
            found = _whole(network, images[one], contrasts[one], settings.window)
            out[item, contrast] = torch.lerp(images[one], found, settings.strength or 1.0)[0, 0]
    return out * batch["mask"]


def _whole(network: Enhancer, image: Tensor, contrast: Tensor, window: int) -> Tensor:
    """(1, 1, X, Y, Z) float32, in one piece or in windows that see as far around themselves as the network reaches."""
    if not window:
        found: Tensor = network(image, contrast).float()
        return found
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


def draw(nets: Mapping[str, Any], volume: Volume, settings: PfsrSettings, generator: np.random.Generator) -> Draw:
    """One draw: the session with fresh noise, mirrored left to right and moved by chance, enhanced, moved back.

    The spread over draws is what the scan's own noise, and the network's failing symmetries, do to the result. What
    the network learnt wrongly from its examples it gets wrong in every draw: the spread is a lower bound.
    """
    loaded: Loaded = nets["loaded"]
    inner: PfsrSettings = nets["settings"]
    cut, seen = Cut.of(nets["shown"].volume, loaded.contrasts), nets["shown"]
    if inner.noise:
        seen = shown(_noisier(volume, inner.noise, generator), inner.fusion, loaded.contrasts)
    image = seen.volume.image[(slice(None), *cut.box)]
    mirrored, shift = bool(generator.integers(2)), generator.integers(0, inner.shuffle, 3)
    moved = _moved(cut.scale.apply(image, cut.mask), mirrored, shift)
    batch = {
        "input": torch.from_numpy(moved)[None],
        "present": torch.from_numpy(cut.known)[None],
        "mask": torch.from_numpy(_moved(cut.mask[None], mirrored, shift))[None],
    }
    found = enhance_batch(nets, {key: value.to(settings.device) for key, value in batch.items()}, inner)
    record = {
        "weights": str(loaded.path),
        "input": nets["shown"].record,
        "weights_sha256": loaded.sha256,
        "strength": inner.strength or 1.0,
        "scale": cut.scales(),
        "precision": nets["precision"],
        "window": inner.window,
        "mirrored": mirrored,
        "shift": shift.tolist(),
        "outside": OUTSIDE,
        "nfe": 1,
        "warnings": [*nets["shown"].record["warnings"], *cut.warnings(loaded.contrasts)],
    }
    return finished(
        Draw(cut.paste(_moved_back(found[0].cpu().numpy(), mirrored, shift)), record),
        volume,
        inner.contrast,
        seen,
    )


def _noisier(volume: Volume, times: float, generator: np.random.Generator) -> Volume:
    """The session with fresh noise in its stacks, ``times`` as strong as their own."""

    def worse(stack: Stack) -> Stack:
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
