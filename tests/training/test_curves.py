"""Curves: appended, cut at the checkpoint, drawn; TensorBoard where it is installed."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bids_lfenhance.errors import InputError
from bids_lfenhance.training import curves
from bids_lfenhance.training.curves import Curves, draw_curves, read_curves


def test_rows_after_the_checkpoint_are_cut_and_none_is_doubled(tmp_path: Path) -> None:
    first = Curves(tmp_path, 0, True)
    for step in range(1, 6):
        first.add(step, "s", {"l1": 1 / 3 / step, "psnr": float("-inf")})
    with (tmp_path / "curves.csv").open("a") as file:
        file.write("6,s,l1,0.0")  # killed while writing
    again = Curves(tmp_path, 3, True)
    again.add(4, "s", {"l1": 9.0})
    rows = [(int(row["step"]), float(row["value"])) for row in read_curves(tmp_path) if row["quantity"] == "l1"]
    assert rows == [(1, 1 / 3), (2, 1 / 6), (3, 1 / 9), (4, 9.0)]


def test_one_process_writes(tmp_path: Path) -> None:
    silent = Curves(tmp_path, 0, False)
    silent.add(1, "s", {"l1": 1.0})
    silent.draw(now=True)
    silent.close()
    assert not list(tmp_path.iterdir())


def test_the_picture_is_drawn_when_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert draw_curves(tmp_path) is None
    found = Curves(tmp_path, 0, True)
    found.add(1, "s", {"l1": 1.0, "psnr": np.float64(20)})  # type: ignore[dict-item]
    found.draw()
    assert not (tmp_path / "curves.png").exists()
    monkeypatch.setattr(curves, "PAUSE", 0.0)
    found.draw()
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    found = Curves(tmp_path, 0, True)
    (tmp_path / "curves.csv").unlink()
    (tmp_path / "curves.csv").mkdir()
    with pytest.raises(InputError, match=r"curves\.csv"):
        found.add(1, "s", {"l1": 1.0})


def test_tensorboard_is_used_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            told.append((Path(folder).name, purge_step))

        def add_scalar(self, *values: Any) -> None:
            told.append(values)

        def close(self) -> None:
            told.append("closed")

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(curves, "find_spec", lambda name: ModuleSpec(name, None))
    found = Curves(tmp_path, 7, True)
    found.add(8, "pretrain", {"l1": 0.5})
    found.close()
    assert told == [("tensorboard", 7), ("pretrain/l1", 0.5, 8), "closed"]
