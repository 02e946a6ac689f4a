"""How good the networks are on whole volumes that they did not learn from."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ..config import CONTRASTS
from ..evaluation.intensity import psnr
from ..evaluation.protocols import Pair, by_brain_fit
from ..nn.method import Method
from .examples import Example
from .parallel import World
from .sampler import whole


@torch.no_grad()
def validate(
    nets: Mapping[str, nn.Module],
    method: Method,
    settings: Any,
    examples: Sequence[Example],
    seed: int,
    world: World,
) -> dict[str, float]:
    """``psnr`` and, per contrast, ``psnr-<contrast>``: means over the examples, dB, inside the brain.

    ``lf2hf`` is measured as the protocol brain-fit, ``hf2lf`` on the scaled intensities as they are. Every draw has a
    generator made from ``seed`` and the example's number, so that two validations differ by the weights alone. A method
    that judges its examples itself (``Learning.judge``) gets the means of its own scores instead.
    """
    assert method.learning is not None
    for net in nets.values():
        net.eval()
    scores = _judged if method.learning.judge else _psnr
    result = scores(nets, method, settings, examples, seed, world)
    for net in nets.values():
        net.train()
    return result


def _psnr(
    nets: Mapping[str, nn.Module], method: Method, settings: Any, examples: Sequence[Example], seed: int, world: World
) -> dict[str, float]:
    assert method.learning is not None
    sums = torch.zeros(2, len(CONTRASTS), dtype=torch.float64, device=world.device)
    for number in range(world.rank, len(examples), world.size):
        batch = {key: value.to(world.device) for key, value in whole(examples[number], method.maps).items()}
        target, mask = batch.pop("target")[0].cpu().numpy(), batch["mask"][0, 0].cpu().numpy()
        generator = torch.Generator(world.device).manual_seed(seed + number)
        torch.manual_seed(seed + number)
        found = method.learning.predict(nets, batch, settings, generator)[0].float().cpu().numpy()
        for channel in np.flatnonzero((batch["present"] & batch["wanted"])[0].cpu().numpy()):
            value = brain_psnr(found[channel], target[channel], mask, fit=method.maps == "lf2hf")
            sums[:, channel] += torch.tensor([value, 1.0], device=world.device)
    world.add([sums])
    totals, counts = sums.cpu().numpy()
    each = {f"psnr-{CONTRASTS[c]}": float(totals[c] / counts[c]) for c in np.flatnonzero(counts)}
    return {"psnr": float(totals.sum() / counts.sum()), **each}


def _judged(
    nets: Mapping[str, nn.Module], method: Method, settings: Any, examples: Sequence[Example], seed: int, world: World
) -> dict[str, float]:
    assert method.learning is not None
    assert method.learning.judge is not None
    names = method.learning.scores
    sums = torch.zeros(len(names), dtype=torch.float64, device=world.device)
    for number in range(world.rank, len(examples), world.size):
        scores = method.learning.judge(nets, examples[number], settings, world.device)
        sums += torch.tensor([scores[name] for name in names], dtype=torch.float64, device=world.device)
    world.add([sums])
    return dict(zip(names, (sums / len(examples)).tolist(), strict=True))


def brain_psnr(image: np.ndarray, target: np.ndarray, mask: np.ndarray, fit: Literal[True, False]) -> float:
    """PSNR inside the mask, dB, all (X, Y, Z); with ``fit`` after the protocol brain-fit; −inf where not finite."""
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
