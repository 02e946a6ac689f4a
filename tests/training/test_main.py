"""A call that goes on with a packed training: what it refuses before any minute is spent, and what it says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bids_lfenhance.bids.lock import exclusive
from bids_lfenhance.training import __main__ as command
from bids_lfenhance.training.card import Trained
from bids_lfenhance.training.guards import only_training_in
from bids_lfenhance.training.pack import Pack, write_pack
from tests.refusals import refused

from .test_pack import people

__all__ = ["people"]  # the fixture

CURVES = "step,stage,quantity,value\n4,a,psnr,20\n8,a,psnr,23\n8,a,l1,1\n8,a,psnr-own,19\n12,a,psnr,21\n"


@dataclass
class Call:
    """A packed training, and the number of times that it was trained."""

    folder: Path
    trained: int = 0
    steps: int = 4
    finished: bool = True
    best_step: int = 8


@pytest.fixture
def call(people: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    found = Call(write_pack(tmp_path / "pack", people, "fusionnet"))

    def train(method: Any, settings: Any, examples: Any, split: Any, folder: Path, *_: Any) -> Trained:
        found.trained += 1
        for name in command.KEPT:
            (folder / name).write_text(CURVES)
        return Trained(folder, 23.0, found.steps, 60.0, finished=found.finished, best_step=found.best_step)

    monkeypatch.setattr(command, "train", train)
    return found


@pytest.mark.parametrize(
    ("steps", "finished", "said"), [(4, True, "are done"), (2, True, "no longer gains"), (2, False, "goes on")]
)
def test_it_says_whether_another_call_is_needed(call: Call, tmp_path: Path, steps: int, finished: bool, said: str):
    call.steps, call.finished = steps, finished
    assert said in command.run(call.folder, tmp_path / "out", "cpu", 1.0).splitlines()[-1]


def test_it_tells_the_scores_of_what_was_kept_from_the_last(call: Call, tmp_path: Path) -> None:
    lines = command.run(call.folder, tmp_path / "out", "cpu", 1.0).splitlines()
    assert lines[1:3] == ["kept: psnr 23.000, psnr-own 19.000 at step 8", "last: psnr 21.000 at step 12"]
    call.best_step = 12
    assert command.run(call.folder, tmp_path / "out", "cpu", 1.0).splitlines()[1:-1] == ["kept: psnr 21.000 at step 12"]


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_no_time_at_all_is_not_time_without_end(call: Call, tmp_path: Path, minutes: float) -> None:
    with refused("bad-option", option="max_minutes"):
        command.run(call.folder, tmp_path / "out", "cpu", minutes)
    assert not call.trained


def test_nowhere_to_write_is_said_before_the_training(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with refused("not-writable"):
        command.run(call.folder, tmp_path / "file" / "out", "cpu", 1.0)
    assert not call.trained


def test_two_calls_at_once_are_one_too_many(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with exclusive(call.folder / "run" / ".training.lock", "training"):
        with refused("locked"):
            command.run(call.folder, tmp_path / "out", "cpu", 1.0)
        monkeypatch.setenv("RANK", "1")  # of several processes of one training the first holds the lock
        with only_training_in(call.folder / "run"):
            pass
    assert not call.trained
