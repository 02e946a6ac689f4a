"""Work shared out to processes: every end is told, none is lost."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bids_lfenhance.errors import InputError, Interrupted
from bids_lfenhance.workflows.pool import run_in_workers


def work(word: str) -> str:
    """Ends in the way that the word says."""
    if word == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "bad input":
        raise InputError("Expected this, found that.")
    if word == "a bug":
        raise KeyError("x")
    return word.upper()


@pytest.mark.parametrize("nprocs", [1, 3])
def test_each_task_is_told_once_whatever_came_of_it(nprocs):
    words = ["one", "killed", "bad input", "two", "a bug", "three"]
    told: dict[str, tuple] = {}
    run_in_workers(
        work, {word: word for word in words}, nprocs, lambda name, result, why: told.update({name: (result, why)})
    )
    assert {name for name, (result, _) in told.items() if result == name.upper()} == {"one", "two", "three"}
    assert told["killed"][1].startswith("expected killed to finish, found its process killed")
    assert told["bad input"] == (None, "Expected this, found that.")
    assert told["a bug"][1] == "KeyError: 'x'"


def test_a_signal_ends_it():
    def stop(name: str, result: object, sentence: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        run_in_workers(work, {"one": "one", "two": "two"}, 1, stop)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_long_temporary_folder_is_no_obstacle(tmp_path: Path):
    """Addresses of sockets may have 107 letters; schedulers make long names."""
    folder = tmp_path / ("a" * 90)
    folder.mkdir()
    words = ["-c", "from tests.workflows.test_pool import one; one()"]
    done = subprocess.run(
        [sys.executable, *words],
        env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stdout) == (0, f"ONE\n{folder}\n"), done.stderr


def one() -> None:
    run_in_workers(work, {"one": "one"}, 1, lambda name, result, why: print(result))
    print(tempfile.gettempdir())


ORPHANS = """
import os, time
from bids_lfenhance.workflows.pool import new_worker
if __name__ == "__main__":
    workers = [new_worker() for _ in range(2)]
    pids = [worker.submit(os.getpid).result() for worker in workers]
    workers[0].submit(sum, range(10**10))
    print(*pids, flush=True)
    time.sleep(600)
"""


def test_no_worker_outlives_a_run_that_was_killed(tmp_path: Path):
    """One idle, one deep in code that never lets another thread run."""
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as run:
        pids = [int(word) for word in run.stdout.readline().split()]
        assert len(pids) == 2
        run.kill()
    ends = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
