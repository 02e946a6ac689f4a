"""What the chain of ``cssdiff`` minimises (Eqs. 8 to 17; methods.md §1.8b)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from .chain import chain_levels, schedule, walk
from .guides import choose, judged, restoration, structure_cost
from .slices import as_slices, embed, tokens_of

if TYPE_CHECKING:
    from .recipe import CssDiffSettings

    Nets = Mapping[str, nn.Module]
    Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class Shown:
    """Slices to learn from: ``low``, ``high`` (N, C, U, V); ``seen``, ``tokens`` what the denoiser is given.

    ``inside`` (N, C, U, V) where the loss counts: everywhere, for contrasts ``live`` (N, C).
    """

    low: Tensor
    high: Tensor
    seen: Tensor
    tokens: Tensor | None
    live: Tensor

    def mean(self, errors: Tensor) -> Tensor:
        """The mean over slices of the mean over their contrasts and pixels."""
        share = self.live / self.live.sum(dim=1, keepdim=True).clamp(min=1)
        return (errors.mean(dim=(2, 3)) * share).sum(dim=1).mean()


def shown(nets: "Nets", batch: "Batch", settings: "CssDiffSettings", generator: torch.Generator) -> Shown:
    """Some slices of each patch; the encoder is left as it is, and a share of what its tokens say is dropped."""
    slices = as_slices(batch)
    assert slices.high is not None
    item, index = choose(slices.mask, settings.slices, generator)
    live = slices.live[item]
    high = torch.where(live[:, :, None, None], slices.high[item, index], -1.0)
    tokens = None
    if settings.sgp:
        with torch.no_grad():
            embedded = embed(nets["encoder"], slices.low, slices.present)  # type: ignore[arg-type]
        tokens = tokens_of(embedded, item, index)
        drawn = torch.rand(tokens.shape, generator=generator, device=generator.device).to(tokens.device)
        tokens = tokens * (drawn >= settings.dropout) / (1 - settings.dropout)
    return Shown(slices.low[item, index], high, slices.seen(item, index, settings.n_ctx), tokens, live)


def denoise(nets: "Nets", batch: "Batch", settings: "CssDiffSettings", generator: torch.Generator) -> dict[str, Tensor]:
    """``denoise`` and ``pair``: high field from noised high field, at a level of 1..990 for each slice.

    The squared error of v with min-SNR weights is that of x̂_0 weighted by min(SNR, 5); where noise hides everything
    that weighs nothing, so that the absolute error of x̂_0 counts too.
    """
    return _denoised(nets["denoiser"], shown(nets, batch, settings, generator), settings, generator)


def _denoised(
    net: nn.Module, given: Shown, settings: "CssDiffSettings", generator: torch.Generator
) -> dict[str, Tensor]:
    device, plan = given.high.device, schedule()
    level = torch.randint(1, 991, (len(given.high),), generator=generator, device=generator.device).to(device)
    state = plan.add_noise(given.high, _noise(given.high, generator), level)
    found = net(state, given.seen, given.tokens, level)
    share = plan.shares.to(device)[level]
    weight = (share / (1 - share)).clamp(max=5).to(state.dtype)[:, None, None, None]
    errors = found - given.high
    return {
        "denoise": given.mean(weight * errors.square()),
        "pair": settings.paired * given.mean(errors.abs()),
    }


def generate(
    nets: "Nets", batch: "Batch", settings: "CssDiffSettings", generator: torch.Generator
) -> dict[str, Tensor]:
    """Losses of the denoiser and of F: ``denoise``, ``pair``, ``fool``, ``cycle``, ``path``, and ``structure``.

    The chain starts, one slice in two, from noised low field, else from noise. The second half of the cycle (Eq. 9),
    high field through F and the chain, runs every other time with twice its weight. F is given a little noise: it
    cannot hide the image in what is too small to see (methods.md §1.9).
    """
    s, net, reverse = settings, nets["denoiser"], nets["reverse"]
    given = shown(nets, batch, s, generator)
    found = _denoised(net, given, s, generator)
    levels = chain_levels(s.steps)
    noises = _starts(given.low, levels, generator)
    image, path = walk(net, given.seen, given.tokens, noises, levels, s.lean, path=True)
    back = reverse(image + s.reverse_noise * _noise(image, generator))
    cycle = given.mean((given.low - back).abs())
    if float(torch.rand((), generator=generator, device=generator.device)) < 0.5:
        made = reverse(given.high + s.reverse_noise * _noise(given.high, generator))
        made = made + s.reverse_noise * _noise(made, generator)
        # Their neighbours are not made: the slice stands for them.
        around = 2 * s.n_ctx + 1
        seen = torch.cat([*[made] * around, given.seen[:, around * made.shape[1] :]], dim=1)
        again, _ = walk(net, seen, given.tokens, _starts(made, levels, generator), levels, s.lean)
        cycle = cycle + 2 * s.rho * given.mean((given.high - again).abs())
    else:
        made = reverse(given.high)
    there = given.live.any(dim=1)
    logits = nets["judge"](torch.cat([_only(image, given.live), given.low], dim=1))
    found |= {
        "chain-pair": s.paired * given.mean((image - given.high).abs()),
        "fool": s.adversarial * (functional.softplus(-logits).mean(dim=(1, 2, 3)) * there).mean(),
        "cycle": s.cycle * cycle,
        "path": s.path * given.mean(path),
        # F is told what low field looks like; the cycle alone would let it agree with the chain on anything.
        "reverse": s.paired * given.mean((made - given.low).abs()),
    }
    if s.lsc:
        image = _only(image, given.live)
        restored = restoration(nets["restorer"], image, s, generator)
        found["structure"] = s.structure * structure_cost(image, restored, given.live, s.alpha).mean()
    return found


def judge(nets: "Nets", batch: "Batch", settings: "CssDiffSettings", generator: torch.Generator) -> dict[str, Tensor]:
    """``judge`` and ``r1``: high field told from what the chain makes, both beside their low field (Eq. 8)."""
    s = settings
    given = shown(nets, batch, s, generator)
    levels = chain_levels(s.steps)
    with torch.no_grad():
        image, _ = walk(
            nets["denoiser"], given.seen, given.tokens, _starts(given.low, levels, generator), levels, lean=False
        )
    real, made = (torch.cat([_only(one, given.live), given.low], dim=1) for one in (given.high, image))
    there = given.live.any(dim=1)
    real = real.detach().requires_grad_()
    logits = nets["judge"](real)
    slope = torch.autograd.grad(logits.sum(), real, create_graph=True)[0]
    steep = slope.square().sum(dim=(1, 2, 3)) * there
    return {"judge": judged(nets["judge"], real, made, there), "r1": s.r1 / 2 * steep.mean()}


def _only(image: Tensor, live: Tensor) -> Tensor:
    return torch.where(live[:, :, None, None], image, -1.0)


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=generator.device).to(like.device)


def _starts(low: Tensor, levels: list[int], generator: torch.Generator) -> Tensor:
    """(T_c, N, C, U, V): the first state, of noise or, one slice in two, of noised low field; then noises."""
    noises = torch.stack([_noise(low, generator) for _ in levels[:-1]])
    half = torch.rand(len(low), generator=generator, device=generator.device).to(low.device) < 0.5
    noised = schedule().add_noise(low.detach(), noises[0], levels[0])
    first = torch.where(half[:, None, None, None], noised, noises[0])
    return torch.cat([first[None], noises[1:]])
