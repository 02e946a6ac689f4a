"""Locks are tried with real processes, for it is their ends that matter."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bids_lfenhance.bids.lock import exclusive_run
from bids_lfenhance.errors import InputError

from ..refusals import refused

HOLD = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored
from bids_lfenhance.bids.lock import exclusive_run
with exclusive_run(Path(sys.argv[1]), "01"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_of_a_subject_is_refused_and_told_by_whom(tmp_path: Path, holder: subprocess.Popen) -> None:
    with pytest.raises(InputError, match=rf"sub-01 .* process {holder.pid} on host {os.uname().nodename}"):
        exclusive_run(tmp_path, "01").__enter__()
    with exclusive_run(tmp_path, "02"):
        pass  # another subject


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_ends_however_leaves_no_lock(tmp_path: Path, holder: subprocess.Popen, number: int) -> None:
    holder.send_signal(number)
    holder.wait(10)
    with exclusive_run(tmp_path, "01"):
        pass
    assert list((tmp_path / "logs").iterdir()) == [], "no file stays once a run has ended well"


def _step(task: tuple[Path, Path]) -> bool:
    """Whether this process was alone in the block, if it got in at all."""
    folder, witness = task
    for _ in range(200):
        try:
            with exclusive_run(folder, "01"):
                handle = os.open(witness, os.O_CREAT | os.O_EXCL)  # fails if another is here
                os.close(handle)
                witness.unlink()
        except InputError:
            continue
    return True


def test_never_two_at_once_while_the_file_comes_and_goes(tmp_path: Path) -> None:
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(8) as pool:
        assert all(pool.map(_step, [(tmp_path, tmp_path / "witness")] * 8, chunksize=1))


def test_no_room_for_a_lock_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / ".sub-01.lock").mkdir()
    with refused("not-writable"):
        exclusive_run(tmp_path, "01").__enter__()
