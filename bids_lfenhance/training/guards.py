"""Around a training: one at a time in a folder, arithmetic that repeats itself, a graceful stop on a signal."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType

import torch

from ..bids.lock import exclusive

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def only_training_in(folder: Path) -> AbstractContextManager[None]:
    """A block in which no other training writes into a folder; raise ``InputError`` if one does now.

    Of several processes of one training (torchrun) the first sees to that.
    """
    if int(os.environ.get("RANK", "0")):
        return nullcontext()
    return exclusive(folder / ".training.lock", f"training in {folder}")


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """A block whose arithmetic is the same to the bit on a CPU; torch's global random state is left as it was.

    On a GPU some operations of torch have no deterministic form, so there nothing is changed.
    """
    before = torch.are_deterministic_algorithms_enabled()
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.use_deterministic_algorithms(before or device.type == "cpu")
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """A block that is not killed by SIGTERM or Ctrl-C but can ask whether one came; the second Ctrl-C does kill."""
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    # Python lets only the main thread handle signals; elsewhere whoever started us handles them.
    here = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, note) for number in SIGNALS} if here else {}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
