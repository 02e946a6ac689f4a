import errno
import multiprocessing
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from bids_lfenhance.bids import atomic
from bids_lfenhance.bids.atomic import atomic_folder, atomic_write, locked, remove_drafts

from ..refusals import refused


@pytest.mark.parametrize("name", ["file/inner/x.txt", "x" * 252 + ".txt", "folder"])
def test_a_name_that_cannot_be_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with refused("not-writable"):
        atomic_write(tmp_path / name, "text")
    with refused("not-writable"):
        atomic_folder(tmp_path / "file" / name, lambda draft: None)
    with refused("not-writable"), locked(tmp_path / "file" / name / "lock"):
        pass


def test_content_lands_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    for content in (b"first", "second"):
        assert atomic_write(path, content) == path
    atomic_write(path, lambda draft: draft.write_text(draft.suffix))
    assert path.read_text() == ".txt"
    assert list(path.parent.iterdir()) == [path]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    written = atomic_write(tmp_path / "atomic", b"")
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize(
    ("number", "says"), [(errno.ENOSPC, "no space left"), (errno.EDQUOT, "quota"), (errno.EROFS, "read-only")]
)
def test_a_full_disk_is_a_sentence_and_the_old_file_stays(tmp_path: Path, number: int, says: str) -> None:
    path = atomic_write(tmp_path / "image.nii.gz", b"old")

    def half(draft: Path) -> None:
        draft.write_bytes(b"ne")
        raise OSError(number, os.strerror(number))

    with refused("not-writable", path=path):
        atomic_write(path, half)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_an_error_that_comes_only_as_the_content_is_flushed_is_one(tmp_path: Path, monkeypatch, number: int) -> None:
    """Network disks tell then that there was no room; a folder that cannot be flushed is none."""
    path, flush = atomic_write(tmp_path / "image.nii.gz", b"old"), os.fsync

    def refuse(folders: bool) -> Callable[[int], None]:
        def fsync(handle: int) -> None:
            if stat.S_ISDIR(os.fstat(handle).st_mode) == folders:
                raise OSError(number, os.strerror(number))
            flush(handle)

        return fsync

    monkeypatch.setattr(os, "fsync", refuse(folders=False))
    with refused("not-writable", path=path):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    monkeypatch.setattr(os, "fsync", refuse(folders=True))
    assert atomic_write(path, b"new").read_bytes() == b"new"


def test_a_truly_full_device(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")

    def fill(draft: Path) -> None:
        draft.symlink_to("/dev/full")
        draft.write_bytes(b"x" * 10)

    with refused("not-writable", path=tmp_path / "file"):
        atomic_write(tmp_path / "file", fill)
    assert list(tmp_path.iterdir()) == []


def test_other_failures_are_not_dressed_up(tmp_path: Path) -> None:
    def fail(_: Path) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        atomic_write(tmp_path / "file", fail)
    assert list(tmp_path.iterdir()) == []


def _add_one(path: Path) -> None:
    with locked(path.with_name("lock")):
        count = int(path.read_text())
        atomic_write(path, str(count + 1))


def test_a_locked_block_loses_no_update(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text("0")
    with multiprocessing.get_context("fork").Pool(16) as pool:
        pool.map(_add_one, [path] * 160, chunksize=1)
    assert path.read_text() == "160"


def test_a_folder_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    def fill(draft: Path) -> None:
        (draft / "a" / "b").mkdir(parents=True)
        (draft / "a" / "b" / "file").write_text("new")

    def fail(draft: Path) -> None:
        (draft / "half").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "under" / "folder"
    with refused("not-writable", path=path):
        atomic_folder(path, fail)
    assert not path.exists()
    atomic_folder(path, lambda draft: (draft / "old").write_text("old"))
    with refused("not-writable"):
        atomic_folder(path, fail)
    assert [file.name for file in path.iterdir()] == ["old"]
    atomic_folder(path, fill)
    assert [str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()] == ["a/b/file"]
    assert [entry.name for entry in path.parent.iterdir()] == ["folder"]


def test_what_killed_runs_left_half_written_goes_and_nothing_else(tmp_path: Path) -> None:
    def die(draft: Path) -> None:
        draft.touch() if draft.suffix else (draft / "half").touch()
        os.kill(os.getpid(), signal.SIGKILL)

    folder = tmp_path / "sub-01" / "ses-A"
    atomic_write(folder / "whole.json", "{}")
    for write, path in ((atomic_write, folder / "image.nii.gz"), (atomic_folder, folder.with_name("ses-B"))):
        child = multiprocessing.get_context("fork").Process(target=write, args=(path, die))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.rglob(".tmp-*"))) == 2
    remove_drafts(tmp_path, "ses-B")
    assert [path.name[-13:] for path in tmp_path.rglob(".tmp-*")] == ["-image.nii.gz"]
    remove_drafts(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["whole.json"]


def test_drafts_of_another_name_with_the_same_end_are_left_alone(tmp_path: Path) -> None:
    one, other = (f"ses-{letter}{'x' * 80}" for letter in "AB")

    def fill(draft: Path) -> None:
        remove_drafts(tmp_path, other)
        assert draft.is_dir()
        remove_drafts(tmp_path, one)
        assert not draft.exists()
        draft.mkdir()

    atomic_folder(tmp_path / one, fill)


@pytest.mark.parametrize("letter", ["x", "\N{BRAIN}"])
def test_every_name_that_the_disk_takes_can_be_written(tmp_path: Path, letter: str) -> None:
    name = letter * ((255 - len(".nii.gz")) // len(letter.encode())) + ".nii.gz"
    assert atomic_write(tmp_path / name, b"1").read_bytes() == b"1"
    assert (atomic_folder(tmp_path / name[3:], lambda draft: (draft / "file").touch()) / "file").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {name, name[3:]}


@pytest.mark.parametrize("write", [atomic_write, atomic_folder])
def test_content_is_on_the_disk_before_its_name(tmp_path: Path, monkeypatch, write):
    flushed = []
    monkeypatch.setattr(atomic, "_flush", lambda path: flushed.append((path.name, (tmp_path / "x").exists())))
    write(tmp_path / "x", (lambda draft: (draft / "file").touch()) if write is atomic_folder else b"1")
    assert [name.startswith(".tmp-") for name, _ in flushed[:-1]].count(True) == 1
    assert all(not there for _, there in flushed[:-1])
    assert flushed[-1] == (tmp_path.name, True)


def test_the_old_folder_is_renamed_never_removed_before_the_new_one_is_there(tmp_path: Path, monkeypatch):
    """A run that is killed between the two renamings leaves both; removing takes time, and may be stopped half way."""
    path = atomic_folder(tmp_path / "folder", lambda draft: (draft / "old").touch())
    there = []
    monkeypatch.setattr(atomic.shutil, "rmtree", lambda *_, **__: there.append((path / "new").exists()))
    atomic_folder(path, lambda draft: (draft / "new").touch())
    assert there
    assert all(there)


def test_the_old_folder_comes_back_where_the_new_one_cannot_take_its_place(tmp_path: Path, monkeypatch):
    path, rename = atomic_folder(tmp_path / "folder", lambda draft: (draft / "old").touch()), Path.rename

    def interrupted(self, target):
        if "-new-" in self.name:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic_folder(path, lambda draft: (draft / "new").touch())
    assert [file.name for file in path.iterdir()] == ["old"]
