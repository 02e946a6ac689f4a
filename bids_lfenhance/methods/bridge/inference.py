"""Whole brains over the bridge and down from noise: one field, one noise, windows blended inside every step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...config import CONTRASTS
from ...imaging.volume import Volume
from ...nn import samplers
from ...nn.batch import Batch
from ...nn.memory import FLOAT, halves, peak_bytes
from ...nn.method import Draw
from ...nn.schedule import uniform_levels
from ...nn.stage import Nets
from ...nn.windows import Windows, blend, windowed
from ..learned import Learned, finish, fit_count, load, record_of, set_up
from .network import build
from .parametrization import (
    BACKGROUND,
    SCHEDULE,
    bridge_denoise,
    clamp_inside,
    from_signed_range,
    maps_of,
    noise_embedding,
    to_signed_range,
    velocity,
)
from .settings import ABOUT, BridgeSampling, BridgeSettings, resolve

MULTIPLE = 32
"""What the sides of a window are a multiple of: that of the published bridge, and of every U-Net up to 6 levels."""


CHANNELS = {"bridge": 2 * len(CONTRASTS), "prior": 3 * len(CONTRASTS)}
"""Of what each network is given."""

FIELDS = 14
"""Copies of a session's image that are in memory at once, beside what the networks need."""


def prepare(volume: Volume, sampling: BridgeSampling) -> Learned[BridgeSettings]:
    """What all draws share: the networks that the weights have, and the image they start from."""
    loaded = load(ABOUT, volume, sampling)
    settings = resolve(sampling, loaded.settings)
    nets = build(replace(settings, **{name: loaded.settings[name] for name in ("bridge", "diffusion")}))
    return set_up(volume, settings, loaded, nets)


def fit_to_memory(prepared: Learned[BridgeSettings], limit: int) -> Learned[BridgeSettings]:
    """The same with as many windows at once as ``limit`` bytes allow, at most those of the settings."""
    settings, sides = prepared.settings, prepared.crop.mask.shape
    size = windows_for(sides, settings).size
    with torch.device("meta"):
        built = build(replace(settings, bridge="bridge" in prepared.nets, diffusion="prior" in prepared.nets))

    def needed(count: int) -> int:
        level = torch.empty(count, device="meta")
        crops = {name: torch.empty(count, width, *size, device="meta") for name, width in CHANNELS.items()}
        work = [peak_bytes(partial(net, crops[name], level)) for name, net in built.items()]
        field = math.prod(max(*pair) for pair in zip(sides, size, strict=True))
        fields = FIELDS + 4 * (settings.windows == "per_window")  # a window's states beside what waits for it
        return fields * len(CONTRASTS) * field * FLOAT + max(work) + sum(crop.nbytes for crop in crops.values())

    advice = "choose smaller weights or a smaller --bridge-window"
    return fit_count(prepared, "window_batch", halves(settings.window_batch), needed, limit, advice)


def enhance_batch(nets: Nets, batch: Batch, settings: BridgeSettings, generator: torch.Generator) -> Tensor:
    """(B, C, X, Y, Z) float32 inside the mask; each item as it would be alone, with the same noise.

    ``settings.strength`` of the way from the input to what the networks say (0: all of it).
    """
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    found = []
    with torch.no_grad():
        for number in range(len(batch)):
            one = batch[number : number + 1]
            inside = one.present[:, :, None, None, None] & one.mask
            # Drawn on the CPU, so that every device gets the same noise.
            image = Field(nets, one.input, inside, one.present, settings).enhance(torch.Generator().manual_seed(seed))
            image = torch.lerp(one.input, from_signed_range(image), settings.strength or 1.0)
            found.append(torch.where(inside, image, 0.0))
    return torch.cat(found)


@dataclass(frozen=True)
class Field:
    """One session on its way: ``image`` (1, C, X, Y, Z) scaled, ``inside`` alike and bool, ``present`` (1, C)."""

    nets: Nets
    image: Tensor
    inside: Tensor
    present: Tensor
    settings: BridgeSettings

    def enhance(self, generator: torch.Generator) -> Tensor:
        """(1, C, X, Y, Z) in [−1.05, 1.05]: over the bridge, then diffused, as far as the settings want it."""
        image = self.over_the_bridge(generator)
        prior = self.nets.get("prior") if self.settings.diffuses else None
        # Before its training a prior answers nothing: in the first stage the bridge's image is what there is to judge.
        return image if prior is None or not prior.gain else self.diffused(image, generator)

    def over_the_bridge(self, generator: torch.Generator) -> Tensor:
        """x̂_0 of the bridge, (1, C, X, Y, Z), by windows over one noise, the mean of as many as there are crossings;
        without a bridge the low field as it is.
        """
        low = to_signed_range(self.image, self.inside)
        noises = [samplers.randn_like(self.image, generator) for _ in range(self.settings.crossings)]
        if "bridge" not in self.nets or not self.settings.bridge:
            return low
        net, level = self.nets["bridge"], self.settings.crossing
        present, windows = maps_of(self.present, low), self._windows()

        def bridge(state: Tensor) -> Tensor:
            return blend(
                lambda crops: net(crops, noise_embedding(_same(level, crops))).float(),
                torch.cat([state, present], dim=1),
                windows,
            )

        # As printed, step 3 of Algorithm 1 takes the noise off by Eq. 11 too; nothing else may follow it.
        literal = self.settings.sampler == "alg1_literal" and self.settings.diffuses
        found = torch.zeros_like(low)
        for noise in noises:
            found += bridge_denoise(bridge, low, noise, level, literal=literal)
        return found / len(noises) if literal else clamp_inside(found / len(noises), self.inside)

    def diffused(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """(1, C, X, Y, Z): ``image`` noised, and down again, by the sampler of the settings."""
        s, net, windows = self.settings, self.nets["prior"], self._windows()
        shown, present = image, maps_of(self.present, image)
        if s.sampler != "conditional":
            shown, present = torch.full_like(image, BACKGROUND), torch.zeros_like(present)
        condition = torch.cat([shown, present], dim=1)

        def ask(crops: Tensor, level: int) -> Tensor:
            return velocity(net, crops, _same(level, crops), s.predicts)

        if s.windows == "per_step":
            return diffuse(windowed(ask, windows, condition), image, self.inside, s, generator)

        def alone(crops: Tensor) -> Tensor:
            there, inside, given = crops.split((*(len(CONTRASTS),) * 2, condition.shape[1]), dim=1)
            return diffuse(
                lambda state, level: ask(torch.cat([state, given], 1), level), there, inside > 0, s, generator
            )

        # One at a time: the noise of a window must not depend on how many go with it.
        fields = torch.cat([image, self.inside.to(image.dtype), condition], dim=1)
        return blend(alone, fields, replace(windows, batch=1))

    def _windows(self) -> Windows:
        return windows_for(self.image.shape[2:], self.settings)


def diffuse(
    answer: samplers.Predict, image: Tensor, inside: Tensor, settings: BridgeSettings, generator: torch.Generator
) -> Tensor:
    """(B, C, X, Y, Z): ``image`` noised, and down again, by the sampler of the settings, whose v is ``answer``."""
    s, levels = settings, uniform_levels(settings.first, settings.steps or settings.first)

    def predict(state: Tensor, level: int) -> Tensor:
        clean = clamp_inside(SCHEDULE.clean(state, answer(state, level), level), inside)
        return SCHEDULE.velocity_from_clean(state, clean, level)

    if s.sampler == "alg1_literal":  # its x̂_0 is no image that could be held
        return clamp_inside(samplers.algorithm1(answer, image, SCHEDULE, levels, s.j, generator, literal=True), inside)
    if s.sampler == "alg1_tweedie":
        return samplers.algorithm1(predict, image, SCHEDULE, levels, s.j, generator)
    state = SCHEDULE.add_noise(image, samplers.randn_like(image, generator), s.first)
    if s.sampler == "repaint":
        return samplers.repaint(predict, state, SCHEDULE, levels, s.j, generator)
    return samplers.ddim(predict, state, SCHEDULE, levels)


def windows_for(sides: Sequence[int], settings: BridgeSettings) -> Windows:
    """The windows on a field, no larger than it needs: what lies beyond is made up."""
    s = settings
    wanted = (s.window,) * 3 if s.window else (s.patch, s.patch, s.patch_z)
    needed = [-(-side // MULTIPLE) * MULTIPLE for side in sides]
    size = tuple(min(*pair) for pair in zip(wanted, needed, strict=True))
    return Windows(size, s.overlap, s.window_batch)


def _same(level: int, crops: Tensor) -> Tensor:
    """(N,) the level of all windows (N, …)."""
    return torch.full((len(crops),), level, device=crops.device)


def sample(prepared: Learned[BridgeSettings], generator: np.random.Generator) -> Draw:
    """One draw of the prior, from noise of its own over the bridge and of its own at the start of the diffusion.

    The spread over draws is what the prior holds possible given the bridge's image, and what the noise on the way over
    the bridge does to that, times the share of the change that is applied; what both learned wrongly is in none of it.
    """
    settings = prepared.settings
    noise = torch.Generator().manual_seed(int(generator.integers(2**62)))
    result = enhance_batch(prepared.nets, prepared.batch(), settings, noise)
    stage = "diffusion" if settings.diffuses else "bridge"
    record = record_of(prepared, window_batch=settings.window_batch, stage=stage, nfe=evaluations(settings))
    return finish(prepared, result[0], record)


def evaluations(settings: BridgeSettings) -> int:
    """How often a network looks at the whole field for one draw."""
    s = settings
    each = 1 if s.sampler in ("conditional", "unconditional_ddim") else s.j
    return s.bridge * s.crossings + ((s.steps or s.first) * each if s.diffuses else 0)
