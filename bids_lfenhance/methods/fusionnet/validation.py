"""How good an estimate is on fixed sessions of people it did not learn from, and how large its error really is."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ...nn.batch import PAIR, ValidationSession, required
from ...nn.estimate import read_output
from ...nn.stage import Nets
from ...nn.unet3d import apply_padded
from .settings import FusionNetSettings

SCORES = ("psnr", "psnr-mean-of-stacks", "psnr-axial", "psnr-three", "psnr-own", "psnr-pair", "within-2-sd")
"""PSNR of the estimate over all sessions; of the plain mean of the stacks; of the estimate by session (axial and three:
high-field T1w as target; own: the scan's contrast; pair: acquired, with either). Last, the share of the brain where the
error is below twice its stated SD."""

CEILING = 0.999
"""The share of the reference's brain that lies below 1 (``evaluation.protocols``)."""

FAR = 6.0
"""Errors are clipped to this many of their SDs."""


def score_sessions(
    nets: Nets, sessions: Iterable[ValidationSession], settings: FusionNetSettings
) -> Mapping[str, float]:
    """``SCORES`` of one person; PSNR in dB, inside the brain, protocol brain-fit."""
    scores: dict[str, list[float]] = {name: [] for name in SCORES}
    for session, mean, scale in estimates(nets, sessions):
        target, brain = required(session.batch.target)[0, 0], session.batch.mask[0, 0]
        value = brain_fit_psnr(mean[0, 0], target, brain)
        scores["psnr"].append(value)
        scores["psnr-mean-of-stacks"].append(brain_fit_psnr(session.batch.input[0, 0], target, brain))
        if session.name == PAIR or session.own == (session.name == "own"):
            scores[f"psnr-{session.name}"].append(value)
        near = (mean[0, 0] - target).abs() < 2 * settings.error_factor * scale[0, 0]
        scores["within-2-sd"].append(float(near[brain].float().mean()))
    return {name: sum(values) / len(values) for name, values in scores.items() if values}


def measure(nets: Nets, sessions: Iterable[ValidationSession], settings: FusionNetSettings) -> FusionNetSettings:
    """The settings with the factor that makes the mean square of error over SD one: of acquired pairs, if any."""
    squares: dict[bool, list[float]] = {False: [], True: []}
    for session, mean, scale in estimates(nets, sessions):
        ratio = (mean - required(session.batch.target)) / scale
        squares[session.name == PAIR].append(float(ratio[session.batch.mask].clamp(-FAR, FAR).square().mean()))
    ratios = squares[True] or squares[False]
    return replace(settings, error_factor=(sum(ratios) / len(ratios)) ** 0.5)


def estimates(nets: Nets, sessions: Iterable[ValidationSession]) -> Iterator[tuple[ValidationSession, Tensor, Tensor]]:
    """The sessions, each with the estimate and the SD of its error (1, 1, X, Y, Z)."""
    for session in sessions:
        with torch.no_grad():
            output = apply_padded(nets["estimate"], session.batch.input)
        yield session, *read_output(session.batch.input, output)


def brain_fit_psnr(image: Tensor, reference: Tensor, mask: Tensor) -> float:
    """PSNR, dB, inside ``mask``, as ``evaluation`` has it by the protocol brain-fit; −inf where not finite.

    After the least-squares gain and offset of the image; all (X, Y, Z).
    """
    x, y = image[mask].double(), reference[mask].double()
    if not bool(x.isfinite().all()):
        return -math.inf
    centred = x - x.mean()
    spread = float(centred.square().sum())
    gain = float((centred * (y - y.mean())).sum()) / spread if spread else 0.0
    error = float((y - y.mean() - gain * centred).square().mean())
    ceiling = float(_quantile(y, CEILING))
    return math.inf if error == 0 else -10 * math.log10(error / ceiling**2)


def _quantile(values: Tensor, share: float) -> Tensor:
    """The quantile between two order statistics; ``torch.quantile`` takes no more than 16 million values."""
    place = share * (values.numel() - 1)
    low = math.floor(place)
    first = values.kthvalue(low + 1).values
    second = values.kthvalue(min(low + 2, values.numel())).values
    return torch.lerp(first, second, place - low)
