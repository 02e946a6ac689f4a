"""What a process may use, and what a piece of work used."""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bids_lfenhance.resources import (
    available_cpus,
    available_memory_gb,
    check_where_started,
    give_home,
    track_usage,
)

from .refusals import refused


def test_slurm_limits_the_processors(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    free = available_cpus()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert available_cpus() == 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "100000")
    assert available_cpus() == free


def test_slurm_limits_the_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1024")
    assert available_memory_gb() == pytest.approx(1.0)


def test_slurm_limits_the_memory_of_each_processor(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SLURM_MEM_PER_NODE", raising=False)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "512")
    assert available_memory_gb() == pytest.approx(1.0)


@pytest.fixture
def control_group():
    """Makes a control group of the kernel, version 1, below that of this process; its path, and a process's way in."""
    made: list[Path] = []

    def make(controller: str, **limits: int) -> Path:
        root = Path("/sys/fs/cgroup") / controller
        if os.geteuid() != 0 or not (root / "cgroup.procs").exists():
            pytest.skip("needs root, and control groups of version 1 that can be written to")
        job = root / f"test-{os.getpid()}-{len(made)}"
        task = job / "task"  # as SLURM has it: the limit is the job's, the process in a group below
        try:
            task.mkdir(parents=True)
        except OSError as error:
            pytest.skip(f"this kernel lets us make no control group: {error}")
        made.extend([task, job])
        for name, value in limits.items():
            (job / name.replace("__", ".")).write_text(str(value))
        return task

    yield make
    for folder in made:
        for _ in range(50):
            try:
                folder.rmdir()
                break
            except OSError:
                time.sleep(0.1)


def inside(group: Path, expression: str) -> str:
    code = f"from bids_lfenhance.resources import *; print({expression})"
    enter = f'echo $$ > {group}/cgroup.procs && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", enter, "sh", sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_control_group_limits_the_memory(control_group):
    group = control_group("memory", memory__limit_in_bytes=700 * 2**20)
    assert float(inside(group, "available_memory_gb()")) == pytest.approx(700 / 1024)


def test_a_control_group_limits_the_processors(control_group):
    group = control_group("cpu", cpu__cfs_quota_us=100_000)
    assert inside(group, "available_cpus()") == "1"


def test_a_user_without_a_home_gets_one(monkeypatch: pytest.MonkeyPatch):
    home = Path.home()
    give_home()
    assert Path.home() == home
    monkeypatch.setenv("HOME", str(home))  # for it to be restored
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: os.environ.get("HOME", path))
    give_home()
    assert Path.home().is_dir()


def test_a_folder_that_is_gone_is_none_to_start_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with refused("no-folder"):
        check_where_started()


def test_work_is_measured():
    with track_usage(interval=0.01) as usage:
        held = np.ones(50 * 2**17)  # 50 MiB, touched
        end = time.process_time() + 0.05
        while time.process_time() < end:
            held += 1
    assert usage.seconds >= 0.05
    assert usage.cpu_seconds >= 0.05
    assert usage.peak_memory_mib > 50
    assert set(usage.sidecar()) == {"Seconds", "CpuSeconds", "PeakMemoryMiB"}


@pytest.mark.skipif(not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_freed_arrays_are_used_again_and_given_back_on_request():
    """The kernel is asked for the pages of an array once; afterwards the process holds no more than before."""
    code = """
import resource, psutil, numpy as np
from bids_lfenhance.resources import keep_freed_memory, return_freed_memory
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def held():
    return psutil.Process().memory_info().rss >> 20
keep_freed_memory()
before = held()
np.ones(60 << 17)
first = faults()
for _ in range(5):
    np.ones(60 << 17)
again, kept = faults() - first, held() - before
return_freed_memory()
print(again, kept, held() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    again, kept, left = map(int, done.stdout.split())
    assert again < 1000, "5 x 15360 pages without it"
    assert kept > 50
    assert left < 20
