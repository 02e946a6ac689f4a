"""Progress of a run: on a terminal a bar, elsewhere a line as each step starts and ends, and a heartbeat.

All of it goes into ``run.log`` of the log folder too.
"""

import platform
import shlex
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .._version import __version__

HEARTBEAT = 60.0
"""Seconds without output after which a run that is not on a terminal reports that it is alive."""

LOG = "run.log"


def open_log(run_dir: Path, machine: str, plan: str) -> None:
    """Begin the log of a run: version, machine, command, plan."""
    begun = f"{time.strftime('%Y-%m-%d %H:%M:%S')} bids_lfenhance {__version__}, Python {platform.python_version()}"
    append_log(run_dir, begun, f"on {platform.node()}: {machine}", shlex.join(sys.argv), "", plan, "")


def append_log(run_dir: Path, *lines: str) -> None:
    """Add lines to the log of a run; on a full disk they are lost, which must not stop it."""
    with suppress(OSError), (run_dir / LOG).open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def time_left(
    took: Mapping[str, Sequence[float]],
    waiting: Iterable[str],
    running: Iterable[tuple[str, float]],
    at_once: int,
) -> float | None:
    """Seconds until every step has ended, as those of its kind took so far; None before any has ended.

    ``took`` seconds of ended steps by kind, ``waiting`` the kinds of those to come, ``running`` (kind, seconds so far),
    ``at_once`` how many run beside each other.

    >>> time_left({"prepare": [10.0], "enhance": [60.0]}, ["enhance", "report"], [("prepare", 4.0)], 1)
    101.0
    """
    known = [seconds for own in took.values() for seconds in own]
    if not known:
        return None

    def usual(kind: str) -> float:
        own = took.get(kind) or known
        return sum(own) / len(own)

    rest = sum(map(usual, waiting)) + sum(max(usual(kind) - so_far, 0.0) for kind, so_far in running)
    return rest / max(at_once, 1)


class Progress:
    """Told of each step as it starts and ends; ``plugin_args['status_callback']``.

    A subject's intermediate files are removed once its last step, the report, has ended well.
    """

    def __init__(self, steps: Sequence[Any], work: Path, run_dir: Path, heartbeat: float = HEARTBEAT) -> None:
        from tqdm import tqdm

        self._terminal = sys.stderr.isatty()
        self._bar = tqdm(total=len(steps), unit="step", file=sys.stderr, dynamic_ncols=True, disable=not self._terminal)
        self._waiting = Counter(step.name for step in steps)  # a node gets its full name only as the graph is run
        self._started: dict[str, tuple[str, float]] = {}
        self._took: dict[str, list[float]] = {}
        self._total, self._ended, self._work, self._run_dir = len(steps), 0, work, run_dir
        self._lock, self._closed, self._spoke = threading.Lock(), threading.Event(), time.monotonic()
        self._heart = threading.Thread(target=self._beat, args=(heartbeat,), daemon=True)
        self._heart.start()

    def __call__(self, node: Any, status: str) -> None:
        """Report that a step of this name began, ended or failed."""
        if not hasattr(node.interface, "run_step"):
            return
        name = readable_name(node.fullname)
        with self._lock:
            kind = node.name
            if node.fullname not in self._started:
                self._waiting[kind] -= 1
            if status == "start":
                self._started[node.fullname] = kind, time.monotonic()
                self._bar.set_description_str(name)
                self._say(f"  start  {name}", screen=not self._terminal)
                return
            self._ended += 1
            _, begun = self._started.pop(node.fullname, (kind, None))
            seconds = None if begun is None else time.monotonic() - begun
            if seconds is not None and status == "end":
                self._took.setdefault(kind, []).append(seconds)
            words = "FAILED" if status == "exception" else "done before" if seconds is None else f"{seconds:.0f} s"
            self._say(f"{self._ended:>3}/{self._total}  {name:<36} {words}")
            self._bar.update()
        if status == "end" and node.name == "report":
            shutil.rmtree(self._work / "lfenhance" / node.fullname.split(".")[1], ignore_errors=True)

    def _say(self, text: str, screen: bool = True) -> None:
        line = f"{time.strftime('%H:%M:%S')}  {text}"
        append_log(self._run_dir, line)
        if screen:
            self._bar.write(line, file=sys.stderr)
            sys.stderr.flush()
        self._spoke = time.monotonic()

    def _beat(self, heartbeat: float) -> None:
        while not self._closed.wait(min(heartbeat, 1.0)):
            with self._lock:
                if time.monotonic() - self._spoke >= heartbeat and self._started:
                    self._say(self._alive(), screen=not self._terminal)

    def _alive(self) -> str:
        """How far it is, what runs, and how long it may still take."""
        now = time.monotonic()
        running = [(kind, now - begun) for kind, begun in self._started.values()]
        names = ", ".join(f"{readable_name(name)} ({now - begun:.0f} s)" for name, (_, begun) in self._started.items())
        left = time_left(self._took, self._waiting.elements(), running, len(running))
        about = "" if left is None else f"; about {max(1, round(left / 60))} min left"
        return f"{self._ended:>3}/{self._total}  running: {names}{about}"

    def close(self) -> None:
        """Ends the bar and the heartbeat."""
        self._closed.set()
        self._heart.join()
        self._bar.close()


def readable_name(fullname: str) -> str:
    """A step's full name in the graph as people read it.

    >>> readable_name("lfenhance.sub_01_wf.session_HFC_wf.enhance")
    'sub-01 ses-HFC enhance'
    """
    words = [word.removesuffix("_wf").replace("sub_", "sub-") for word in fullname.split(".")[1:]]
    return " ".join(words).replace("session_", "ses-").replace("reference_", "ses-")
