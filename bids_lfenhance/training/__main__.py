"""``python -m bids_lfenhance.training FOLDER --out OUT``: go on with a packed training, for so many minutes."""

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import InputError, Interrupted, MethodError
from ..methods import get_trainable
from ..nn.device import choose_device
from .checkpoint import seconds_spent
from .curves import CSV, read_curves
from .loop import train
from .pack import read_pack
from .run import TrainOptions

RUN = "run"
"""Folder of the training inside the pack: what a further call goes on from stays there."""

KEPT = ("weights.safetensors", "recipe.toml", "card.md", CSV, "split.json")
"""What is copied to ``--out``: at most 16 MB."""

SHOWN = 50
"""Steps between two lines of progress."""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 when ``--out`` holds the weights so far, 1 if the training failed, 2 for bad input, 130 where it
    was asked to end; the same command goes on then.
    """
    parser = argparse.ArgumentParser(prog="python -m bids_lfenhance.training", description=__doc__)
    parser.add_argument("folder", type=Path, help="what train --pack wrote")
    parser.add_argument("--out", type=Path, required=True, help="gets the weights so far, their card and the curves")
    parser.add_argument("--device", default="cuda", help="where to train (default: cuda)")
    parser.add_argument("--max-minutes", type=float, default=9.0, help="of this call, pool and all (default: 9)")
    asked = parser.parse_args(argv)
    try:
        done = run(asked.folder, asked.out, choose_device(asked.device), asked.max_minutes)
    except (InputError, MethodError, Interrupted) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, InputError) else 130 if isinstance(error, Interrupted) else 1
    print(done)  # noqa: T201
    return 0


def run(folder: Path, out: Path, device: str, minutes: float) -> str:
    """What was reached, as a text; ``out`` holds the weights so far then."""
    pack = read_pack(folder)
    method = get_trainable(pack.method)
    settings = method.about.settings(**pack.settings, device=device)
    spent = seconds_spent(folder / RUN / "checkpoint")
    options = TrainOptions(
        **pack.options, device=device, dtype="fp16", start=pack.start, max_seconds=spent + 60 * minutes
    )
    trained = train(method, settings, pack.examples, pack.split, folder / RUN, options, show)
    out.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copyfile(folder / RUN / name, out / name)
    scores = {row["quantity"]: row for row in read_curves(folder / RUN) if row["quantity"] in method.scores}
    steps = sum(stage.steps for stage in method.stages(settings))
    lines = [f"{trained.steps} of {steps} steps, {trained.seconds / 60:.1f} min; weights so far: {out}"]
    lines += [f"{name} {float(row['value']):.3f} (step {row['step']})" for name, row in scores.items()]
    if trained.steps < steps:
        lines.append("The same command goes on from here.")
    return "\n".join(lines)


def show(done: int, steps: int, losses: Mapping[str, float]) -> None:
    """A line now and then."""
    if done % SHOWN == 1 or done == steps:
        figures = " ".join(f"{name} {value:.4f}" for name, value in losses.items())
        print(f"{done}/{steps} {figures}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
