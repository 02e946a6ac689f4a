"""``python -m bids_lfenhance.training FOLDER --out OUT``: go on with a packed training, for so many minutes."""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..bids.atomic import atomic_write
from ..errors import InputError, Interrupted, MethodError
from ..methods import get_trainable
from ..nn.device import choose_device
from ..nn.weights import CARD, RECIPE, WEIGHTS
from ..resources import check_room
from .checkpoint import seconds_spent
from .curves import CSV, read_curves
from .guards import only_training_in
from .loop import train
from .pack import read_pack
from .run import TrainOptions

RUN = "run"
"""Folder of the training inside the pack: what a further call goes on from stays there."""

KEPT = (WEIGHTS, RECIPE, CARD, CSV, "split.json")
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
    parser.add_argument(
        "--max-minutes",
        type=float,
        default=9.0,
        help="of this call: it ends after the step in which they are over, and the first step fills the pool; a last "
        "validation and what is measured in the end come on top (default: 9)",
    )
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
    if not 0 < minutes < math.inf:
        message = f"Expected --max-minutes above 0, found {minutes}; leave it out or give a finite number above 0."
        raise InputError(message, code="bad-option", option="max_minutes")
    pack = read_pack(folder)
    check_room(out, "--out")
    method = get_trainable(pack.method)
    settings = method.about.settings(**pack.settings, device=device)
    with only_training_in(folder / RUN):
        until = seconds_spent(folder / RUN / "checkpoint") + 60 * minutes
        options = TrainOptions(**pack.options, device=device, dtype="fp16", start=pack.start, max_seconds=until)
        trained = train(method, settings, pack.examples, pack.split, folder / RUN, options, show)
        for name in KEPT:
            atomic_write(out / name, (folder / RUN / name).read_bytes())
    steps = sum(stage.steps for stage in method.stages(settings))
    lines = [f"{trained.steps} of {steps} steps, {trained.seconds / 60:.1f} min; weights so far: {out}"]
    lines += _scores(out, method.scores, trained.best_step)
    ended = "All steps are done." if trained.steps == steps else "Ended: validation no longer gains."
    return "\n".join([*lines, ended if trained.finished else "The same command goes on from here."])


def _scores(folder: Path, names: Sequence[str], kept: int) -> list[str]:
    """A line on the scores of the weights of step ``kept``, and one on the last validation where that was later."""
    scores: dict[int, dict[str, str]] = {}
    for row in read_curves(folder):
        if row["quantity"] in names:
            scores.setdefault(int(row["step"]), {})[row["quantity"]] = f"{row['quantity']} {float(row['value']):.3f}"
    said = {max(scores, default=kept): "last", kept: "kept"}
    return [
        f"{said[step]}: {', '.join(scores[step].values())} at step {step}" for step in sorted(said) if step in scores
    ]


def show(done: int, steps: int, losses: Mapping[str, float]) -> None:
    """Print a line every ``SHOWN`` steps."""
    if done % SHOWN == 1 or done == steps:
        figures = " ".join(f"{name} {value:.4f}" for name, value in losses.items())
        print(f"{done}/{steps} {figures}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
