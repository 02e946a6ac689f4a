"""One run at a time of those that write the same files."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError


@contextmanager
def exclusive_run(out_dir: Path, subject: str) -> Iterator[None]:
    """A block in which no other run writes this subject of ``out_dir``; raise ``InputError`` if one does now."""
    with exclusive(out_dir / "logs" / f".sub-{subject}.lock", f"run on sub-{subject} of {out_dir}"):
        yield


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """A block that one process at a time is in, by the lock file ``path``; raise ``InputError`` if another is in it.

    ``what`` says for people what runs there, with its place.

    The lock is the kernel's and goes with the process, however it ends: nothing is left behind that a person must
    remove. It is to lie in OUT_DIR, for work folders differ between the nodes of a cluster. Where the file system knows
    no locks the block runs all the same.
    """
    handle = _taken(path, what)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # still held: whoever waits for this very file finds it gone, and makes a new one
        os.close(handle)


def _taken(path: Path, what: str) -> int:
    """The descriptor of the lock file, locked; it says who holds it."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise InputError(
                f"Expected to write {path}, found: {error.strerror}; see to that first.", code="not-writable", path=path
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(handle)
            message = (
                f"Expected no other {what}, found {holder} at work on it; wait until it has ended, or end it, and run "
                "again."
            )
            raise InputError(message, code="locked", path=path, holder=holder) from error
        except OSError:  # a file system without locks, as some clusters mount them
            return handle
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                _sign(handle)
                return handle
        os.close(handle)  # its holder removed it between our opening and our locking it


def _sign(handle: int) -> None:
    words = f"process {os.getpid()} on host {socket.gethostname()} (since {time.strftime('%Y-%m-%d %H:%M:%S')})\n"
    with suppress(OSError):  # on a full disk it locks all the same
        os.ftruncate(handle, 0)
        os.pwrite(handle, words.encode(), 0)
