"""What a worker makes of one person's scans, and what it says of where they come from."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from bids_lfenhance.simulators import get_simulator
from bids_lfenhance.training import jobs
from bids_lfenhance.training.card import _low_field
from bids_lfenhance.training.examples import read_example
from bids_lfenhance.training.jobs import Job, run_job
from bids_lfenhance.training.sessions import simulated_session
from tests.simulators.sources import phantom_source


@pytest.fixture
def scan(tmp_path: Path) -> tuple[str, str, None, str]:
    path = tmp_path / "sub-01_T1w.nii.gz"
    path.write_bytes(b"a scan")
    return ("sub-01_T1w", "T1w", None, str(path))


@pytest.fixture
def phantoms(monkeypatch: pytest.MonkeyPatch) -> None:
    """One phantom whoever is asked for; a pair is a session of it."""
    head = phantom_source("T1w", size=32)
    simulator = get_simulator("physics")
    made = simulated_session(simulator, [head], simulator.settings(), np.random.default_rng(0), ("axi",))
    monkeypatch.setattr(jobs, "_sources", lambda job: [head])
    monkeypatch.setattr(jobs, "paired", lambda job: dataclasses.replace(made, origin={}))


def test_folders_are_named_by_what_decides_their_content(scan, tmp_path: Path) -> None:
    job = Job("Data", "01", "A", high=(scan,), simulator="physics", draws=2)
    root = tmp_path / "examples"
    same = dataclasses.replace(job, draws=3, licence="CC0", made_by="physics")
    assert same.folders(root)[:2] == job.folders(root)
    for changed in ({"seed": (1,)}, {"fixed": True}, {"simulator_settings": {"snr": 3}}, {"contrasts": ("T1w",)}):
        assert not set(dataclasses.replace(job, **changed).folders(root)) & set(job.folders(root))
    before = job.folders(root)
    Path(scan[3]).write_bytes(b"another scan")
    assert not set(job.folders(root)) & set(before)


def test_what_is_not_simulated_is_made_once_whatever_the_seed_and_the_fold(scan, tmp_path: Path) -> None:
    root, plain = tmp_path / "examples", Job("Data", "01", "A", high=(scan,))
    drawn = {"seed": (1,), "fixed": True, "inputs": (scan[3],), "simulator_settings": {"snr": 3}}
    shown = dataclasses.replace(plain, low=(scan,))
    for kind in (shown, dataclasses.replace(plain, heads=True), dataclasses.replace(plain, high=(), label_map=scan[3])):
        assert dataclasses.replace(kind, **drawn).folders(root) == kind.folders(root)
    for changed in ({"contrasts": ("T1w",)}, {"fusion": "sr"}, {"heads": True}, {"low": ()}):
        assert dataclasses.replace(shown, **changed).folders(root) != shown.folders(root)
    simulated = dataclasses.replace(plain, simulator="physics")
    for name, value in drawn.items():
        assert dataclasses.replace(simulated, **{name: value}).folders(root) != simulated.folders(root)


@pytest.mark.usefixtures("phantoms")
def test_only_what_is_absent_is_made(scan, tmp_path: Path) -> None:
    job = Job("Data", "01", "", high=(scan,), simulator="physics", draws=1, fixed=True, seed=(3,))
    (first,) = run_job(job, tmp_path / "examples")
    stamp = (Path(first) / "low.npy").stat().st_mtime_ns
    again, second = run_job(dataclasses.replace(job, draws=2), tmp_path / "examples")
    assert again == first
    assert (Path(first) / "low.npy").stat().st_mtime_ns == stamp
    assert [read_example(folder).origin["planes"] for folder in (first, second)] == [["axi", "cor", "sag"], ["axi"]]


@pytest.mark.usefixtures("phantoms")
@pytest.mark.parametrize(("made_by", "said"), [("", "acquired"), ("physics", "simulated (physics)")])
def test_pairs_of_a_simulated_dataset_are_not_called_acquired(scan, tmp_path: Path, made_by: str, said: str) -> None:
    job = Job("Data", "01", "A", high=(scan,), low=(scan,), made_by=made_by, licence="CC0")
    (folder,) = run_job(job, tmp_path / "examples")
    example = read_example(folder)
    assert (example.kind, example.person, example.origin["licence"]) == ("pairs", "Data/01", "CC0")
    assert _low_field(example) == said
    assert example.sources[0][0] == scan[3]
