"""The ways a run can end badly, each with one sentence for the user who started it."""

from typing import Any


class InputError(ValueError):
    """What was given cannot be used: says what was expected, what was found, and what to do.

    ``code`` names the kind of fault (``"missing-file"``, ``"bad-option"`` …), ``fields`` what it is about (``path``,
    ``option`` …): programs and tests read these, people the sentence.
    """

    def __init__(self, message: str, *, code: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.code, self.fields = code, fields


class MethodError(RuntimeError):
    """A method could not produce an image it can stand behind: says what happened and what to do."""


class ScanWarning(UserWarning):
    """Something about a scan that its user should read; the image was made all the same."""


class Interrupted(BaseException):
    """A graceful stop was requested: Ctrl-C, or SIGTERM as schedulers send it.

    Like ``KeyboardInterrupt`` no ``Exception``: it comes at any line, and handlers of errors must let it pass.
    """
