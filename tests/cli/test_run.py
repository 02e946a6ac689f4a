"""The console script in environments that public reports come from."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bids_lfenhance.cli.parser import parse
from bids_lfenhance.cli.run import FAILED, NOTHING_TO_DO, main, resolve_method
from bids_lfenhance.config import to_toml
from bids_lfenhance.workflows.run import make_run_spec

from ..bids.conftest import LOW, make_tree

__all__ = ["make_tree"]


def test_ascii_a_closed_pipe_and_a_notebook_have_no_effect(make_tree: Any, tmp_path: Path) -> None:
    """MPLBACKEND stopped a run: https://github.com/spinalcordtoolbox/spinalcordtoolbox/issues/4523; and its kind."""
    root = make_tree({"01/A/acq-axi_T1w": LOW, "01/A/acq-cor_T1w": LOW})
    command = [sys.executable, "-m", "bids_lfenhance", str(root), str(tmp_path / "out"), "participant", "--dry-run"]
    environment = os.environ | {
        "PYTHONIOENCODING": "ascii",
        "MPLBACKEND": "module://a_notebook.that_is_not_here",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    one, two = (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    )
    assert two.stdout is not None
    two.stdout.close()
    said, errors = one.communicate(timeout=120)
    assert said.startswith("Plan: 1 subject ? 1 low-field session")
    assert two.stderr is not None
    with two.stderr:
        errors_two = two.stderr.read()
    for process, words in ((one, errors), (two, errors_two)):
        assert process.wait(timeout=120) == 0
        assert "Error" not in words
        assert "Traceback" not in words


@pytest.mark.parametrize("words", [("--citation",), ("--help-method", "cfm"), ("--help",)])
def test_a_reader_who_leaves_ends_nothing_in_a_traceback(words: tuple[str, ...]) -> None:
    """``bids_lfenhance --help-method cfm | head -1``."""
    command = [sys.executable, "-m", "bids_lfenhance", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(timeout=120) == 0


@pytest.mark.parametrize("words", [("--mem-gb", "1"), ("--output-spaces", "MNI:1"), ("--set", "fusion=median")])
def test_a_dry_run_refuses_what_the_run_would(
    make_tree: Any, tmp_path: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_tree({"01/A/acq-axi_T1w": LOW})
    command = [str(root), str(tmp_path / "out"), "participant", "--method", "interp", "--segmentation", "none"]
    assert main([*command, *words, "--dry-run"]) == 2
    assert "Expected" in capsys.readouterr().err
    assert main([*command, "--mem-gb", "4", "--dry-run"]) == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("level", ["participant", "simulate"])
def test_a_dry_run_refuses_the_folder_of_another_program(make_tree: Any, tmp_path: Path, level: str) -> None:
    root, out = make_tree({"01/A/acq-axi_T1w": LOW, "01/B/T1w": {"MagneticFieldStrength": 3}}), tmp_path / "out"
    out.mkdir()
    (out / "dataset_description.json").write_text('{"Name": "x", "GeneratedBy": [{"Name": "fMRIPrep"}]}')
    assert main([str(root), str(out), level, "--dry-run"]) == 2


def test_a_termination_is_said_while_nothing_runs_yet(
    make_tree: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_tree({"01/A/acq-axi_T1w": LOW})
    monkeypatch.setattr("bids_lfenhance.cli.run.resolve_method", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert main([str(root), str(tmp_path / "out"), "participant", "--dry-run"]) == 130
    assert "SIGTERM" in capsys.readouterr().err


def test_one_thing_wrong_with_many_scans_is_one_warning(
    make_tree: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = {f"{number:02}/A/acq-axi_T1w": LOW for number in range(30)}
    root = make_tree(tree | {f"{number:02}/A/acq-axi_part-phase_T1w": LOW for number in range(30)})
    monkeypatch.setattr("bids_lfenhance.workflows.run.preflight", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    main([str(root), str(tmp_path / "out"), "participant", "--segmentation", "none"])
    assert capsys.readouterr().err.count("Warning") <= 3


@pytest.mark.parametrize(
    "words",
    [
        ("--method", "interp", "--set", "fusion=mean", "--sloppy"),
        ("--method", "inr", "--budget", "gpu", "--set", "psf=no", "rate=1e-3", "contrast=.7,.5,.6", "--n-samples", "2"),
        ("--target-contrast", "high-field", "--weights", "fusionnet", "--precision", "fp32", "--output-label", "own"),
    ],
)
def test_the_file_that_a_run_leaves_asks_for_the_same_run(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "raw").mkdir()
    command = [str(tmp_path / "raw"), str(tmp_path / "out"), "participant", "--segmentation", "none"]

    def asked(*more: str) -> tuple[Any, Any]:
        settings = parse([*command, *more])
        return settings, make_run_spec(settings, resolve_method(settings, "cpu"), "cpu")

    settings, spec = asked(*words)
    path = tmp_path / "config.toml"
    path.write_text(to_toml(settings, method=spec.method_settings))
    assert asked("--config-file", str(path))[1].without_resources == spec.without_resources


@pytest.mark.parametrize("dry", [True, False])
def test_where_nothing_matches_nothing_is_done_and_said_to_be(make_tree: Any, tmp_path: Path, capsys: Any, dry: bool):
    """A filter that leaves no low field, and a dataset of high field alone: a code of their own, nothing written."""
    out = tmp_path / "out"
    nowhere = tmp_path / "filter.json"
    nowhere.write_text('{"lf": {"acquisition": "none"}}')
    words = ["participant", "--method", "interp", "--segmentation", "none", *(["--dry-run"] if dry else [])]
    low = make_tree({"01/A/acq-axi_T1w": LOW, "02/A/acq-axi_T1w": LOW})
    assert main([str(low), str(out), *words, "--bids-filter-file", str(nowhere)]) == NOTHING_TO_DO
    said = capsys.readouterr()
    assert "nothing was done: no low-field session matches." in said.err
    assert "2 of 2 subjects: The filters leave no low-field image." in said.err
    assert "Everything asked for is on disk" not in said.out
    assert not out.exists()


def test_reports_only_leaves_what_another_program_made(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    for folder in (raw, out / "sub-01"):
        folder.mkdir(parents=True)
    about = {"Name": "fMRIPrep", "DatasetType": "derivative", "GeneratedBy": [{"Name": "fMRIPrep"}]}
    (out / "dataset_description.json").write_text(json.dumps(about))
    (out / "sub-01.html").write_text("theirs")
    assert main([str(raw), str(out), "participant", "--reports-only"]) == 2
    assert (out / "sub-01.html").read_text() == "theirs"


@pytest.mark.parametrize(("word", "made"), [("--reports-only", "sub-01.html"), ("--boilerplate-only", "# Methods")])
def test_what_is_made_from_disk_is_made_of_those_that_may_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str, made: str
) -> None:
    """And one text is for one paper, of however many subjects."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    for folder in (raw, out / "sub-01", out / "sub-02", out / "sub-03"):
        folder.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: path != out / "sub-02")
    assert main([str(raw), str(out), "participant", word]) == FAILED
    said = capsys.readouterr()
    assert str(out / "sub-02") in said.err
    assert "sub-02" not in said.out
    assert said.out.count(made) == 1
    words = [str(raw), str(out), "participant", word, "--participant-label", "01", "sub-03"]
    assert main(words) == 0


@pytest.mark.parametrize("other", ["--dry-run", "--boilerplate-only"])
def test_reports_only_comes_alone(tmp_path: Path, other: str) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "out" / "sub-01").mkdir(parents=True)
    assert main([str(tmp_path / "raw"), str(tmp_path / "out"), "participant", "--reports-only", other]) == 2
    assert not list((tmp_path / "out").glob("*.html"))


def test_a_dry_run_counts_a_subject_that_cannot_be_planned_as_failed(make_tree, tmp_path, capsys):
    root = make_tree({"01/A/acq-axi_T1w": LOW, "02/A/acq-axi_T1w": {}})
    command = [str(root), str(tmp_path / "out"), "participant", "--method", "interp", "--segmentation", "none"]
    assert main([*command, "--mem-gb", "4", "--dry-run"]) == FAILED
    assert "sub-02" in capsys.readouterr().out
    assert main([*command, "--participant-label", "01", "--mem-gb", "4", "--dry-run"]) == 0
