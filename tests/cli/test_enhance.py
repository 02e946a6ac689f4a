"""The command ``enhance``: what it takes, and what it refuses before it computes."""

import time
from pathlib import Path

import pytest

from bids_lfenhance.cli import run
from bids_lfenhance.cli.enhance import is_enhance_command, progress_lines, run_enhance
from bids_lfenhance.cli.parser import parse
from bids_lfenhance.cli.run import main

from ..refusals import refused


def test_a_dataset_may_be_named_like_the_command() -> None:
    assert is_enhance_command(["enhance", "scan.nii.gz", "-o", "out.nii.gz"])
    assert not is_enhance_command(["enhance", "out", "participant"])


def test_a_scan_in_place_of_a_dataset_points_to_the_command(tmp_path: Path) -> None:
    (tmp_path / "scan.nii.gz").touch()
    with refused("not-bids") as caught:
        parse([str(tmp_path / "scan.nii.gz"), str(tmp_path / "out"), "participant"])
    assert "bids_lfenhance enhance" in str(caught.value)


@pytest.mark.parametrize("out", ["out.mgz", "scan.nii.gz", "folder.nii.gz", "file/out.nii.gz", "/proc/x/out.nii.gz"])
def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path, out: str) -> None:
    """Before a scan is looked for, so before anything is computed."""
    (tmp_path / "folder.nii.gz").mkdir()
    (tmp_path / "file").touch()
    with refused("bad-output"):
        run_enhance([str(tmp_path / "scan.nii.gz"), "-o", str(tmp_path / out)])


@pytest.mark.parametrize("word", [".", "*.nii.gz", "axi_T1w.nii.gz"])
def test_no_output_takes_the_place_of_a_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """Nor is what the last run made of the same folder taken for scans."""
    monkeypatch.chdir(tmp_path)
    Path("axi_T1w.nii.gz").touch()
    with refused("bad-output"):
        run_enhance([word, "-o", "axi_T1w.nii.gz"])


def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.nii.gz"
    assert main(["enhance", str(tmp_path / "none.nii.gz"), "-o", str(out)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert "none.nii.gz" in said[-1]
    assert said[-1].startswith("bids_lfenhance: error:")
    assert not out.exists()


def test_no_folder_for_temporary_files_is_said_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_usable() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("tempfile.gettempdir", none_usable)
    with refused("not-writable") as caught:
        run_enhance([str(tmp_path / "none.nii.gz"), "-o", str(tmp_path / "out.nii.gz")])
    assert "set TMPDIR" in str(caught.value)


def test_a_long_step_is_said_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_lines(silence=0.05) as show:
        show("enhancing; it takes long")
        time.sleep(0.2)
    said = [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()]
    assert said[0] == "enhancing; it takes long"
    assert set(said[1:]) == {"still enhancing"}


def test_short_steps_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_lines(silence=5.0) as show:
        show("a")
        show("b")
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_dataset_in_place_of_a_scan_points_to_its_command(tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text("{}")
    with refused("bad-image") as caught:
        run_enhance([str(tmp_path), "-o", str(tmp_path / "out.nii.gz")])
    assert f"bids_lfenhance {tmp_path} OUT_DIR participant" in str(caught.value)


def test_a_misspelt_option_is_named_and_not_the_one_that_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_enhance(["scan.nii.gz", "--outt", "out.nii.gz"])
    assert "--outt; did you mean --out?" in capsys.readouterr().err


def test_an_interruption_does_not_promise_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(words: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_enhance", interrupted)
    assert main(["enhance", "scan.nii.gz", "-o", "out.nii.gz"]) == 130
    said = capsys.readouterr().err
    assert said.startswith("bids_lfenhance: interrupted")
    assert "begin anew" in said
