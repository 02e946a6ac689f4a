"""What the parts of a trained method bring, on people nobody trained on. SIMULATED low field where the examples' is.

python benchmarks/ablations.py EXAMPLES --people 02 53 --rows pfsr=FOLDER pfsr=FOLDER:strength=0.5

What draws the residual of the learned estimate (``cfm``, ``bridge``, ``cssdiff``) is judged by residual.py.
EXAMPLES is the folder ``examples`` that a training left (docs/training.md); each row is METHOD=WEIGHTS, then settings
that it changes. PSNR, SSIM, MAE, NMSE, NCC: protocol brain-fit; mean ± SD over people, their sessions averaged first,
one draw each. With ``--alike`` high field is first given the contrast of its low field, as in training with fusion
"restored": what is left is noise and blur. "variance": that of the image over that of high field, in the brain, after
the fit: 1 is right, less is smooth.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.evaluation.intensity import mae, nmse
from bids_lfenhance.evaluation.protocols import by_brain_fit, make_pair
from bids_lfenhance.methods import get_trainable
from bids_lfenhance.methods.options import settings_of_weights
from bids_lfenhance.nn.batch import required
from bids_lfenhance.nn.example import Example
from bids_lfenhance.nn.precision import use_precision
from bids_lfenhance.nn.weights import load_weights
from bids_lfenhance.training.assess import brain_fit
from bids_lfenhance.training.examples import list_examples
from bids_lfenhance.training.patches import whole

COLUMNS = {
    "psnr": ("PSNR", 2),
    "ssim": ("SSIM", 3),
    "mae": ("MAE", 4),
    "nmse": ("NMSE", 4),
    "ncc": ("NCC", 3),
    "variance": ("variance", 2),
}
"""What is printed of each score: its heading, and its digits."""


def scores(image: np.ndarray, target: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """The columns of one image."""
    pair = make_pair(image, target, mask)
    x, y = (to_scale(values) for to_scale, values in zip(by_brain_fit(pair), pair.brain, strict=True))
    variance = float(x.var(dtype=float) / y.var(dtype=float))
    return brain_fit(image, target, mask) | {"mae": mae(x, y), "nmse": nmse(x, y), "variance": variance}


def inputs(example: Example, alike: bool) -> list[dict[str, float]]:
    """The scores of low field as it is, one for each contrast."""
    names = [example.contrasts[field] for field in ("low", "high")]
    low, high, mask = (np.asarray(a, np.float32) for a in (example.low, example.high, example.mask))
    both = [name for name in names[0] if name in names[1]]
    goals = {c: aim(example, c, high[names[1].index(c)], alike) for c in both}
    return [scores(low[names[0].index(c)], goals[c], mask > 0) for c in both]


def aim(example: Example, contrast: str, high: np.ndarray, alike: bool) -> np.ndarray:
    """What an image is held against: high field, or that in the contrast of its low field."""
    if not alike or contrast not in example.curves:
        return high
    return np.interp(high, *example.curves[contrast]).astype(np.float32)


def enhanced(
    row: str, examples: Sequence[Example], device: torch.device, alike: bool
) -> tuple[list[list[dict[str, float]]], float]:
    """The scores of each example's contrasts, and the seconds of one."""
    name, weights, changes = parse(row)
    method, loaded = get_trainable(name), load_weights(weights, name, ())
    trained = method.about.settings(**settings_of_weights(method.about, loaded.settings), device=str(device))
    nets = {key: net for key, net in method.build(trained).items() if key in loaded.state}
    for key, net in nets.items():
        net.load_state_dict(loaded.state[key])
        net.to(device).eval()
    use_precision(nets, "bf16", device)
    settings, found = replace(trained, **changes), []
    start = time.perf_counter()
    for number, example in enumerate(examples):
        batch = whole(example, method.about.direction).to(device)
        target = required(batch.target)[0].cpu().numpy()
        with torch.no_grad():
            generator = torch.Generator(device).manual_seed(number)
            assert method.predict is not None
            image = method.predict(nets, batch.without_target(), settings, generator)[0].float().cpu().numpy()
        there = batch.live[0].cpu().numpy()
        mask = batch.mask[0, 0].cpu().numpy()
        goals = [(c, aim(example, CONTRASTS[c], target[c], alike)) for c in range(len(CONTRASTS)) if there[c]]
        found.append([scores(image[c], goal, mask) for c, goal in goals])
    return found, (time.perf_counter() - start) / len(examples)


def parse(row: str) -> tuple[str, str, dict[str, Any]]:
    """Method, weights and changed settings of ``METHOD=WEIGHTS:key=value``."""
    head, *changes = row.split(":")
    name, _, weights = head.partition("=")
    return name, weights, {key: _value(value) for key, _, value in (change.partition("=") for change in changes)}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def line(label: str, found: Sequence[Sequence[Mapping[str, float]]], people: Sequence[str], seconds: float) -> str:
    """A row of the table."""
    cells = []
    for column, (_, digits) in COLUMNS.items():
        each = [np.mean([one[column] for one in scores]) for scores in found]
        means = [np.mean([v for v, who in zip(each, people, strict=True) if who == p]) for p in dict.fromkeys(people)]
        spread = f" ± {np.std(means, ddof=1):.{digits}f}" if len(means) > 1 else ""
        cells.append(f"{np.mean(means):.{digits}f}{spread}")
    return f"| {label} | {' | '.join(cells)} | {seconds:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("examples", type=Path)
    parser.add_argument("--people", nargs="+", required=True, help="subject labels")
    parser.add_argument("--planes", default="axi+cor+sag", help="stacks of the sessions, or 'any'")
    parser.add_argument("--alike", action="store_true", help="judge noise and blur apart from contrast")
    parser.add_argument("--rows", nargs="+", required=True, metavar="METHOD=WEIGHTS:key=value")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    given = parser.parse_args()
    chosen = [
        example
        for example in list_examples(given.examples)
        if example.subject in given.people and given.planes in ("any", "+".join(example.origin.get("planes", ())))
    ]
    people = [example.person for example in chosen]
    print(f"{len(chosen)} sessions of {len(set(people))} people, {given.device}\n")
    headings = ["row", *(heading for heading, _ in COLUMNS.values()), "s"]
    print(f"| {' | '.join(headings)} |\n{'|---' * len(headings)}|")
    print(line("input", [inputs(example, given.alike) for example in chosen], people, 0.0), flush=True)
    for row in given.rows:
        found, seconds = enhanced(row, chosen, given.device, given.alike)
        print(line(row, found, people, seconds), flush=True)


if __name__ == "__main__":
    main()
