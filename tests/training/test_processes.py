"""Trainings as processes: two of them give the curve of one, and a killed one goes on bit for bit."""

import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bids_lfenhance.errors import InputError
from bids_lfenhance.training.curves import read_curves
from bids_lfenhance.training.parallel import ProcessGroup

from .toy import make_example

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    for seed, name in enumerate("abcd"):
        make_example(folder, name, seed)
    return folder


def start(examples: Path, out: Path, steps: int, chunk: int = 1, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.training.worker", str(examples), str(out), str(steps), str(chunk)]
    env = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.Popen(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


def test_two_processes_give_the_curve_of_one(examples: Path, tmp_path: Path) -> None:
    """Dropout, the losses' own draws and augmentation are on: none may know how many processes there are."""
    alone = start(examples, tmp_path / "one", 8)
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    pair = [start(examples, tmp_path / "two", 8, RANK=str(rank), **world) for rank in range(2)]
    for process in (alone, *pair):
        finish(process)
    one, two = read_curves(tmp_path / "one"), read_curves(tmp_path / "two")
    assert [(row["step"], row["quantity"]) for row in one] == [(row["step"], row["quantity"]) for row in two]
    assert len([row for row in one if row["quantity"] == "l1"]) == 12
    values = np.array([[float(a["value"]), float(b["value"])] for a, b in zip(one, two, strict=True)])
    np.testing.assert_allclose(values[:, 0], values[:, 1], rtol=2e-5)
    a, b = weights(tmp_path / "one"), weights(tmp_path / "two")
    for key, value in a.items():
        torch.testing.assert_close(value, b[key], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_ten_kills_change_no_bit(examples: Path, tmp_path: Path) -> None:
    finish(start(examples, tmp_path / "whole", 120))
    random.seed(20261123)
    kills = 0
    while kills < 10:
        process = start(examples, tmp_path / "cut", 120)
        assert process.stdout is not None
        process.stdout.readline()  # it has begun to step
        try:
            process.wait(random.uniform(0.0, 0.5))
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        else:
            pytest.fail(f"the training ended after {kills} kills: make it longer")
        process.communicate()
    finish(start(examples, tmp_path / "cut", 120))
    a, b = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert (tmp_path / "whole" / "curves.csv").read_bytes() == (tmp_path / "cut" / "curves.csv").read_bytes()
    assert not list(tmp_path.rglob(".tmp-*"))


@pytest.mark.slow
def test_a_signal_to_one_of_two_stops_both_at_one_step(examples: Path, tmp_path: Path) -> None:
    def pair() -> list[subprocess.Popen[str]]:
        world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        return [start(examples, tmp_path / "two", 40, RANK=str(rank), **world) for rank in range(2)]

    writer, other = pair()
    assert writer.stdout is not None
    writer.stdout.readline()  # it has begun to step
    other.terminate()
    said = [process.communicate(timeout=120)[1] for process in (writer, other)]
    ends = [line for text in said for line in text.splitlines() if "Interrupted: stopped after" in line]
    assert len(ends) == 2, said
    assert len({line.partition("Interrupted")[2] for line in ends}) == 1  # torch names the rank before
    for process in [*pair(), start(examples, tmp_path / "one", 40)]:
        finish(process)
    a, b = weights(tmp_path / "one"), weights(tmp_path / "two")
    for key, value in a.items():
        torch.testing.assert_close(value, b[key], rtol=1e-2, atol=1e-4)


@pytest.mark.slow
def test_torchrun_starts_it_too(examples: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command += ["tests.training.worker", str(examples), str(tmp_path / "out"), "4", "1"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    finish(start(examples, tmp_path / "one", 4))
    a, b = weights(tmp_path / "one"), weights(tmp_path / "out")
    for key, value in a.items():
        torch.testing.assert_close(value, b[key], rtol=1e-3, atol=1e-5)


def test_the_items_of_a_batch_are_shared_out_once() -> None:
    for size in (1, 2, 3):
        for chunk in (0, 1, 2, 3):
            groups = [ProcessGroup(rank, size, CPU).chunks(8, chunk) for rank in range(size)]
            assert sorted(item for mine in groups for group in mine for item in group) == list(range(8))
            assert all(groups)
    with pytest.raises(InputError, match="fewer processes"):
        ProcessGroup(0, 4, CPU).chunks(3, 0)
    with pytest.raises(InputError, match="fewer processes"):
        ProcessGroup(0, 2, CPU).chunks(4, 4)


def test_one_process_adds_nothing() -> None:
    value = torch.ones(3)
    ProcessGroup(0, 1, CPU).all_reduce([value])
    assert value.tolist() == [1.0, 1.0, 1.0]
    assert ProcessGroup(0, 1, CPU).any(True)
