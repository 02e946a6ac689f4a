"""What a run says while it works, and how long it says that the rest will take."""

import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bids_lfenhance.workflows.progress import LOG, Progress, append_log, open_log, time_left


def step(name: str, subject: str = "01") -> Any:
    return SimpleNamespace(
        name=name, fullname=f"lfenhance.sub_{subject}_wf.{name}", interface=SimpleNamespace(run_step=None)
    )


def lines(text: str) -> list[str]:
    """Without the time of day."""
    return [re.sub(r"^\d\d:\d\d:\d\d +", "", line) for line in text.splitlines()]


def test_starts_ends_and_failures_are_lines_on_the_screen_and_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [step("prepare"), step("enhance"), step("report")]
    progress = Progress(steps, tmp_path, tmp_path)
    (tmp_path / "lfenhance" / "sub_01_wf").mkdir(parents=True)
    for one, status in zip(steps, ("end", "exception", "end"), strict=True):
        if one.name != "report":  # that one was done before: nipype tells no start
            progress(one, "start")
        progress(one, status)
    progress(SimpleNamespace(name="merge", interface=None), "start")
    progress.close()
    said = lines(capsys.readouterr().err)
    assert said == lines((tmp_path / LOG).read_text())
    expected = ["start  sub-01 prepare", "1/3 .* 0 s", "start  sub-01 enhance", "2/3 .* FAILED", "3/3 .* done before"]
    assert len(said) == len(expected)
    assert all(re.fullmatch(f" *{pattern}", line) for pattern, line in zip(expected, said, strict=True)), said
    assert not (tmp_path / "lfenhance" / "sub_01_wf").exists()


def test_a_long_silence_is_broken_with_what_runs_and_the_time_left(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    steps = [step("prepare"), step("prepare", "02"), step("enhance")]
    progress = Progress(steps, tmp_path, tmp_path, heartbeat=0.05)
    request.addfinalizer(progress.close)
    progress(steps[0], "start")
    _wait(tmp_path / LOG, "running: sub-01 prepare")
    assert "left" not in (tmp_path / LOG).read_text(), "nothing has ended that it could be judged by"
    progress(steps[0], "end")
    progress(steps[1], "start")
    _wait(tmp_path / LOG, r"1/3  running: sub-02 prepare \(\d+ s\); about 1 min left")
    progress.close()
    before = (tmp_path / LOG).read_text()
    time.sleep(0.15)
    assert (tmp_path / LOG).read_text() == before, "it ends with the run"


def test_the_time_left_shrinks_by_what_has_ended(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Before nipype runs a graph, the full name of a node lacks the graphs around it."""
    steps = [step("prepare", f"{number:02}") for number in range(40)]
    unnamed = [SimpleNamespace(name=one.name, fullname=one.name, interface=one.interface) for one in steps]
    progress = Progress(unnamed, tmp_path, tmp_path, heartbeat=0.05)
    request.addfinalizer(progress.close)
    for one in steps[:39]:
        progress(one, "start")
        progress(one, "end")
    progress._took["prepare"] = [6000.0]
    progress(steps[39], "start")
    _wait(tmp_path / LOG, r"39/40  running: sub-39 prepare \(\d+ s\); about 100 min left")


def _wait(log: Path, pattern: str) -> None:
    deadline = time.monotonic() + 20
    while not re.search(pattern, log.read_text()):
        assert time.monotonic() < deadline, log.read_text()[-500:]
        time.sleep(0.01)


def test_time_left_is_that_of_what_is_to_come_as_such_steps_took() -> None:
    took = {"prepare": [10.0, 20.0], "enhance": [60.0]}
    assert time_left({}, ["prepare"], [], 1) is None
    assert time_left(took, [], [], 0) == 0
    assert time_left(took, ["prepare", "enhance"], [], 1) == 75
    assert time_left(took, ["report"], [], 1) == 30, "of a kind not yet seen: the mean of all"
    assert time_left(took, ["enhance"], [("prepare", 5.0), ("enhance", 99.0)], 2) == (60 + 10 + 0) / 2


def test_the_log_says_what_was_run_and_a_full_disk_does_not_stop_it(tmp_path: Path) -> None:
    open_log(tmp_path, "2 processors", "Plan: 1 subject")
    append_log(tmp_path, "more")
    text = (tmp_path / LOG).read_text()
    assert "bids_lfenhance" in text
    assert text.endswith("Plan: 1 subject\n\nmore\n")
    append_log(tmp_path / "not there", "lost")
