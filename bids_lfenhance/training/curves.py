"""Learning curves: a CSV that grows while the training runs, a picture, and TensorBoard where it is installed."""

import csv
import time
from collections.abc import Mapping
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from ..bids.atomic import atomic_write
from ..errors import InputError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

COLUMNS = ("step", "stage", "quantity", "value")
CSV, PNG = "curves.csv", "curves.png"

PAUSE = 60.0
"""Seconds between two pictures while a training runs."""


class Curves:
    """The curves of one training folder: rows of ``step`` (over all stages), ``stage``, ``quantity`` and ``value``.

    Quantities are the losses by name, the ``rate`` of each phase, and ``psnr`` of the validation (dB).
    """

    def __init__(self, folder: Path, step: int, writes: bool) -> None:
        """Rows that a stopped run left beyond its checkpoint, at ``step``, are cut off; all where it left none (0)."""
        self._path, self._writes = folder / CSV, writes
        self._board: SummaryWriter | None = None
        self._drawn = time.monotonic()
        if not writes:
            return
        kept = [row for row in read_curves(folder) if step and int(row["step"]) <= step]
        text = StringIO()
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(kept)
        atomic_write(self._path, text.getvalue())
        if find_spec("tensorboard") is not None:
            from torch.utils import tensorboard

            self._board = tensorboard.SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def add(self, step: int, stage: str, values: Mapping[str, float]) -> None:
        """Append one row per value; numbers are written so that reading them gives the same numbers."""
        if not self._writes:
            return
        rows = ((step, stage, name, repr(float(value))) for name, value in values.items())
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)
        except OSError as error:
            raise InputError(
                f"Expected to write {self._path}, found {error.strerror}; put that right and start again, it goes on."
            ) from error
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{stage}/{name}", value, step)

    def draw(self, now: bool = False) -> None:
        """Draw ``curves.png`` anew, unless that was done in the last minute; with ``now`` all the same."""
        if self._writes and (now or time.monotonic() - self._drawn > PAUSE):
            draw_curves(self._path.parent)
            self._drawn = time.monotonic()

    def close(self) -> None:
        """Let go of TensorBoard."""
        if self._board is not None:
            self._board.close()


def read_curves(folder: Path) -> list[dict[str, str]]:
    """The rows of ``curves.csv``, none where there is no such file; a last row cut short by a kill is left out."""
    path = folder / CSV
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return list(csv.DictReader(StringIO(text[: text.rfind("\n") + 1])))


def draw_curves(folder: Path) -> Path | None:
    """``curves.png``: one panel per quantity over the steps; None where there is nothing to draw, or to draw with."""
    lines: dict[str, tuple[list[int], list[float]]] = {}
    for row in read_curves(folder):
        steps, values = lines.setdefault(row["quantity"], ([], []))
        steps.append(int(row["step"]))
        values.append(float(row["value"]))
    if not lines or find_spec("matplotlib") is None:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 1.8 * len(lines)), layout="constrained")
    panels = figure.subplots(len(lines), squeeze=False)[:, 0]
    for panel, (name, (steps, values)) in zip(panels, lines.items(), strict=True):
        panel.plot(steps, values, linewidth=1, marker="." if len(steps) < 20 else "")
        panel.set_ylabel("PSNR, dB" if name.startswith("psnr") else name)
    panels[-1].set_xlabel("step")
    return atomic_write(folder / PNG, lambda path: figure.savefig(path, dpi=120))
