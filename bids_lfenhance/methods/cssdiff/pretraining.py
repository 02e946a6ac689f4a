"""What is learned before the chain of ``cssdiff``: which slice is which (SGP), and how high field is built (LSC)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...nn.batch import Batch
from ...nn.stage import Nets
from .settings import CssDiffTraining
from .slices import as_slices, embed

Positive = Literal["index", "shift", "window", "argmax"]

FARTHEST = 4
"""Slices that low and high field may be shifted against each other, for all that is known."""

NEAR = 2
"""Slices about the shifted one among which the most alike is taken with positives "window"."""


def contrast(
    nets: Nets, batch: Batch, settings: CssDiffTraining, generator: torch.Generator, positive: Positive
) -> dict[str, Tensor]:
    """``contrast``: InfoNCE of every slice with brain against all high-field slices of its volume (Eq. 18)."""
    slices, encoder = as_slices(batch), nets["encoder"]
    assert slices.high is not None
    low, high = (embed(encoder, stack, slices.live) for stack in (slices.low, slices.high))  # type: ignore[arg-type]
    likeness = low @ high.transpose(1, 2)  # (B, S, S)
    brain = slices.mask.flatten(2).any(dim=2)
    goal, valid = positives(likeness.detach(), brain, positive)
    cost = functional.cross_entropy((likeness / settings.temperature).transpose(1, 2), goal, reduction="none")
    counts = valid * slices.live.any(dim=1, keepdim=True)
    return {"contrast": ((cost * counts).sum(dim=1) / counts.sum(dim=1).clamp(min=1)).mean()}


def positives(likeness: Tensor, brain: Tensor, positive: Positive) -> tuple[Tensor, Tensor]:
    """(Which high-field slice belongs to each low-field slice, (B, S); whether there is one, bool).

    "index": the same one; "shift": one shift per volume, of ``FARTHEST`` at most, with the highest mean likeness;
    "window": of the slices about that one the most alike; "argmax": of all the most alike, Eq. 18 as printed, which
    agrees on a wrong order.
    """
    if positive == "argmax":
        return likeness.argmax(dim=2), brain
    count = likeness.shape[1]
    index = torch.arange(count, device=likeness.device)[None]
    shift = torch.zeros_like(index[:, :1]) if positive == "index" else shift_of(likeness, brain)[:, None]
    wanted = index - shift
    valid = brain & (wanted >= 0) & (wanted < count)
    goal = wanted.clamp(0, count - 1)
    if positive == "window":
        far = (index[:, None, :] - goal[:, :, None]).abs() > NEAR
        goal = likeness.masked_fill(far, -2).argmax(dim=2)
    return goal.expand(brain.shape), valid


def shift_of(likeness: Tensor, brain: Tensor) -> Tensor:
    """(B,) the k for which slice i of low field is slice i − k of high field: the highest mean likeness."""
    count = likeness.shape[1]
    reach = min(FARTHEST, count - 1)
    found = []
    for k in range(-reach, reach + 1):
        mean = likeness.diagonal(-k, 1, 2)
        inside = brain[:, max(k, 0) : count + min(k, 0)]
        found.append((mean * inside).sum(dim=1) / inside.sum(dim=1).clamp(min=1))
    return torch.stack(found, dim=1).argmax(dim=1) - reach


def spoilt(
    image: Tensor, block: int, turned: float, masked: float, untouched: float, generator: torch.Generator
) -> Tensor:
    """φ_mask(ψ_rot(image)), (N, C, U, V): of square blocks some turned by 90, 180 or 270°, then some set to −1.

    ``turned``, ``masked`` are shares of the blocks, ``untouched`` of the images. What is beyond whole blocks stays.
    """
    rows, columns = image.shape[2] // block, image.shape[3] // block
    inside = image[:, :, : rows * block, : columns * block]
    blocks = inside.unflatten(3, (columns, block)).unflatten(2, (rows, block)).transpose(3, 4)  # (N, C, R, Q, b, b)

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device).to(image.device)

    touched = (draw(len(image)) >= untouched)[:, None, None]
    turn = (draw(len(image), rows, columns) < turned) & touched
    quarter = (draw(len(image), rows, columns) * 3).long().clamp(max=2) + 1
    gone = (draw(len(image), rows, columns) < masked) & touched
    for number in (1, 2, 3):
        chosen = (turn & (quarter == number))[:, None, :, :, None, None]
        blocks = torch.where(chosen, blocks.rot90(number, (4, 5)), blocks)
    blocks = blocks.masked_fill(gone[:, None, :, :, None, None], -1)
    out = image.clone()
    out[:, :, : rows * block, : columns * block] = blocks.transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return out


def restoration(restorer: nn.Module, image: Tensor, s: CssDiffTraining, generator: torch.Generator) -> Tensor:
    """What the restorer makes of the spoilt ``image``."""
    found: Tensor = restorer(spoilt(image, s.lsc_block, s.lsc_turned, s.lsc_masked, s.lsc_untouched, generator))
    return found


def structure_cost(image: Tensor, restored: Tensor, live: Tensor, alpha: float) -> Tensor:
    """(N,) RMSE + α (1 − SSIM) of images (N, C, U, V) over contrasts ``live`` (N, C)."""
    share = live / live.sum(dim=1, keepdim=True).clamp(min=1)
    square = ((image - restored).square().mean(dim=(2, 3)) * share).sum(dim=1)
    alike = (ssim(image, restored) * share).sum(dim=1)
    cost: Tensor = ((square + 1e-12).sqrt() + alpha * (1 - alike)) * live.any(dim=1)
    return cost


def ssim(one: Tensor, other: Tensor) -> Tensor:
    """(N, C) mean structural similarity of slices with a data range of 2, in windows of 7 × 7 pixels."""

    def mean(field: Tensor) -> Tensor:
        return functional.avg_pool2d(field, 7, 1)

    a, b = mean(one), mean(other)
    over = (2 * a * b + 4e-4) * (2 * (mean(one * other) - a * b) + 3.6e-3)
    under = (a * a + b * b + 4e-4) * (mean(one * one) - a * a + mean(other * other) - b * b + 3.6e-3)
    return (over / under).mean(dim=(2, 3))


def _high(batch: Batch, s: CssDiffTraining, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(High-field slices (N, C, U, V) with brain before others, the contrasts of each (N, C))."""
    slices = as_slices(batch)
    assert slices.high is not None
    item, index = choose(slices.mask, s.slices, generator)
    live = slices.live[item]
    return torch.where(live[:, :, None, None], slices.high[item, index], -1.0), live


def choose(mask: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(Items, slices), (N,) each: ``count`` slices of each item at most, with brain before others."""
    brain = mask.flatten(2).any(dim=2)
    drawn = torch.rand(brain.shape, generator=generator, device=generator.device).to(brain.device)
    index = (drawn + brain).topk(min(count, brain.shape[1]), dim=1).indices
    return torch.arange(len(index), device=index.device).repeat_interleave(index.shape[1]), index.flatten()


def restore(nets: Nets, batch: Batch, settings: CssDiffTraining, generator: torch.Generator) -> dict[str, Tensor]:
    """``structure`` and ``patches``: spoilt high field restored, such that the discriminator takes it for real."""
    image, live = _high(batch, settings, generator)
    found = restoration(nets["restorer"], image, settings, generator)
    fooled = functional.softplus(-nets["patches"](found)).mean(dim=(1, 2, 3)) * live.any(dim=1)
    return {
        "structure": structure_cost(image, found, live, settings.alpha).mean(),
        "patches": settings.adversarial * fooled.mean(),
    }


def judge_patches(nets: Nets, batch: Batch, settings: CssDiffTraining, generator: torch.Generator) -> dict[str, Tensor]:
    """``judge-patches``: patches of high field against restored ones."""
    image, live = _high(batch, settings, generator)
    with torch.no_grad():
        found = restoration(nets["restorer"], image, settings, generator)
    there = live.any(dim=1)
    return {"judge-patches": judged(nets["patches"], image, found, there)}


def judged(judge: nn.Module, real: Tensor, made: Tensor, there: Tensor) -> Tensor:
    """L_D: −log D(real) − log(1 − D(made)), the mean over images that are ``there`` (N,)."""
    cost = functional.softplus(-judge(real)) + functional.softplus(judge(made))
    return (cost.mean(dim=(1, 2, 3)) * there).mean()
