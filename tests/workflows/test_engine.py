"""Graphs run to an orderly end whatever becomes of their steps; faults come from outside the process."""

import os
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from bids_lfenhance.config import RunSpec, Settings
from bids_lfenhance.errors import Interrupted
from bids_lfenhance.workflows.engine import execute_graph
from bids_lfenhance.workflows.pool import new_worker
from bids_lfenhance.workflows.runner import WorkerPlugin

from .toy import device_subject, toy_subject

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()

    def execute(*graphs, **options):
        settings = Settings(tmp_path, tmp_path / "out", nprocs=2, resource_monitor=True, **options)
        spec = RunSpec(
            *(str(tmp_path), str(tmp_path), "interp", "interp", {}, False, "0", "cpu"),
            *(1, 0, False, "1mm", (), "cpu", 1, 8.0),
        )
        return execute_graph(graphs, tmp_path / "work", tmp_path / "logs", settings, spec)

    return execute


def runs(tmp_path: Path, subject: str) -> list[str]:
    told = tmp_path / "work" / "lfenhance" / f"sub_{subject}_wf" / "runs.txt"
    return told.read_text().split() if told.exists() else []  # a stopped run may never have begun the subject


def test_a_killed_worker_is_a_named_failure_and_the_others_finish(run, tmp_path):
    failures = run(toy_subject("01", "killed"), toy_subject("02"))
    assert [f.node for f in failures] == ["lfenhance.sub_01_wf.middle"]
    assert "killed" in failures[0].sentence
    assert "memory" in failures[0].sentence
    assert failures[0].crash_file.read_text().startswith("Node: lfenhance.sub_01_wf.middle")
    assert runs(tmp_path, "01") == ["first", "middle"]
    assert not (tmp_path / "work" / "lfenhance" / "sub_02_wf").exists(), "a finished subject leaves no files behind"


@pytest.mark.parametrize(
    ("fate", "sentence"),
    [
        ("refused", "Expected something else, found this; do that."),
        ("broken", "KeyError: 'nobody thought of this'"),
        (
            "hungry",
            "the step ran out of memory (MemoryError: Unable to allocate 7 TiB); "
            "lower --nprocs or give it more memory, and run again to resume.",
        ),
    ],
)
def test_an_error_becomes_its_own_sentence(run, fate, sentence):
    (failure,) = run(toy_subject("01", fate))
    assert failure.sentence == sentence


def test_a_rerun_does_again_only_what_is_missing(run, tmp_path):
    run(toy_subject("01", "refused"))
    assert run(toy_subject("01")) == []
    usage = (tmp_path / "logs" / "resources.tsv").read_text()
    assert "sub_01_wf.first" not in usage, "the first step was done already"
    assert "sub_01_wf.middle" in usage
    assert "sub_01_wf.report" in usage


def test_every_step_is_measured(run, tmp_path):
    assert run(toy_subject("01")) == []
    rows = [line.split("\t") for line in (tmp_path / "logs" / "resources.tsv").read_text().splitlines()[1:]]
    assert len(rows) == 3
    assert all(float(row[3]) > 1 for row in rows), "a process takes more than one MiB"


def test_the_first_crash_can_stop_everything(run, tmp_path):
    (failure,) = run(toy_subject("01", "refused"), toy_subject("02", "slow"), stop_on_first_crash=True)
    assert "found this" in failure.sentence
    assert "report" not in runs(tmp_path, "02"), "the other subject was left where it was"


def test_a_signal_after_a_failed_step_ends_the_run(run, tmp_path):
    def scheduler() -> None:
        while not list((tmp_path / "logs").glob("crash-*")) or "middle" not in runs(tmp_path, "02"):
            time.sleep(0.05)
        time.sleep(0.3)  # the failure is on record now
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=scheduler, daemon=True).start()
    with pytest.raises(Interrupted, match="SIGTERM"):
        run(toy_subject("01", "refused"), toy_subject("02", "slow"))


def test_one_subject_is_finished_before_the_next_is_begun(run, tmp_path):
    """Though its middle step needs both processors, and a step that needs one is always ready to pass it."""
    graphs = [toy_subject(f"{n:02d}", processors=2, merged=True) for n in range(6)]
    assert run(*graphs) == []
    usage = (tmp_path / "logs" / "resources.tsv").read_text().splitlines()[1:]
    order = [tuple(line.split("\t")[0].split(".")[1:]) for line in usage]
    for number in range(4):
        begun = order.index((f"sub_{number + 2:02d}_wf", "first"))
        assert order.index((f"sub_{number:02d}_wf", "report")) < begun + 2, order


def test_several_subjects_keep_one_device_busy(run, tmp_path):
    """A stand-in device (a step that sleeps): at least nine tenths of the time after warm-up, in one worker."""
    assert run(*(device_subject(f"{n:02d}", seconds=2.0) for n in range(4))) == []
    rows = [line.split() for line in (tmp_path / "work" / "lfenhance" / "device.txt").read_text().splitlines()]
    device = sorted((float(began), float(ended), pid) for _, step, pid, began, ended in rows if step == "middle")
    assert len(device) == 4
    assert len({pid for *_, pid in device}) == 1, "the context of the device is set up once"
    assert all(before[1] <= after[0] for before, after in pairwise(device)), "one step at a time"
    busy = sum(ended - began for began, ended, _ in device[1:])
    assert busy / (device[-1][1] - device[1][0]) >= 0.9


def test_a_worker_killed_while_it_had_nothing_to_do_is_replaced(tmp_path):
    plugin = WorkerPlugin({"n_procs": 1, "memory_gb": 4, "n_gpu_procs": 1})
    worker = new_worker()
    os.kill(worker.submit(os.getpid).result(), signal.SIGKILL)
    while not worker._broken:
        time.sleep(0.01)
    plugin._idle[False].append(worker)
    node = toy_subject("01").get_node("first")
    node.base_dir = str(tmp_path)
    try:
        task = plugin._submit_job(node)
        plugin._task_obj[task].result(timeout=60)
        while not (result := plugin._get_result(task)):
            time.sleep(0.01)
        assert result["traceback"] is None
    finally:
        plugin.close()


def test_the_graph_is_written_with_or_without_graphviz(run, tmp_path):
    assert run(toy_subject("01"), write_graph=True) == []
    assert "digraph" in (tmp_path / "logs" / "graph.dot").read_text()
