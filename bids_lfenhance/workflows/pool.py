"""Work distributed over processes: a killed worker is a named failure, a signal stops all, nothing hangs."""

import ctypes
import fcntl
import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from ..errors import InputError, MethodError
from ..resources import interruptible, keep_freed_memory

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

LONGEST_FOLDER = 70
"""Bytes of a folder whose sockets can be addressed: 107, less the names that multiprocessing adds."""

LESS_MEMORY = "lower --nprocs or give it more memory, and run again to resume."
"""What to do where memory is short."""


def start_worker() -> None:
    """Ctrl-C is handled by the parent for all; a worker whose parent was killed must not go on writing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # of the fork server, whose child this is
    _exit_with_parent()
    keep_freed_memory()


def _exit_with_parent() -> None:
    """From here on the kernel ends this process when the run that started it is gone.

    The fork server outlives a killed run as long as there are workers, and a worker may be deep in foreign code: so no
    thread watches. The pipe to the run is asked to send SIGIO, which ends a process that does not handle it.
    """
    run = multiprocessing.parent_process()
    if run is None:
        return
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(run.sentinel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(run.sentinel, fcntl.F_SETFL, fcntl.fcntl(run.sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    if multiprocessing.connection.wait([run.sentinel], 0):  # it was gone before
        os._exit(1)


def new_worker(start: Callable[..., None] = start_worker, *arguments: Any) -> ProcessPoolExecutor:
    """A pool of one worker, so that one killed by the kernel takes no other with it.

    Forkserver, because threads and CUDA do not survive a fork.
    """
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST_FOLDER:
        _short_folder()
    forkserver = multiprocessing.get_context("forkserver")
    return ProcessPoolExecutor(1, mp_context=forkserver, initializer=start, initargs=arguments)


def check_workers() -> None:
    """Raise ``InputError`` where this system gives no semaphores, which no pool of processes can do without."""
    try:
        multiprocessing.get_context("forkserver").Lock()
    except OSError as error:
        message = f"Expected to be able to write in /dev/shm, found: {error.strerror}; mount it so that it can be."
        raise InputError(message, code="not-writable") from error


def _short_folder() -> None:
    """Let multiprocessing keep its sockets under /tmp: their addresses may have 107 bytes, and TMPDIR is too long."""
    asked, tempfile.tempdir = tempfile.tempdir, "/tmp"
    try:
        multiprocessing.util.get_temp_dir()  # made once a process, and removed when it ends
    finally:
        tempfile.tempdir = asked


def end_worker(worker: ProcessPoolExecutor) -> None:
    """Ends a worker at once, whatever it is doing."""
    for process in list((worker._processes or {}).values()):
        process.kill()
    worker.shutdown(wait=False, cancel_futures=True)


def killed(what: str) -> str:
    """The sentence on a worker that was killed while it did ``what``."""
    return (
        f"expected {what} to finish, found its process killed from outside (most often by the "
        f"kernel, for want of memory); {LESS_MEMORY}"
    )


def run_in_workers(
    work: Callable[[Any], Any], tasks: Mapping[str, Any], nprocs: int, ended: Callable[[str, Any, str], None]
) -> None:
    """Call ``work(task)`` for every task, in at most ``nprocs`` processes at once.

    ``ended(name, result, sentence)`` is called in this process as each ends, with its result, or None and the
    sentence of what went wrong. A signal raises ``Interrupted`` after every worker was ended.
    """
    waiting = list(tasks.items())[::-1]
    busy: dict[Future, tuple[str, ProcessPoolExecutor]] = {}
    idle: list[ProcessPoolExecutor] = []
    with interruptible():
        try:
            while waiting or busy:
                while waiting and len(busy) < nprocs:
                    name, task = waiting.pop()
                    worker, future = _submit(idle, work, task)
                    busy[future] = (name, worker)
                for future in wait(busy, timeout=1.0, return_when=FIRST_COMPLETED).done:
                    name, worker = busy.pop(future)
                    error = future.exception()
                    (end_worker if isinstance(error, BrokenProcessPool) else idle.append)(worker)
                    ended(name, None if error else future.result(), _sentence(name, error))
        finally:
            for worker in [*idle, *(worker for _, worker in busy.values())]:
                end_worker(worker)


def _submit(
    idle: list[ProcessPoolExecutor], work: Callable[[Any], Any], task: Any
) -> tuple[ProcessPoolExecutor, Future]:
    """A worker that took the task, an idle one if it still lives."""
    while idle:
        worker = idle.pop()
        try:
            return worker, worker.submit(work, task)
        except BrokenProcessPool:  # killed while it had nothing to do
            end_worker(worker)
    worker = new_worker()
    return worker, worker.submit(work, task)


def _sentence(name: str, error: BaseException | None) -> str:
    """The sentence of an error; ours need no class name."""
    if error is None:
        return ""
    if isinstance(error, BrokenProcessPool):
        return killed(name)
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError | MethodError) else f"{type(error).__name__}: {text}"
