"""Whole brains through ``cssdiff``: the chain, slice by slice over one noise."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import InputError
from ...imaging.volume import Volume
from ...nn.batch import Batch
from ...nn.memory import FLOAT, halves, peak_bytes
from ...nn.method import Draw
from ...nn.samplers import ddim
from ...nn.schedule import uniform_levels
from ...nn.stage import Nets
from ..learned import Learned, finish, fit_count, load, record_of, set_up
from ..options import COARSER
from .chain import Condition, chain_levels, clean_at, schedule, walk
from .maps import MAP_NETWORKS, available_maps, maps_of
from .network import TOKEN, build
from .settings import ABOUT, CHANNELS, CssDiffSampling, CssDiffSettings, resolve, seen_channels
from .slices import AROUND, Slices, as_slices, as_volume, embed, padding, tokens_of

FIELDS = 10
"""Copies of a session's image that are in memory at once, beside noises and what the networks need."""


def prepare(volume: Volume, sampling: CssDiffSampling) -> Learned[CssDiffSettings]:
    """What all draws share; the denoiser alone runs in half precision, the chain's states stay float32."""
    loaded = load(ABOUT, volume, sampling)
    settings = resolve(sampling, loaded.settings)
    wanted = {"denoiser", "encoder"} | {MAP_NETWORKS[name][0] for name in available_maps(loaded)}
    built = build(replace(settings, lsc=True, reverse="learned"))
    nets = {name: net for name, net in built.items() if name in wanted and name in loaded.state}
    if settings.lsc_refine and "restorer" not in nets:
        raise InputError(
            f"Expected a restorer in {loaded.path} for --cssdiff-lsc-refine, found none; leave the option out, or use "
            "weights that were trained with --cssdiff-lsc."
        )
    return set_up(volume, settings, loaded, nets, ("denoiser",))


def fit_to_memory(prepared: Learned[CssDiffSettings], limit: int) -> Learned[CssDiffSettings]:
    """The same with as many slices at once as ``limit`` bytes allow, at most those of the settings."""
    settings, sides = prepared.settings, prepared.crop.mask.shape
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
        return whole + max(peak_bytes(calls[name]) for name in calls if name in prepared.nets)

    return fit_count(prepared, "slices_at_once", halves(settings.slices_at_once), needed, limit, COARSER)


def enhance_batch(nets: Nets, batch: Batch, settings: CssDiffSettings, generator: torch.Generator) -> Tensor:
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
    found = as_volume(torch.lerp(slices.low, out, settings.strength or 1.0), batch.input.shape).clamp(min=0)
    return found * batch.mask * slices.live[:, :, None, None, None]


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


def sample(prepared: Learned[CssDiffSettings], generator: np.random.Generator) -> Draw:
    """One draw: high field as it might be, from fresh noise."""
    settings, batch, seed = prepared.settings, prepared.batch(), int(generator.integers(2**63))
    # Drawn on the processor, so that a GPU starts from the same noise.
    result = enhance_batch(prepared.nets, batch, settings, torch.Generator().manual_seed(seed))
    record = record_of(
        prepared,
        seed=seed,
        lsc_refine=settings.lsc_refine,
        slices_at_once=settings.slices_at_once,
        nfe=settings.steps if settings.ccd else settings.ddim_steps,
    )
    return finish(prepared, result[0], record, maps_of(prepared.nets, result, prepared.crop, batch, settings))
