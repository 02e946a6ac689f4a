"""Whole brains through ``cfm``: the way from the source to high field, slice by slice over one noise."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...config import CONTRASTS
from ...imaging.volume import Volume
from ...nn.cut import OUTSIDE, Cut
from ...nn.memory import FLOAT, choose_size, halves, peak_bytes
from ...nn.method import Draw
from ...nn.precision import use_precision
from ...nn.weights import Loaded, default_weights, load_weights
from ..contrast import finished, shown
from .network import VelocityNet
from .recipe import CfmSettings, build, used
from .slices import AXIS, Slices, as_slices, as_volume, draw_noise
from .way import evaluations, start_from, walk

FIELDS = 8
"""Copies of a session's image that are in memory at once, beside what the network needs."""

ENOUGH = 16
"""Steps from which the spread of draws is near the true one, 98 and 94 % of the variance with Heun (methods.md §5)."""


def set_up(volume: Volume, settings: CfmSettings) -> Mapping[str, Any]:
    """``velocity`` in its trained state on its device, its ``settings``, what was ``loaded``, ``precision``, the
    session as it is ``shown``, as in training.

    Weights that know only some of the session's contrasts will do; the others keep their own image. Half precision is
    used where the processor has it, as in training, for the network alone: what is added up over steps stays float32.
    """
    source = settings.weights
    if source == "auto":
        source = default_weights("cfm", volume.contrasts) or "auto"
    loaded = load_weights(source, "cfm", ())
    settings = used(settings, loaded.settings)
    network, device = build(settings)["velocity"], torch.device(settings.device)
    network.load_state_dict(loaded.state["velocity"])
    network.to(device).eval()
    half = use_precision({"velocity": network}, settings.precision, device)
    return {
        "velocity": network,
        "settings": settings,
        "loaded": loaded,
        "precision": "bf16" if half else "fp32",
        "shown": shown(volume, settings.fusion, loaded.contrasts),
    }


def fit(nets: Mapping[str, Any], volume: Volume, limit: int) -> Mapping[str, Any]:
    """``nets`` with as many slices at once as ``limit`` bytes allow, at most those of the settings."""
    settings: CfmSettings = nets["settings"]
    sides = Cut.of(nets["shown"].volume, nets["loaded"].contrasts).mask.shape
    axis = AXIS[settings.plane] - 2
    multiple = nets["velocity"].multiple
    pixels = [-(-side // multiple) * multiple for number, side in enumerate(sides) if number != axis]
    channels, seen = len(CONTRASTS), len(CONTRASTS) * (2 * settings.n_ctx + 2)
    with torch.device("meta"):
        network = build(settings)["velocity"]

    def needed(count: int) -> int:
        image, condition = (torch.empty(count, width, *pixels, device="meta") for width in (channels, seen))
        time = torch.empty(count, device="meta")
        whole = FIELDS * channels * pixels[0] * pixels[1] * sides[axis] * FLOAT
        return whole + peak_bytes(lambda: network(image, condition, time))

    advice = "choose smaller weights, or --sloppy, whose grid is coarser"
    count = choose_size(halves(settings.slices_at_once), needed, limit, "cfm", sides, advice)
    return {**nets, "settings": replace(settings, slices_at_once=count)}


def enhance_batch(
    nets: Mapping[str, nn.Module], batch: Mapping[str, Tensor], settings: CfmSettings, generator: torch.Generator
) -> Tensor:
    """(B, C, X, Y, Z) float32 inside the mask, not negative; zero for contrasts that are not in the input.

    All items start from one noise, so that none leans on its neighbours. ``settings.slices_at_once`` bounds the memory
    and changes nothing else; slices without brain are not computed. Of the conditional mean ``settings.strength`` is
    taken (0: all), the rest is the input's; a sample is one possible image, and not to be diluted.
    """
    network = nets["velocity"]
    assert isinstance(network, VelocityNet)
    slices = as_slices(batch, settings, network.multiple)
    out = torch.zeros_like(slices.low)
    with torch.no_grad():
        noise = draw_noise(slices.low[:1], settings.noise_corr_z, generator)
        for item in range(len(out)):
            alone = slices.item(item)
            for index in alone.mask[0, 0].flatten(1).any(dim=1).nonzero()[:, 0].split(settings.slices_at_once):
                out[item][:, index] = _solve(network, alone, index[None], noise, settings).transpose(0, 1)
    if settings.mode == "mean":
        out = torch.lerp(slices.low, out, settings.strength or 1.0)
    out = out.clamp(min=0) * slices.mask * slices.live[:, :, None, None, None]
    return as_volume(out, settings, batch["input"].shape)


def _solve(network: nn.Module, slices: Slices, index: Tensor, noise: Tensor, settings: CfmSettings) -> Tensor:
    """(k, C, U, V): the slices ``index`` (1, k) at time 1."""
    live = slices.live[:, :, None, None]
    low, condition = slices.pick(slices.low, index) * live, slices.condition(index)
    start = start_from(slices.pick(noise, index), low, live, settings)
    inside = slices.pick(slices.region, index) & live
    return walk(network, start, low, condition, inside, settings)


def draw(nets: Mapping[str, Any], volume: Volume, settings: CfmSettings, generator: np.random.Generator) -> Draw:
    """One draw: the conditional mean, or high field as it might be, from fresh noise."""
    loaded: Loaded = nets["loaded"]
    inner: CfmSettings = nets["settings"]
    cut = Cut.of(nets["shown"].volume, loaded.contrasts)
    batch = {"input": cut.scaled(), "present": cut.known, "mask": cut.mask[None]}
    there = {key: torch.from_numpy(value)[None].to(settings.device) for key, value in batch.items()}
    seed = int(generator.integers(2**63))
    # Drawn on the processor, so that a GPU starts from the same noise.
    found = enhance_batch(nets, there, inner, torch.Generator().manual_seed(seed))
    mean = inner.mode == "mean"
    record = {
        "weights": str(loaded.path),
        "input": nets["shown"].record,
        "weights_sha256": loaded.sha256,
        "scale": cut.scales(),
        "precision": nets["precision"],
        "seed": seed,
        "mode": inner.mode,
        "strength": (inner.strength or 1.0) if mean else 1.0,
        "solver": "euler" if mean else inner.solver,
        "steps": 1 if mean else inner.steps,
        "slices_at_once": inner.slices_at_once,
        "nfe": evaluations(inner),
        "spread": SPREAD[inner.mode],
        "outside": OUTSIDE,
        "warnings": [*nets["shown"].record["warnings"], *cut.warnings(loaded.contrasts), *_sampled(inner, loaded)],
    }
    return finished(Draw(cut.paste(found[0].cpu().numpy()), record), volume, inner.contrast, nets["shown"])


SPREAD = {
    "mean": "none: each draw is the conditional mean, and their differences say nothing of its uncertainty",
    "sample": "draws of high field given low field, as the training data have it",
}
"""What the spread of draws means in each mode."""


def _sampled(settings: CfmSettings, loaded: Loaded) -> list[str]:
    """What the user should know of samples, with these weights and in so many steps."""
    said: list[str] = []
    if settings.mode == "sample" and 0 < (share := loaded.settings.get("strength", 0.0)) < 1:
        said.append(
            f"a sample takes all of the network's change, of which these weights ask for {share:g}: expect it, and the "
            "mean of a few, to be worse than mode mean; their standard deviation is what they are for"
        )
    if settings.mode == "sample" and settings.steps < ENOUGH:
        said.append(
            f"draws of {settings.steps} steps are too much alike: their standard deviation is less than the "
            f"uncertainty; use {ENOUGH} steps or more"
        )
    return said
