"""How good the networks are on whole volumes that they did not learn from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from ..config import CONTRASTS
from ..nn.batch import ValidationSession, required
from ..nn.example import Example
from ..nn.method import Trainable
from ..simulators.online.validation import fixed_sessions
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
    precision: str,
) -> dict[str, float]:
    """``psnr`` and, per contrast, ``psnr-<contrast>``: means over the examples, dB, inside the brain.

    ``lf2hf`` is measured as the protocol brain-fit, ``hf2lf`` on the scaled intensities as they are. Every draw has a
    generator made from ``seed`` and the example's number, so that two validations differ by the weights alone. A method
    that scores its examples itself (``own_scores``) gets the means of its own scores instead.
    """
    own = scores_itself(method)
    names = method.scores if own else tuple(f"psnr-{contrast}" for contrast in CONTRASTS)
    sums = torch.zeros(2, len(names), dtype=torch.float64, device=group.device)
    for net in nets.values():
        net.eval()
    for number in range(group.rank, len(examples), group.size):
        if own:
            scores = own_scores(method, nets, examples[number], settings, group.device, precision)
        else:
            scores = _psnr(nets, method, settings, examples[number], seed + number, group.device)
        for place, name in enumerate(names):
            if name in scores:
                sums[:, place] += torch.tensor([scores[name], 1.0], dtype=torch.float64, device=group.device)
    for net in nets.values():
        net.train()
    group.all_reduce([sums])
    totals, counts = sums.cpu().numpy()
    means = {name: float(totals[n] / counts[n]) for n, name in enumerate(names) if counts[n]}
    return means if own else {"psnr": float(totals.sum() / counts.sum()), **means}


def _psnr(
    nets: Mapping[str, nn.Module],
    method: Trainable[S],
    settings: S,
    example: Example,
    seed: int,
    device: torch.device,
) -> dict[str, float]:
    """``psnr-<contrast>`` of one example, dB."""
    batch = whole(example, method.about.direction).to(device)
    target, mask = required(batch.target)[0].cpu().numpy(), batch.mask[0, 0].cpu().numpy()
    generator = torch.Generator(device).manual_seed(seed)
    torch.manual_seed(seed)
    assert method.predict is not None
    result = method.predict(nets, batch.without_target(), settings, generator)[0].float().cpu().numpy()
    fit = method.about.direction == "lf2hf"
    return {
        f"psnr-{CONTRASTS[channel]}": brain_psnr(result[channel], target[channel], mask, fit)
        for channel in np.flatnonzero(batch.live[0].cpu().numpy())
    }


def scores_itself(method: Trainable[S]) -> bool:
    """Whether the method has scores of its own."""
    return method.score is not None or method.score_sessions is not None


def own_scores(
    method: Trainable[S],
    nets: Mapping[str, nn.Module],
    example: Example,
    settings: S,
    device: torch.device,
    precision: str,
) -> Mapping[str, float]:
    """The method's own scores of an example, or of the sessions that are simulated from it."""
    if method.score_sessions is not None:
        return method.score_sessions(nets, sessions_of(method, [example], settings, device, precision), settings)
    assert method.score is not None
    return method.score(nets, example, settings, device)


def sessions_of(
    method: Trainable[S], examples: Sequence[Example], settings: S, device: torch.device, precision: str
) -> Iterator[ValidationSession]:
    """The fixed sessions of examples, with the estimate where the method builds on one."""
    estimate = method.estimate(settings, precision) if method.estimate else None
    for example in examples:
        for session in fixed_sessions(example, device):
            yield replace(session, batch=estimate(session.batch)) if estimate else session


def brain_psnr(image: np.ndarray, target: np.ndarray, mask: np.ndarray, fit: bool) -> float:
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
