"""Whole brains through ``cfm``: the way from the source to high field, slice by slice over one noise."""

import numpy as np
import torch
from torch import Tensor, nn

from ...config import CONTRASTS
from ...imaging.volume import Volume
from ...nn.batch import Batch
from ...nn.memory import FLOAT, halves, peak_bytes
from ...nn.method import Draw
from ...nn.stage import Nets
from ...nn.weights import Loaded
from ..learned import COARSER, Learned, finish, fit_count, load, record_of, set_up
from .network import VelocityNet, build
from .path import evaluations, integrate, start_from
from .settings import ABOUT, CfmSampling, CfmSettings, resolve
from .slices import AXIS, Slices, as_slices, as_volume, draw_noise

FIELDS = 8
"""Copies of a session's image that are in memory at once, beside what the network needs."""

ENOUGH = 16
"""Steps from which the spread of draws is near the true one, 98 and 94 % of the variance with Heun."""


def prepare(volume: Volume, sampling: CfmSampling) -> Learned[CfmSettings]:
    """What all draws share; the network alone runs in half precision, what is added up over steps stays float32."""
    loaded = load(ABOUT, volume, sampling)
    settings = resolve(sampling, loaded.settings)
    return set_up(volume, settings, loaded, build(settings))


def fit_to_memory(prepared: Learned[CfmSettings], limit: int) -> Learned[CfmSettings]:
    """The same with as many slices at once as ``limit`` bytes allow, at most those of the settings."""
    settings, sides = prepared.settings, prepared.crop.mask.shape
    axis = AXIS[settings.plane] - 2
    channels, seen = len(CONTRASTS), len(CONTRASTS) * (2 * settings.n_ctx + 2)
    with torch.device("meta"):
        network = build(settings)["velocity"]
    assert isinstance(network, VelocityNet)
    multiple = network.multiple
    pixels = [-(-side // multiple) * multiple for number, side in enumerate(sides) if number != axis]

    def needed(count: int) -> int:
        image, condition = (torch.empty(count, width, *pixels, device="meta") for width in (channels, seen))
        time = torch.empty(count, device="meta")
        whole = FIELDS * channels * pixels[0] * pixels[1] * sides[axis] * FLOAT
        return whole + peak_bytes(lambda: network(image, condition, time))

    return fit_count(prepared, "slices_at_once", halves(settings.slices_at_once), needed, limit, COARSER)


def enhance_batch(nets: Nets, batch: Batch, settings: CfmSettings, generator: torch.Generator) -> Tensor:
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
    return as_volume(out, settings, batch.input.shape)


def _solve(network: nn.Module, slices: Slices, index: Tensor, noise: Tensor, settings: CfmSettings) -> Tensor:
    """(k, C, U, V): the slices ``index`` (1, k) at time 1."""
    live = slices.live[:, :, None, None]
    low, condition = slices.pick(slices.low, index) * live, slices.condition(index)
    start = start_from(slices.pick(noise, index), low, live, settings)
    inside = slices.pick(slices.region, index) & live
    return integrate(network, start, low, condition, inside, settings)


def sample(prepared: Learned[CfmSettings], generator: np.random.Generator) -> Draw:
    """One draw: the conditional mean, or high field as it might be, from fresh noise."""
    settings, mean = prepared.settings, prepared.settings.mode == "mean"
    seed = int(generator.integers(2**63))
    # Drawn on the processor, so that a GPU starts from the same noise.
    result = enhance_batch(prepared.nets, prepared.batch(), settings, torch.Generator().manual_seed(seed))
    record = record_of(
        prepared,
        seed=seed,
        mode=settings.mode,
        strength=(settings.strength or 1.0) if mean else 1.0,
        solver="euler" if mean else settings.solver,
        steps=1 if mean else settings.steps,
        slices_at_once=settings.slices_at_once,
        nfe=evaluations(settings),
        spread=SPREAD[settings.mode],
        warnings=_sampled(settings, prepared.loaded),
    )
    return finish(prepared, result[0], record)


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
