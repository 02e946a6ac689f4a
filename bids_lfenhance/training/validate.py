"""How good the networks are on whole volumes that they did not learn from."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import nn

from ..config import CONTRASTS
from ..nn.batch import required
from ..nn.method import Trainable
from ..simulators.online.validation import fixed_sessions
from .examples import Example
from .parallel import ProcessGroup
from .patches import whole

S = TypeVar("S")


@torch.no_grad()
def validate(
    nets: Mapping[str, nn.Module],
    method: Trainable[S],
    settings: S,
    examples: Sequence[Example],
    seed: int,
    group: ProcessGroup,
) -> dict[str, float]:
    """``psnr`` and, per contrast, ``psnr-<contrast>``: means over the examples, dB, inside the brain.

    ``lf2hf`` is measured as the protocol brain-fit, ``hf2lf`` on the scaled intensities as they are. Every draw has a
    generator made from ``seed`` and the example's number, so that two validations differ by the weights alone. A method
    that scores its examples itself (``own_scores``) gets the means of its own scores instead.
    """
    for net in nets.values():
        net.eval()
    scores = _scored if scores_itself(method) else _psnr
    result = scores(nets, method, settings, examples, seed, group)
    for net in nets.values():
        net.train()
    return result


def _psnr(
    nets: Mapping[str, nn.Module],
    method: Trainable[S],
    settings: S,
    examples: Sequence[Example],
    seed: int,
    group: ProcessGroup,
) -> dict[str, float]:
    sums = torch.zeros(2, len(CONTRASTS), dtype=torch.float64, device=group.device)
    for number in range(group.rank, len(examples), group.size):
        batch = whole(examples[number], method.about.direction).to(group.device)
        target, mask = required(batch.target)[0].cpu().numpy(), batch.mask[0, 0].cpu().numpy()
        generator = torch.Generator(group.device).manual_seed(seed + number)
        torch.manual_seed(seed + number)
        result = method.predict(nets, batch.without_target(), settings, generator)[0].float().cpu().numpy()
        for channel in np.flatnonzero(batch.live[0].cpu().numpy()):
            value = brain_psnr(result[channel], target[channel], mask, fit=method.about.direction == "lf2hf")
            sums[:, channel] += torch.tensor([value, 1.0], device=group.device)
    group.all_reduce([sums])
    totals, counts = sums.cpu().numpy()
    each = {f"psnr-{CONTRASTS[c]}": float(totals[c] / counts[c]) for c in np.flatnonzero(counts)}
    return {"psnr": float(totals.sum() / counts.sum()), **each}


def _scored(
    nets: Mapping[str, nn.Module],
    method: Trainable[S],
    settings: S,
    examples: Sequence[Example],
    seed: int,
    group: ProcessGroup,
) -> dict[str, float]:
    names = method.scores
    sums = torch.zeros(len(names), dtype=torch.float64, device=group.device)
    for number in range(group.rank, len(examples), group.size):
        scores = own_scores(method, nets, examples[number], settings, group.device)
        sums += torch.tensor([scores[name] for name in names], dtype=torch.float64, device=group.device)
    group.all_reduce([sums])
    return dict(zip(names, (sums / len(examples)).tolist(), strict=True))


def scores_itself(method: Trainable[S]) -> bool:
    """Whether the method has scores of its own."""
    return method.score is not None or method.judge is not None


def own_scores(
    method: Trainable[S], nets: Mapping[str, nn.Module], example: Example, settings: S, device: torch.device
) -> Mapping[str, float]:
    """The method's own scores of an example, or of the sessions that are simulated from it."""
    if method.judge is not None:
        return method.judge(nets, fixed_sessions(example, device), settings)
    assert method.score is not None
    return method.score(nets, example, settings, device)


def brain_psnr(image: np.ndarray, target: np.ndarray, mask: np.ndarray, fit: Literal[True, False]) -> float:
    """PSNR inside the mask, dB, all (X, Y, Z); with ``fit`` after the protocol brain-fit; −inf where not finite."""
    from ..evaluation.intensity import psnr
    from ..evaluation.protocols import Pair, by_brain_fit

    values, wanted = image[mask], target[mask]
    if not np.isfinite(values).all():
        return float("-inf")
    if not fit:
        return psnr(values, wanted)
    if np.ptp(values) == 0:  # a line through one point: the best it gives is the mean
        values = np.full_like(wanted, wanted.mean())
        return psnr(values, wanted)
    scales = by_brain_fit(Pair(image, target, mask))
    return psnr(scales.image(values), scales.reference(wanted))
