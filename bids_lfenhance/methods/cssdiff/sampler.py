"""Whole brains through ``cssdiff``: the chain, slice by slice over one noise (methods.md §1.7)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import InputError
from ...imaging.volume import Volume
from ...nn.cut import OUTSIDE, Cut
from ...nn.memory import FLOAT, choose_size, halves, peak_bytes
from ...nn.method import Draw
from ...nn.precision import use_precision
from ...nn.samplers import ddim
from ...nn.schedule import uniform_levels
from ...nn.weights import Loaded, default_weights, load_weights
from ..contrast import finished, shown
from .chain import Condition, chain_levels, clean_at, schedule, walk
from .maps import ANSWERS, maps_of, shows
from .network import TOKEN
from .recipe import CHANNELS, CssDiffSettings, build, seen_channels, used
from .slices import AROUND, Slices, as_slices, as_volume, embed, padding, tokens_of

FIELDS = 10
"""Copies of a session's image that are in memory at once, beside noises and what the networks need."""

USED = ("denoiser", "encoder", "restorer", "reverse")
"""The networks that are needed to enhance, and to say where the result is to be doubted."""


def set_up(volume: Volume, settings: CssDiffSettings) -> Mapping[str, Any]:
    """``nets`` in their trained state on their device, their ``settings``, what was ``loaded``, ``precision``, the
    session as it is ``shown``, as in training.

    Weights that know only some of the session's contrasts will do; the others keep their own image. The denoiser runs
    in half precision where the processor has it, as in training; the chain's states stay float32.
    """
    source = settings.weights
    if source == "auto":
        source = default_weights("cssdiff", volume.contrasts) or "auto"
    loaded = load_weights(source, "cssdiff", ())
    settings = used(settings, loaded.settings)
    wanted = {"denoiser", "encoder"} | {ANSWERS[name][0] for name in shows(loaded)}
    built = build(replace(settings, lsc=True, reverse="learned"))
    nets = {name: net for name, net in built.items() if name in wanted and name in loaded.state}
    if settings.lsc_refine and "restorer" not in nets:
        raise InputError(
            f"Expected a restorer in {loaded.path} for --cssdiff-lsc-refine, found none; leave the option out, or use "
            "weights that were trained with --cssdiff-lsc."
        )
    for name, net in nets.items():
        net.load_state_dict(loaded.state[name])
        net.to(torch.device(settings.device)).eval()
    half = use_precision({"denoiser": nets["denoiser"]}, settings.precision, torch.device(settings.device))
    return {
        "nets": nets,
        "settings": settings,
        "loaded": loaded,
        "precision": "bf16" if half else "fp32",
        "shown": shown(volume, settings.fusion, loaded.contrasts),
    }


def fit(nets: Mapping[str, Any], volume: Volume, limit: int) -> Mapping[str, Any]:
    """``nets`` with as many slices at once as ``limit`` bytes allow, at most those of the settings."""
    settings: CssDiffSettings = nets["settings"]
    sides = Cut.of(nets["shown"].volume, nets["loaded"].contrasts).mask.shape
    pixels = [side + more for side, more in zip(sides, padding(sides), strict=False)]
    with torch.device("meta"):
        built = build(replace(settings, lsc=True, reverse="learned"))

    def needed(count: int) -> int:
        with torch.device("meta"):
            image, seen = (torch.empty(count, width, *pixels) for width in (CHANNELS, seen_channels(settings)))
            tokens, level = torch.empty(count, 2 * AROUND + 1, TOKEN), torch.empty(count, dtype=torch.long)
        calls = {
            "denoiser": lambda: built["denoiser"](image, seen, tokens if settings.sgp else None, level),
            "restorer": lambda: built["restorer"](image),
            "reverse": lambda: built["reverse"](image),
        }
        whole = (FIELDS + settings.steps) * CHANNELS * pixels[0] * pixels[1] * sides[2] * FLOAT
        return whole + max(peak_bytes(calls[name]) for name in calls if name in nets["nets"])

    advice = "choose smaller weights, or --sloppy, whose grid is coarser"
    count = choose_size(halves(settings.slices_at_once), needed, limit, "cssdiff", sides, advice)
    return {**nets, "settings": replace(settings, slices_at_once=count)}


def enhance_batch(
    nets: Mapping[str, nn.Module], batch: Mapping[str, Tensor], settings: CssDiffSettings, generator: torch.Generator
) -> Tensor:
    """(B, C, X, Y, Z) float32 inside the mask, not negative; zero for contrasts that are not in the input.

    All items get one noise. ``settings.slices_at_once`` bounds the memory and changes nothing else;
    ``settings.strength`` of the way is gone from the input to what the network says (0: all of it), of which
    ``settings.lsc_refine`` is the restorer's.
    """
    slices = as_slices(batch)
    out = torch.full_like(slices.low, -1)
    levels = chain_levels(settings.steps) if settings.ccd else uniform_levels(990, settings.ddim_steps)
    with torch.no_grad():
        count = len(levels) - 1 if settings.ccd else 1
        noises = torch.randn((count, *slices.low.shape[1:]), generator=generator, device=generator.device)
        embedded = None
        if settings.sgp:
            embedded = embed(nets["encoder"], slices.low, slices.present)  # type: ignore[arg-type]
        for item in range(len(out)):
            brain = slices.mask[item].flatten(1).any(dim=1).nonzero()[:, 0]
            for index in brain.split(settings.slices_at_once) if len(brain) else ():
                here = torch.full_like(index, item)
                tokens = None if embedded is None else tokens_of(embedded, here, index)
                drawn = noises[:, index.to(noises.device)].to(out.device)
                image = _solve(nets["denoiser"], slices, here, index, tokens, drawn, levels, settings)
                if settings.lsc_refine:
                    live = slices.live[item][:, None, None]
                    restored = nets["restorer"](torch.where(live, image, -1.0)).float()
                    image = torch.lerp(image, restored, settings.lsc_refine)
                out[item, index] = image
    found = as_volume(torch.lerp(slices.low, out, settings.strength or 1.0), batch["input"].shape).clamp(min=0)
    return found * batch["mask"] * slices.live[:, :, None, None, None]


def _solve(
    net: nn.Module,
    slices: Slices,
    item: Tensor,
    index: Tensor,
    tokens: Tensor | None,
    noises: Tensor,
    levels: list[int],
    settings: CssDiffSettings,
) -> Tensor:
    given = Condition(slices.seen(item, index, settings.n_ctx), tokens, slices.mask[item, index])
    if settings.ccd:
        return walk(net, given, noises, levels, lean=False, literal=settings.chain == "literal")[0]

    def predict(state: Tensor, level: int) -> Tensor:
        return schedule().velocity_from_clean(state, clean_at(net, state, given, level), level)

    return ddim(predict, noises[0], schedule(), levels)


def draw(nets: Mapping[str, Any], volume: Volume, settings: CssDiffSettings, generator: np.random.Generator) -> Draw:
    """One draw: high field as it might be, from fresh noise."""
    loaded: Loaded = nets["loaded"]
    inner: CssDiffSettings = nets["settings"]
    cut = Cut.of(nets["shown"].volume, loaded.contrasts)
    batch = {"input": cut.scaled(), "present": cut.known, "mask": cut.mask[None]}
    there = {key: torch.from_numpy(value)[None].to(settings.device) for key, value in batch.items()}
    seed = int(generator.integers(2**63))
    # Drawn on the processor, so that a GPU starts from the same noise.
    found = enhance_batch(nets["nets"], there, inner, torch.Generator().manual_seed(seed))
    record = {
        "weights": str(loaded.path),
        "input": nets["shown"].record,
        "weights_sha256": loaded.sha256,
        "scale": cut.scales(),
        "precision": nets["precision"],
        "seed": seed,
        "strength": inner.strength or 1.0,
        "lsc_refine": inner.lsc_refine,
        "slices_at_once": inner.slices_at_once,
        "nfe": inner.steps if inner.ccd else inner.ddim_steps,
        "outside": OUTSIDE,
        "warnings": [*nets["shown"].record["warnings"], *cut.warnings(loaded.contrasts)],
    }
    maps = maps_of(nets["nets"], found, cut, there, inner)
    drawn = Draw(cut.paste(found[0].cpu().numpy()), record, maps)
    return finished(drawn, volume, inner.contrast, nets["shown"])
