"""Files that are there whole or not at all, however many processes write."""

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError

REASONS = {
    errno.ENOSPC: "no space left on the device; free some, or write elsewhere",
    errno.EDQUOT: "the disk quota is used up; free some, or write elsewhere",
    errno.EFBIG: "a file larger than allowed (ulimit -f); raise the limit, or write elsewhere",
    errno.EIO: "an error of the disk; write elsewhere",
    errno.EROFS: "a read-only file system; write elsewhere",
    errno.EACCES: "no permission to write; change it, or write elsewhere",
    errno.ENAMETOOLONG: "a name that is too long; choose a shorter one",
    errno.EISDIR: "a folder of that name; choose another",
}

KEPT = 50
"""Letters, of up to four bytes each, that the name of a draft keeps of the 255 bytes that a name may have."""

LOST = {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Errors of flushing after which the content is not on the disk."""


def atomic_write(path: str | Path, content: bytes | str | Callable[[Path], object]) -> Path:
    """The path, now holding the content; a reader sees the old file or the new one, nothing between.

    ``content`` is text, bytes, or a function that writes to the path it is given (same folder, same extension).
    A full disk or a folder that cannot be written is an ``InputError``, and what was there before stays.
    """
    path = Path(path)
    draft = _draft(path)
    try:
        with _writing(path):
            _make_folder(path.parent)
            if callable(content):
                content(draft)
            else:
                draft.write_bytes(content.encode() if isinstance(content, str) else content)
            _flush(draft)
            draft.replace(path)
            _flush(path.parent)
    finally:
        with suppress(OSError):
            draft.unlink()
    return path


def _draft(path: Path, word: str = "") -> Path:
    """A name for a draft, not too long for any disk, with its extension: nibabel takes the format from that."""
    return path.with_name(f".tmp-{uuid.uuid4().hex[:12]}-{word}{_kept(path.name)}")


def _kept(name: str) -> str:
    """A name, or for a long one a digest of it and its end."""
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    return name if len(name) <= KEPT else digest + name[8 - KEPT :]


def remove_drafts(folder: Path, name: str = "*") -> None:
    """Remove what killed runs left half written in a folder and below it, of files and folders of that name.

    No other run may be writing there.
    """
    for draft in sorted(folder.rglob(f".tmp-*-{_kept(name)}")):
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A block that writes ``path``: an error that a user can fix is an ``InputError``."""
    try:
        yield
    except OSError as error:
        if error.errno not in REASONS:
            raise
        message = f"Expected to write {path}, found {REASONS[error.errno]}."
        raise InputError(message, code="not-writable", path=path) from error


def _make_folder(path: Path) -> None:
    """Make a folder and those above it; InputError where that cannot be, whatever the reason."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = REASONS.get(error.errno or 0) or f"that it cannot be made ({error.strerror}); write elsewhere"
        raise InputError(f"Expected the folder {path}, found {reason}.", code="not-writable", path=path) from error


def _flush(path: Path) -> None:
    """Ask the kernel to put a file or folder on the disk: a rename must not outlive the content it names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some network file systems refuse to sync a folder, or what is not open for writing
        if path.is_file() and error.errno in LOST:
            raise
    finally:
        os.close(handle)


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """A block that one process at a time runs, over a lock file that stays behind.

    Where the file system knows no locks the block runs all the same: writes are atomic, only a merge could be lost.
    """
    import fcntl

    path = Path(path)
    with _writing(path):
        _make_folder(path.parent)
        file = path.open("a")
    with file:
        with suppress(OSError):
            fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def atomic_folder(path: str | Path, fill: Callable[[Path], object]) -> Path:
    """The path of a folder that ``fill`` filled; a folder that was there stays until the new one is whole.

    ``fill`` is given an empty folder beside ``path``. The errors are those of ``atomic_write``.
    """
    path = Path(path)
    draft, old = _draft(path, "new-"), _draft(path, "old-")
    try:
        with _writing(path):
            _make_folder(draft)
            fill(draft)
            for file in filter(Path.is_file, draft.rglob("*")):
                _flush(file)
            _flush(draft)
            if path.exists():
                path.rename(old)
            draft.rename(path)
            _flush(path.parent)
    finally:
        if old.exists() and not path.exists():  # ended between the two renamings
            old.rename(path)
        for leftover in (draft, old):
            shutil.rmtree(leftover, ignore_errors=True)
    return path
