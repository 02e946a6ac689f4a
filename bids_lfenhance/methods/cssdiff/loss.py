"""What the chain of ``cssdiff`` minimises (Eqs. 8 to 17)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...nn.batch import Batch
from ...nn.stage import Nets, Phase, Stage
from .chain import BACKGROUND, Condition, chain_levels, schedule, walk
from .physics import Physics
from .pretraining import Positive, choose, contrast, judge_patches, judged, restoration, restore, structure_cost
from .settings import CssDiffSettings
from .slices import Slices, as_slices, embed, tokens_of

PAPER_RATE, HALVINGS = 2e-3, 11
"""The paper's rate, halved every 10 of its 120 epochs."""

SIDES = (160, 192)
"""Pixels within which a brain and its margin fit, multiples of 16."""

THICK = 48
"""Slices of a patch for the slice encoder: the negatives of the contrastive loss."""

THIN = 16
"""Slices of the other patches, neighbours included."""

Reverse = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Given:
    """Slices to learn from: ``low``, ``high`` (N, C, U, V); ``condition`` is what the denoiser
    is shown.

    What counts is the brain, in contrasts ``live`` (N, C). ``place``: all slices, and which items' and of those which
    ones these are, (N,) each.
    """

    low: Tensor
    high: Tensor
    condition: Condition
    live: Tensor
    place: tuple[Slices, Tensor, Tensor]

    def mean(self, errors: Tensor) -> Tensor:
        """The mean over items of the mean over their contrasts and the brain in their slices."""
        items = len(self.place[0].low)
        inside = self.condition.inside
        sums = (errors * inside).unflatten(0, (items, -1)).sum(dim=(1, 3, 4))
        mean = sums / inside.unflatten(0, (items, -1)).sum(dim=(1, 3, 4)).clamp(min=1)
        live = self.live.unflatten(0, (items, -1))[:, 0]
        return ((mean * live).sum(dim=1) / live.sum(dim=1).clamp(min=1)).mean()


def given_slices(nets: Nets, batch: Batch, settings: CssDiffSettings, generator: torch.Generator) -> Given:
    """Some slices of each patch; the encoder is left as it is, and a share of what its tokens say is dropped."""
    slices = as_slices(batch)
    assert slices.high is not None
    item, index = choose(slices.mask, settings.slices, generator)
    live = slices.live[item]
    high = torch.where(live[:, :, None, None], slices.high[item, index], BACKGROUND)
    tokens = None
    if settings.sgp:
        with torch.no_grad():
            embedded = embed(nets["encoder"], slices.low, slices.present)  # type: ignore[arg-type]
        tokens = tokens_of(embedded, item, index)
        drawn = torch.rand(tokens.shape, generator=generator, device=generator.device).to(tokens.device)
        tokens = tokens * (drawn >= settings.dropout) / (1 - settings.dropout)
    condition = Condition(slices.seen(item, index, settings.n_ctx), tokens, slices.mask[item, index])
    return Given(slices.low[item, index], high, condition, live, (slices, item, index))


def denoise(nets: Nets, batch: Batch, settings: CssDiffSettings, generator: torch.Generator) -> dict[str, Tensor]:
    """``denoise`` and ``pair``: high field from noised high field, at a level of 1..990 for each slice.

    The squared error of v with min-SNR weights is that of x̂_0 weighted by min(SNR, 5); where noise hides everything
    that weighs nothing, so that the absolute error of x̂_0 counts too.
    """
    return _denoised(nets["denoiser"], given_slices(nets, batch, settings, generator), settings, generator)


def _denoised(net: nn.Module, given: Given, settings: CssDiffSettings, generator: torch.Generator) -> dict[str, Tensor]:
    device, plan = given.high.device, schedule()
    level = torch.randint(1, 991, (len(given.high),), generator=generator, device=generator.device).to(device)
    state = plan.add_noise(given.high, _noise(given.high, generator), level)
    found = net(state, given.condition.seen, given.condition.tokens, level)
    share = plan.shares.to(device)[level]
    weight = (share / (1 - share)).clamp(max=5).to(state.dtype)[:, None, None, None]
    errors = found - given.high
    return {
        "denoise": given.mean(weight * errors.square()),
        "pair": settings.paired_l1 * given.mean(errors.abs()),
    }


def generate(nets: Nets, batch: Batch, settings: CssDiffSettings, generator: torch.Generator) -> dict[str, Tensor]:
    """Losses of the denoiser and of F: ``denoise``, ``pair``, ``fool``, ``cycle``, ``path``, and ``structure``.

    The teacher of the path is the running mean of the denoiser, ``denoiser-mean``, where the caller keeps one. The
    second half of the cycle (Eq. 9), high field through F and the chain, runs every other time with twice its weight.
    """
    s, net = settings, nets["denoiser"]
    given = given_slices(nets, batch, s, generator)
    found = _denoised(net, given, s, generator)
    reverse = _reverse(nets, given, s, generator)
    levels = chain_levels(s.steps)
    noises, literal = _starts(given.low, levels, generator), s.chain == "literal"
    teacher = nets.get("denoiser-mean", net)
    image, path = walk(net, given.condition, noises, levels, s.gradient_checkpointing, literal, teacher)
    there = given.live.any(dim=1)
    logits = nets["judge"](torch.cat([_only(image, given.live), given.low], dim=1))
    found |= {
        "chain-pair": s.paired_l1 * given.mean((image - given.high).abs()),
        "fool": s.adversarial * (functional.softplus(-logits).mean(dim=(1, 2, 3)) * there).mean(),
        "path": s.path * given.mean(path),
    }
    cycle = given.mean((given.low - reverse(image)).abs())
    made = reverse(given.high)
    if float(torch.rand((), generator=generator, device=generator.device)) < 0.5:
        cycle = cycle + 2 * s.rho * _from_high(net, given, made, s, generator)
    found["cycle"] = s.cycle * cycle
    if s.reverse == "learned":
        # F is trained on real low field: the cycle alone would let it agree with the chain on anything.
        found["reverse"] = s.paired_l1 * given.mean((made - given.low).abs())
    if s.lsc:
        image = _only(image, given.live)
        restored = restoration(nets["restorer"], image, s, generator)
        found["structure"] = s.structure * structure_cost(image, restored, given.live, s.alpha).mean()
    return found


def _reverse(nets: Nets, given: Given, settings: CssDiffSettings, generator: torch.Generator) -> Reverse:
    """F of the slices: the physics, or the network, which is given a little noise.

    So it cannot hide the image in what is too small to see.
    """
    if settings.reverse == "simulator":
        return Physics.of(*given.place, settings.reverse_fwhm)
    net = nets["reverse"]
    return lambda image: net(image + settings.reverse_noise * _noise(image, generator))


def _from_high(
    net: nn.Module, given: Given, made: Tensor, settings: CssDiffSettings, generator: torch.Generator
) -> Tensor:
    """‖y − G(F(y))‖₁, ``made`` being F(y) (N, C, U, V), with a little noise of its own."""
    s, levels = settings, chain_levels(settings.steps)
    made = made + s.reverse_noise * _noise(made, generator)
    # Their neighbours are not made: the slice stands for them.
    around = 2 * s.n_ctx + 1
    seen = torch.cat([*[made] * around, given.condition.seen[:, around * made.shape[1] :]], dim=1)
    noises = _starts(made, levels, generator)
    again, _ = walk(
        net, replace(given.condition, seen=seen), noises, levels, s.gradient_checkpointing, s.chain == "literal"
    )
    return given.mean((given.high - again).abs())


def score(nets: Nets, batch: Batch, settings: CssDiffSettings, generator: torch.Generator) -> dict[str, Tensor]:
    """``judge`` and ``r1``: high field against what the chain makes, both beside their low field (Eq. 8)."""
    s = settings
    given = given_slices(nets, batch, s, generator)
    levels = chain_levels(s.steps)
    noises, literal = _starts(given.low, levels, generator), s.chain == "literal"
    with torch.no_grad():
        image, _ = walk(nets["denoiser"], given.condition, noises, levels, lean=False, literal=literal)
    real, made = (torch.cat([_only(one, given.live), given.low], dim=1) for one in (given.high, image))
    there = given.live.any(dim=1)
    real = real.detach().requires_grad_()
    logits = nets["judge"](real)
    slope = torch.autograd.grad(logits.sum(), real, create_graph=True)[0]
    steep = slope.square().sum(dim=(1, 2, 3)) * there
    return {"judge": judged(nets["judge"], real, made, there), "r1": s.r1 / 2 * steep.mean()}


def _only(image: Tensor, live: Tensor) -> Tensor:
    return torch.where(live[:, :, None, None], image, BACKGROUND)


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=generator.device).to(like.device)


def _starts(low: Tensor, levels: list[int], generator: torch.Generator) -> Tensor:
    """(T_c, N, C, U, V): the first state, of noise or, one slice in two, of noised low field; then noises.

    At the first level both are noise but for a trace; the literal chain starts from low field, and takes all as noise.
    """
    noises = torch.stack([_noise(low, generator) for _ in levels[:-1]])
    half = torch.rand(len(low), generator=generator, device=generator.device).to(low.device) < 0.5
    noised = schedule().add_noise(low.detach(), noises[0], levels[0])
    first = torch.where(half[:, None, None, None], noised, noises[0])
    return torch.cat([first[None], noises[1:]])


def stages(settings: CssDiffSettings) -> tuple[Stage, ...]:
    """The slice encoder, from the same slice then by ``sgp_positive``; the restorer; the denoiser; the chain."""
    s, betas = settings, (0.5, 0.9)
    across = (s.patch or SIDES[0], s.patch or SIDES[1])
    thick, thin = (*across, THICK), (*across, THIN)
    found = []
    if s.sgp:
        # A free choice too early agrees on a wrong order: index, one shift, then among those near it.
        window = s.sgp_positive == "window"
        order: list[tuple[str, Positive, int]] = [("sgp-index", "index", 8)]
        order += [("sgp-shift", "shift", 2)] if window else []
        for name, positive, share in (*order, ("sgp", s.sgp_positive, 2 if window else 1)):
            losses = partial(contrast, positive=positive)
            steps = s.sgp_steps // share
            found.append(Stage(name, (Phase(name, ("encoder",), losses, 1e-3),), steps, s.batch, thick, measured=False))
    if s.lsc and s.ccd:
        phases = (
            Phase("restore", ("restorer",), restore, 2e-3),
            Phase("judge-patches", ("patches",), judge_patches, 1e-4, betas),
        )
        found.append(Stage("lsc", phases, s.lsc_steps, s.batch, thin, measured=False))
    rate, of_judge, halvings = (PAPER_RATE, PAPER_RATE, HALVINGS) if s.paper_lr else (s.rate, s.rate / 2, 0)
    warm = (Phase("denoise", ("denoiser",), denoise, rate),)
    found.append(Stage("denoise", warm, s.warm_steps, s.batch, thin, halvings=halvings))
    if s.ccd:
        moved = ("denoiser", "reverse") if s.reverse == "learned" else ("denoiser",)
        phases = (
            Phase("judge", ("judge",), score, of_judge, betas),
            Phase("generate", moved, generate, rate, betas, means=("denoiser",)),
        )
        found.append(Stage("chain", phases, s.chain_steps, s.batch, thin, halvings=halvings))
    return tuple(stage for stage in found if stage.steps)
