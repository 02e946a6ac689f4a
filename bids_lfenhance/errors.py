"""The ways a run can end badly, each with one sentence for the person who started it."""


class InputError(ValueError):
    """What was given cannot be used: says what was expected, what was found, and what to do."""


class MethodError(RuntimeError):
    """A method could not produce an image it can stand behind: says what happened and what to do."""


class Interrupted(BaseException):
    """Somebody or something (Ctrl-C, the scheduler) asked the run to end.

    Like ``KeyboardInterrupt`` no ``Exception``: it comes at any line, and what forgives errors there must let it pass.
    """
