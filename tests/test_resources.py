"""What a process may use, and what a piece of work used."""

import time

import numpy as np
import pytest

from bids_lfenhance.resources import available_cpus, available_memory_gb, measured


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


def test_work_is_measured():
    with measured(interval=0.01) as usage:
        held = np.ones(50 * 2**17)  # 50 MiB, touched
        end = time.process_time() + 0.05
        while time.process_time() < end:
            held += 1
    assert usage.seconds >= 0.05
    assert usage.cpu_seconds >= 0.05
    assert usage.peak_memory_mib > 50
    assert set(usage.sidecar()) == {"Seconds", "CpuSeconds", "PeakMemoryMiB"}
