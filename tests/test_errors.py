"""Paths that cannot be looked up, wherever they are given: one sentence and exit code 2."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from bids_lfenhance.cli.run import main
from bids_lfenhance.errors import usable_paths

from .refusals import refused

LONG = "y" * 300
WORDS: dict[str, Callable[[str], list[str]]] = {
    "bids": lambda bad: [bad, "out", "participant"],
    "out": lambda bad: ["raw", bad, "participant"],
    "group": lambda bad: ["raw", bad, "group"],
    "work": lambda bad: ["raw", "out", "participant", "-w", bad],
    "filter": lambda bad: ["raw", "out", "participant", "--bids-filter-file", bad],
    "segmentation": lambda bad: ["raw", "out", "participant", "--segmentation-weights", bad],
    "weights": lambda bad: ["raw", "out", "participant", "--weights", bad],
    "config": lambda bad: ["raw", "out", "participant", "--config-file", bad],
    "pack": lambda bad: ["raw", "out", "train", "--pack", bad],
    "scan": lambda bad: ["enhance", bad, "-o", "out.nii.gz"],
    "enhanced": lambda bad: ["enhance", "scan.nii.gz", "-o", f"{bad}.nii.gz"],
    "std": lambda bad: ["enhance", "scan.nii.gz", "-o", "out.nii.gz", "--std", f"{bad}/std.nii.gz"],
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to start in, with an empty dataset and a link to itself."""
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("loop.nii.gz").symlink_to("loop.nii.gz")
    Path("raw").mkdir()
    Path("raw/sub-01").mkdir()
    Path("raw/dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    return tmp_path


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
@pytest.mark.parametrize("bad", [LONG, "loop"])
def test_a_path_that_cannot_be_looked_up_is_a_sentence(
    place: Path, words: Callable[[str], list[str]], bad: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(bad)) == 2
    (said,) = (line for line in capsys.readouterr().err.splitlines() if "error:" in line)
    assert bad in said


@pytest.mark.parametrize("closed", ["raw", "out"])
def test_a_folder_that_may_not_be_entered_is_a_sentence(
    place: Path, closed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stat = Path.stat

    def denied(self: Path, **given: bool) -> object:
        if self.parent == place / closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return stat(self, **given)

    monkeypatch.setattr(Path, "stat", denied)
    for level in ("participant", "group"):
        assert main(["raw", "out", level]) == 2
        assert str(place / closed) in capsys.readouterr().err


def test_faults_of_the_program_are_left_as_they_are() -> None:
    for error in (OSError(errno.EACCES, "no file named"), OSError(errno.EBADF, "bad", "file"), RuntimeError("a bug")):
        with pytest.raises(type(error)), usable_paths():
            raise error
    with refused("bad-path"), usable_paths():
        raise OSError(errno.ENAMETOOLONG, "File name too long", "x")
