"""The ways a run can end badly, each with one sentence for the user who started it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

UNUSABLE = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.ENOTCONN, errno.ESTALE)
"""Errors of looking up a path that are due to the path or the disk, not to the program."""


class InputError(ValueError):
    """What was given cannot be used: says what was expected, what was found, and what to do.

    ``code`` names the kind of fault (``"missing-file"``, ``"bad-option"`` …), ``fields`` what it is about (``path``,
    ``option`` …): programs and tests read these, people the sentence.
    """

    def __init__(self, message: str, *, code: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.code, self.fields = code, fields


class MethodError(RuntimeError):
    """A method could not produce a usable image: says what happened and what to do."""


class ScanWarning(UserWarning):
    """Something about a scan that its user should read; the image was made all the same."""


class Interrupted(BaseException):
    """A graceful stop was requested: Ctrl-C, or SIGTERM as schedulers send it.

    Like ``KeyboardInterrupt`` it is no ``Exception``: it comes at any line, and handlers of errors must let it pass.
    """


@contextmanager
def usable_paths() -> Iterator[None]:
    """A block, or a function, that looks up paths which somebody gave: one that cannot be looked up is InputError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.filename and error.errno in UNUSABLE:
            found = f"{error.filename} ({error.strerror})"
        elif str(error).startswith("Symlink loop"):  # of Path.resolve
            found = f"a {str(error)[0].lower()}{str(error)[1:]}"
        else:
            raise
        message = f"Expected a path that can be looked up, found {found}; correct it, or the permissions on the way."
        raise InputError(message, code="bad-path") from error
