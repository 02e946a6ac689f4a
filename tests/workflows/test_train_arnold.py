"""``train --augment arnold`` on pairs: the four numbers are fitted to training people, kept, and used."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bids_lfenhance.cli.run import main
from bids_lfenhance.imaging.fusion import fuse_mean
from bids_lfenhance.imaging.volume import volume_from_channels
from bids_lfenhance.simulators.arnold import SIMULATOR, ArnoldRecord, load_parameters
from bids_lfenhance.simulators.presets import get_preset, stack_geometry
from bids_lfenhance.simulators.simulator import rows
from bids_lfenhance.training import fit_arnold, jobs
from bids_lfenhance.training.examples import list_examples
from bids_lfenhance.training.sessions import Session
from tests.simulators.sources import phantom_source
from tests.workflows.simulated import HIGH, LOW, write_scan

from .test_train import TINY, quick, split

__all__ = ["quick"]  # the fixture

NOISE, WIDTH, GAMMA = 0.12, (2.0, 2.0, 6.0), 0.5


def phantom_pair(job: jobs.Job) -> Session:
    """The pair of a job as it would be registered: low field by ``arnold`` with known parameters."""
    source = phantom_source("T1w", size=40, seed=int(job.subject))
    record = ArnoldRecord("T1w", "axi", rows(np.eye(4)), NOISE, GAMMA, WIDTH, 1)
    stack = SIMULATOR.apply(source, stack_geometry(get_preset("T1w", "axi"), source.grid), record)
    stack = type(stack)(**vars(stack) | {"fwhm": (1.6, 1.6, 5.0)})
    low = volume_from_channels(source.grid, {"T1w": fuse_mean([stack], source.grid)}, (stack,))
    high = volume_from_channels(source.grid, {"T1w": source.image})
    return Session(low, high, source.mask, source.to_template, {})


@pytest.fixture(autouse=True)
def fitted_to(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The subjects whose pairs were fitted to."""
    seen: list[str] = []
    monkeypatch.setattr(jobs, "paired", phantom_pair)
    monkeypatch.setattr(fit_arnold, "paired", lambda job: seen.append(job.subject) or phantom_pair(job))
    return seen


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "pairs"
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "Phantoms", "BIDSVersion": "1.10.0"}')
    for person in ("01", "02", "03"):
        write_scan(root, f"sub-{person}/ses-HF", "T1w", HIGH)
        write_scan(root, f"sub-{person}/ses-LF", "T1w", LOW)
    return root


def run(dataset: Path, out: Path, *more: str) -> int:
    words = ["--augment", "arnold", "--draws", "1", "--nprocs", "1", *TINY, "--split", str(split(dataset.parent))]
    return main([str(dataset), str(out), "train", *words, *more])


def test_it_is_fitted_to_who_trains_kept_and_used(
    dataset: Path, tmp_path: Path, fitted_to: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert run(dataset, out) == 0
    assert fitted_to == ["01"]  # who validates or is tested must not be known to the simulator
    found = load_parameters(out / "arnold.json", "T1w")
    assert found.gamma == pytest.approx(GAMMA, rel=0.15)
    assert found.noise == pytest.approx(NOISE, rel=0.25)
    (made,) = [e for e in list_examples(out / "examples") if e.kind == "simulated"]
    text = json.dumps(made.origin)
    assert f'"gamma": {json.dumps(found.gamma)}' in text

    def again(pairs: Any) -> Any:
        raise AssertionError("fitted twice")

    monkeypatch.setattr(fit_arnold, "fit_arnold", again)
    before = (out / "weights.safetensors").read_bytes()
    assert run(dataset, out) == 0
    assert (out / "weights.safetensors").read_bytes() == before


def test_parameters_that_are_given_are_not_fitted(dataset: Path, tmp_path: Path, fitted_to: list[str]) -> None:
    assert run(dataset, tmp_path / "out", "--set", "simulator.gamma=0.7") == 0
    assert fitted_to == []
    assert not (tmp_path / "out" / "arnold.json").exists()


def test_a_dry_run_says_it_and_fits_nothing(dataset: Path, tmp_path: Path, fitted_to: list[str], capsys) -> None:
    assert run(dataset, tmp_path / "out", "--dry-run") == 0
    assert "arnold is fitted to 1 pair(s) of the training subjects" in capsys.readouterr().out
    assert fitted_to == []


def test_a_contrast_without_pairs_is_refused_before_the_work(dataset: Path, tmp_path: Path, capsys) -> None:
    write_scan(dataset, "sub-01/ses-HF", "T2w", HIGH)
    assert run(dataset, tmp_path / "out") == 2
    assert "found none of T2w to fit it to; name the others with --contrasts" in capsys.readouterr().err
    assert run(dataset, tmp_path / "out", "--contrasts", "T1w", "--dry-run") == 0
