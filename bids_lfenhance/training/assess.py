"""The test of a training on people it never saw, beside two baselines: its input, and a monotone intensity map."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np

from ..config import CONTRASTS
from ..evaluation.intensity import ncc, psnr
from ..evaluation.protocols import by_brain_fit, make_pair
from ..evaluation.ssim import local_moments, ssim_map
from ..imaging.ssim import RADIUS
from ..nn.example import Example
from ..nn.method import Trainable

if TYPE_CHECKING:
    import torch

    from ..nn.stage import Nets

S = TypeVar("S")

Row: TypeAlias = Mapping[str, str | float]
"""One image of one example: whose, of what, and its metrics."""

SummaryRow: TypeAlias = Mapping[str, str | float | None]
"""Means and SDs over people."""

BINS = 256
"""Intensity levels of the monotone map, over [0, 1.25] of the scaled low field."""

CEILING = 1.25

ROWS = ("input", "monotone map")
"""The rows that stand beside a method: what went in, and the best a change of grey scale can do."""


class MonotoneMap:
    """The increasing function of intensity that brings input nearest to target, in the least-squares sense.

    Fitted on training examples, one for each contrast: the second baseline of a learned method
    (docs/methods/interp.md).
    """

    def __init__(self, examples: Sequence[Example], maps: str) -> None:
        self.centres = (np.arange(BINS) + 0.5) * CEILING / BINS
        sums, counts = np.zeros((2, len(CONTRASTS), BINS))
        for example in examples:
            for contrast, image, target in _channels(example, maps):
                level = _levels(image[example.mask])
                channel = CONTRASTS.index(contrast)
                sums[channel] += np.bincount(level, target[example.mask], minlength=BINS)
                counts[channel] += np.bincount(level, minlength=BINS)
        self.values = {name: _isotonic(s, n, self.centres) for name, s, n in zip(CONTRASTS, sums, counts, strict=True)}

    def __call__(self, image: np.ndarray, contrast: str) -> np.ndarray:
        """(X, Y, Z) float32: the image with its intensities mapped; any shape, scaled as an example is."""
        return np.interp(image, self.centres, self.values[contrast]).astype(np.float32)


def _levels(values: np.ndarray) -> np.ndarray:
    return np.clip((values * (BINS / CEILING)).astype(int), 0, BINS - 1)


def _isotonic(sums: np.ndarray, counts: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(BINS,) the weighted means, made to rise (pool adjacent violators); the identity where nothing was seen."""
    from scipy.optimize import isotonic_regression

    seen = counts > 0
    if not seen.any():
        return centres
    fitted = isotonic_regression(sums[seen] / counts[seen], weights=counts[seen]).x
    return np.interp(centres, centres[seen], fitted)


def _channels(example: Example, maps: str) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(contrast, input, target), (X, Y, Z) float32 each, of the contrasts that both fields have."""
    fields = ("low", "high") if maps == "lf2hf" else ("high", "low")
    names = [example.contrasts[name] for name in fields]
    arrays = [getattr(example, name) for name in fields]
    both = [contrast for contrast in names[0] if contrast in names[1]]
    return [
        (c, *(array[own.index(c)].astype(np.float32) for array, own in zip(arrays, names, strict=True))) for c in both
    ]


def brain_fit(image: np.ndarray, target: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """PSNR (dB), SSIM and NCC of two (X, Y, Z) images inside the mask, protocol brain-fit."""
    pair = make_pair(image, target, mask)
    scales = by_brain_fit(pair)
    box = pair.box(RADIUS)
    similar = ssim_map(local_moments(scales.image(pair.image[box]), scales.reference(pair.reference[box])))
    x, y = pair.brain
    return {
        "psnr": psnr(scales.image(x), scales.reference(y)),
        "ssim": float(similar[pair.mask[box]].mean(dtype=np.float64)),
        "ncc": ncc(x, y),
    }


def assess(
    nets: "Nets",
    method: Trainable[S],
    settings: S,
    examples: Sequence[Example],
    learned_from: Sequence[Example],
    seed: int,
    device: "torch.device",
) -> list[Row]:
    """One row for each example, contrast and method (``ROWS`` and this one): ``psnr``, ``ssim``, ``ncc`` in the brain.

    ``learned_from`` are the training examples, on which the monotone map is fitted; ``device`` that of the networks.
    """
    import torch

    from .patches import whole

    assert method.predict is not None
    monotone = MonotoneMap(learned_from, method.about.direction)
    rows: list[Row] = []
    for number, example in enumerate(examples):
        batch = whole(example, method.about.direction).without_target().to(device)
        generator = torch.Generator(device).manual_seed(seed + number)
        with torch.no_grad():
            answer = method.predict(nets, batch, settings, generator)[0].float().cpu().numpy()
        for contrast, image, target in _channels(example, method.about.direction):
            images = dict(zip(ROWS, (image, monotone(image, contrast) * example.mask), strict=True))
            images[method.name] = answer[CONTRASTS.index(contrast)]
            about = {name: str(getattr(example, name)) for name in ("person", "session", "kind")}
            about |= {"contrast": contrast, "simulator": str(example.origin.get("simulator", ""))}
            about["planes"] = "+".join(example.origin.get("planes", ()))
            rows += [{**about, "method": name, **brain_fit(one, target, example.mask)} for name, one in images.items()]
    return rows


def summary(rows: Sequence[Row]) -> list[SummaryRow]:
    """Mean and SD over people (their examples averaged first) by kind, contrast and method; ``people`` counts them."""
    table: list[SummaryRow] = []
    for kind, contrast, name in dict.fromkeys((row["kind"], row["contrast"], row["method"]) for row in rows):
        chosen = [row for row in rows if (row["kind"], row["contrast"], row["method"]) == (kind, contrast, name)]
        people = list(dict.fromkeys(row["person"] for row in chosen))
        line: dict[str, str | float | None] = {
            "kind": kind,
            "contrast": contrast,
            "method": name,
            "people": len(people),
        }
        for metric in ("psnr", "ssim", "ncc"):
            means = [np.mean([float(row[metric]) for row in chosen if row["person"] == person]) for person in people]
            line[metric] = float(np.mean(means))
            line[f"{metric}_sd"] = float(np.std(means, ddof=1)) if len(means) > 1 else None
        table.append(line)
    return table
