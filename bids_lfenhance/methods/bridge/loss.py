"""What ``bridge`` minimises: a bridge at one noise level, and a prior that is shown its image.

Only the brain counts, and only contrasts that both fields have: the others are background. Everything is a mean over
items of what each costs by itself, so that a batch may be cut up and its parts averaged.
"""

from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import InputError
from ...nn.batch import Batch, required
from ...nn.ssim import ssim
from ...nn.stage import Nets, Phase, Stage
from .parametrization import (
    BACKGROUND,
    SCHEDULE,
    bridge_denoise,
    from_signed_range,
    maps_of,
    noise_embedding,
    to_signed_range,
    velocity,
)
from .settings import BridgeSettings

CLEAR = 500
"""Above this level x̂_0 says too little of the image for its structure and edges to be judged."""


@dataclass(frozen=True)
class Pair:
    """Both fields, (B, C, X, Y, Z) in [−1.05, 1.05], and where they count: ``present`` (B, C), ``inside`` as they."""

    low: Tensor
    high: Tensor
    present: Tensor
    inside: Tensor

    @classmethod
    def of(cls, batch: Batch) -> "Pair":
        """The contrasts of a batch that both fields have, inside the mask; all else is background."""
        present = batch.live
        inside = present[:, :, None, None, None] & batch.mask
        return cls(
            to_signed_range(batch.input, inside), to_signed_range(required(batch.target), inside), present, inside
        )

    def mean(self, values: Tensor) -> Tensor:
        """A scalar: values (B, C, X, Y, Z) where they count, averaged in each item, then over items."""
        return self.mean_of_items((values * self.inside).sum(dim=(2, 3, 4)), self.inside.sum(dim=(2, 3, 4)))

    def mean_of_items(self, sums: Tensor, counts: Tensor) -> Tensor:
        """A scalar: sums over counts, (B, C) each, in each item, then over items; 0 for an item without any."""
        return (sums.sum(dim=1) / counts.sum(dim=1).clamp(min=1)).mean()


def bridge_name(fold: int | None) -> str:
    """The network that does not know the people of a fold; None: the one that knows all, and is used."""
    return "bridge" if fold is None else f"bridge-{fold}"


def cross(
    nets: Nets,
    batch: Batch,
    settings: BridgeSettings,
    generator: torch.Generator,
    field: Literal["low", "high"] = "low",
    fold: int | None = None,
) -> dict[str, Tensor]:
    """From low field, ``cross``: squared error of the bridge's x̂_0, the paper's second loss; the first is ᾱ times this,
    exactly. From high field, ``stay``, the third: how much the bridge changes it.

    People of the ``fold`` that a bridge is not to know cost nothing.
    """
    name, bridge, share = "cross" if field == "low" else "stay", nets[bridge_name(fold)], 1.0
    if fold is not None:
        known = required(batch.person) % settings.folds != fold
        if not known.any():
            return {name: 0 * next(bridge.parameters()).sum()}
        # A share of the batch, so that it may be cut up and its parts averaged.
        batch, share = batch[known], float(known.float().mean())
    pair = Pair.of(batch)
    level = _levels(pair, settings.lowest, settings.highest, generator)
    return {name: share * crossing(bridge, pair, getattr(pair, field), level, _noise(pair, generator))}


def crossing(bridge: nn.Module, pair: Pair, image: Tensor, level: Tensor, noise: Tensor) -> Tensor:
    """A scalar: squared distance from the high field of an ``image`` over the bridge at ``level`` (B,)."""
    return pair.mean((_over(bridge, pair, image, level, noise) - pair.high).square())


def denoise(nets: Nets, batch: Batch, settings: BridgeSettings, generator: torch.Generator) -> dict[str, Tensor]:
    """``noise``, and weighted ``ssim`` and ``sobel`` of x̂_0, of the prior that is shown a bridge's image.

    Of people the bridge has learned from it would be better than what the prior will see in use: so it comes from one
    that does not know them, where there are folds, and is blurred, made noisy and not shown randomly.
    """
    pair = Pair.of(batch)
    shown = (
        bridged(nets, pair, required(batch.person), settings, _noise(pair, generator)) if "bridge" in nets else pair.low
    )
    condition = torch.cat(roughened(pair, shown, settings, generator), dim=1)
    level = _levels(pair, 1, settings.highest, generator)
    return denoising(nets["prior"], pair, condition, level, _noise(pair, generator), settings)


@torch.no_grad()
def bridged(nets: Nets, pair: Pair, person: Tensor, settings: BridgeSettings, noise: Tensor) -> Tensor:
    """(B, C, X, Y, Z) each item's image over the bridge that does not know its ``person`` (B,)."""
    level = torch.full((len(noise),), settings.crossing, device=noise.device)
    if not settings.folds:
        return _over(nets["bridge"], pair, pair.low, level, noise)
    shown = torch.empty_like(noise)
    for fold in torch.unique(person % settings.folds).tolist():
        held = person % settings.folds == fold
        part = Pair(pair.low[held], pair.high[held], pair.present[held], pair.inside[held])
        shown[held] = _over(nets[bridge_name(fold)], part, part.low, level[held], noise[held])
    return shown


def denoising(
    prior: nn.Module, pair: Pair, condition: Tensor, level: Tensor, noise: Tensor, settings: BridgeSettings
) -> dict[str, Tensor]:
    """The losses of ``denoise`` given everything that is drawn: ``condition`` (B, 2C, X, Y, Z), ``level`` (B,).

    ``noise`` is the squared error of ε̂, which is ᾱ times that of v; where there is little noise (ᾱ above 5/6) it is
    held back, or the network would learn nothing else (Hang et al. 2023).
    """
    state = SCHEDULE.add_noise(pair.high, noise, level)
    found_v = velocity(prior, torch.cat([state, condition], dim=1), level, settings.predicts)
    off = (found_v - SCHEDULE.velocity(pair.high, noise, level)).square()
    found = {"noise": pair.mean(_each(SCHEDULE.min_snr_weight(level)) * off)}
    clean = torch.where(pair.inside, SCHEDULE.clean(state, found_v, level), BACKGROUND)
    trust = SCHEDULE.shares.to(level.device)[level].float() * (level <= CLEAR)
    if settings.ssim:
        shape, mask = (-1, 1, *clean.shape[2:]), pair.inside.flatten(0, 1)[:, None]
        alike = ssim(from_signed_range(clean).reshape(shape), from_signed_range(pair.high).reshape(shape), mask)
        unlike = (1 - alike.reshape(pair.present.shape)) * pair.present * trust[:, None]
        found["ssim"] = settings.ssim * pair.mean_of_items(unlike, pair.present)
    if settings.sobel:
        off = (edges(clean) - edges(pair.high)).abs() * _each(trust)
        found["sobel"] = settings.sobel * pair.mean(off)
    return found


def roughened(pair: Pair, shown: Tensor, settings: BridgeSettings, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What the prior is shown, and which contrasts of it there are, (B, C, X, Y, Z) each, spoilt randomly."""
    items, device = len(shown), shown.device
    chance = torch.rand(3, items, generator=generator, device=device)
    shown = blurred(shown, settings.condition_blur * chance[0])
    amount = _each(settings.condition_noise * chance[1])
    shown = shown + amount * _noise(pair, generator)
    seen = chance[2] >= settings.condition_drop
    present = pair.present & seen[:, None]
    shown = torch.where(pair.inside & _each(seen), shown, BACKGROUND)
    return shown, maps_of(present, shown)


def blurred(image: Tensor, width: Tensor) -> Tensor:
    """(B, C, X, Y, Z) each item with a Gaussian of its own SD in voxels, (B,), up to 1; edges are repeated."""
    reach = torch.arange(-2, 3, device=image.device)
    weight = torch.exp(-(reach[None] ** 2) / (2 * width[:, None].clamp(min=1e-3) ** 2))
    weight = (weight / weight.sum(dim=1, keepdim=True))[:, :, None, None, None, None]
    for axis in (2, 3, 4):
        room = [2 * (axis == side) for side in (4, 4, 3, 3, 2, 2)]
        wide = functional.pad(image, room, mode="replicate")
        image = torch.stack(
            [weight[:, tap] * wide.narrow(axis, tap, image.shape[axis]) for tap in range(5)]
        ).sum(dim=0)  # fmt: skip
    return image


def edges(image: Tensor) -> Tensor:
    """(B, C, X, Y, Z) in [0, 1): tanh of the gradient by Sobel's kernels in three dimensions (paper Eqs. 5–6).

    A ramp of slope s has s before the tanh, as the kernels are divided by 32.
    """
    squares = torch.full_like(image, 1e-8)
    wide = functional.pad(image, (1,) * 6, mode="replicate")
    for across in (2, 3, 4):
        part = wide
        for axis in (2, 3, 4):
            first, middle, last = (part.narrow(axis, tap, image.shape[axis]) for tap in range(3))
            part = (last - first) / 2 if axis == across else (first + 2 * middle + last) / 4
        squares = squares + part.square()
    return torch.tanh(squares.sqrt())


def _over(bridge: nn.Module, pair: Pair, image: Tensor, level: Tensor, noise: Tensor) -> Tensor:
    """The bridge's x̂_0 of an image, (B, C, X, Y, Z)."""
    present = maps_of(pair.present, image)
    return bridge_denoise(
        lambda state: bridge(torch.cat([state, present], dim=1), noise_embedding(level)).float(), image, noise, level
    )


def _each(values: Tensor) -> Tensor:
    """One number an item, (B,), to go with images (B, C, X, Y, Z); float64 becomes float32."""
    values = values.float() if values.is_floating_point() else values
    return values[:, None, None, None, None]


def _levels(pair: Pair, lowest: int, highest: int, generator: torch.Generator) -> Tensor:
    """(B,) int64, each from ``lowest`` to ``highest``."""
    return torch.randint(lowest, highest + 1, (len(pair.low),), generator=generator, device=pair.low.device)


def _noise(pair: Pair, generator: torch.Generator) -> Tensor:
    return torch.randn(pair.low.shape, generator=generator, device=pair.low.device)


def stages(settings: BridgeSettings) -> tuple[Stage, ...]:
    """The bridge on pairs at one noise level; bridges on parts of the people, so that the prior, which comes last, is
    shown what a bridge makes of people it does not know.
    """
    s, patch = settings, (settings.patch, settings.patch, settings.patch_z)
    # Normalised weights are not to decay.
    decay = 1e-5 if s.bridge_net == "swin" else 0.0

    def learned(fold: int | None = None) -> list[Phase]:
        name, rates = bridge_name(fold), (s.bridge_rate, (0.9, 0.99), decay)
        tag = name.removeprefix("bridge")
        translate = Phase(f"cross{tag}", (name,), partial(cross, field="low", fold=fold), *rates)
        stay = Phase(f"stay{tag}", (name,), partial(cross, field="high", fold=fold), *rates, every=s.identity or 1)
        return [translate, stay] if s.identity else [translate]

    prior = Phase("denoise", ("prior",), denoise, s.rate, (0.9, 0.99))
    found = []
    if s.bridge:
        found.append(Stage("bridge", tuple(learned()), s.bridge_steps, s.batch, patch, "all", s.bridge_steps // 40))
    if s.bridge and s.diffusion and s.folds:
        phases = tuple(phase for fold in range(s.folds) for phase in learned(fold))
        warmup = s.bridge_steps // 40
        found.append(Stage("folds", phases, s.bridge_steps, s.batch, patch, "all", warmup, measured=False))
    if s.diffusion:
        found.append(Stage("prior", (prior,), s.prior_steps, s.batch, patch, "all", s.prior_steps // 40))
    return tuple(stage for stage in found if stage.steps)


def auxiliary_networks(nets: Nets, settings: BridgeSettings, people: int) -> dict[str, nn.Module]:
    """A bridge for every fold, such as the bridge is before it learns."""
    s = settings
    if not (s.bridge and s.diffusion and s.folds):
        return {}
    if people < s.folds:
        raise InputError(
            f"Expected at least {s.folds} people to train on with --bridge-folds {s.folds}, found {people}; choose "
            "fewer folds, or 0."
        )
    return {bridge_name(fold): deepcopy(nets["bridge"]) for fold in range(s.folds)}
