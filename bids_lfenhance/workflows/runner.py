"""nipype's MultiProc, changed: a killed worker is a named failure, one subject is finished before the next begins."""

import logging
import os
import re
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from traceback import format_exception
from typing import Any

import networkx as nx
import numpy as np
from nipype.pipeline.plugins.multiproc import MultiProcPlugin, run_node

from ..resources import Usage, return_freed_memory, track_usage
from .pool import LESS_MEMORY, end_worker, killed, new_worker, start_worker
from .progress import readable_name

_EXCEPTION = re.compile(r"(?:\w+\.)*(?P<kind>[A-Z]\w+): (?P<message>.+)")
NIPYPE_LOGGERS = ("nipype", "nipype.workflow", "nipype.interface", "nipype.utils")
_NO_MEMORY = re.compile(
    "MemoryError|bad_alloc|failed to map segment|[Cc]annot allocate memory|can't start new thread|not enough memory"
)
"""Messages of a failed allocation: Python, C++, the loader, the kernel, torch."""

MORE_ROOM = "free some, or choose another work folder with -w, and run again."
"""What to do where the disk of the work folder is full; a full OUT_DIR has a message of its own."""

_OURS = ("InputError", "MethodError", "WorkerKilled")


@dataclass(frozen=True)
class Failure:
    """A failed step: its full name in the graph, one sentence, and the crash file."""

    node: str
    sentence: str
    crash_file: Path | None


class WorkerPlugin(MultiProcPlugin):
    """Runs each node in a worker of its own: a pool of one worker, replaced when the kernel kills it.

    nipype's plugin puts all workers in one pool; when that breaks (out of memory), the exception escapes its callback
    and the run hangs for ever. Forkserver, because threads and CUDA do not survive a fork. ``plugin_args``:
    ``n_procs``, ``memory_gb``, ``n_gpu_procs``, ``status_callback``.
    """

    def __init__(self, plugin_args: dict[str, Any]):
        super().__init__(plugin_args | {"mp_context": "forkserver"})
        self.pool.shutdown()
        self.failures: list[Failure] = []
        self.usages: list[tuple[str, Usage]] = []  # of each step, by its full name
        self._idle: dict[bool, list[ProcessPoolExecutor]] = {False: [], True: []}
        self._busy: dict[int, tuple[bool, ProcessPoolExecutor]] = {}
        self._names: dict[int, str] = {}
        self._depth: dict[str, int] = {}
        self._ended = threading.Event()

    def _prerun_check(self, graph: nx.DiGraph) -> None:
        super()._prerun_check(graph)
        self._depth = {node.fullname: len(nx.ancestors(graph, node)) for node in graph.nodes()}

    def _sort_jobs(self, jobids: np.ndarray, scheduler: str | None = None) -> list[int]:
        """GPU steps first, then the deepest: what was begun is finished, and its files freed, before more is begun.

        Steps that take no time come alone: what waits for them must not lose its turn to another subject.
        """
        at_once = [j for j in jobids if self.procs[j].run_without_submitting]
        queue = sorted(jobids, key=lambda j: (not self.procs[j].is_gpu_node(), -self._depth[self.procs[j].fullname], j))
        return at_once or self._startable_jobs(queue)

    def _startable_jobs(self, queue: list[int]) -> list[int]:
        """The first steps of the queue as far as resources allow; a step that waits only for the GPU is skipped.

        A step that needs more is not overtaken by those that need less, or it would wait until there are none left:
        every subject would be begun before the first is finished.
        """
        memory, processors, gpu = self._check_resources(self.pending_tasks)
        started = []
        for job in queue:
            node = self.procs[job]
            if node.is_gpu_node():
                if gpu < 1:
                    continue
                gpu -= 1
            memory -= min(node.mem_gb, self.memory_gb)
            processors -= min(node.n_procs, self.processors)
            if memory < 0 or processors < 0:
                break
            started.append(job)
        return started

    def _send_procs_to_workers(self, updatehash: bool = False, graph: Any = None) -> None:
        """Starts what can be started, then sleeps until something has ended: polling thousands of steps is slow."""
        super()._send_procs_to_workers(updatehash=updatehash, graph=graph)
        self._ended.wait(1.0 if self.pending_tasks else 0.01)
        self._ended.clear()

    def _task_finished_cb(self, jobid: int, cached: bool = False) -> None:
        super()._task_finished_cb(jobid, cached)
        self._ended.set()  # what waited for it can start at once

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid += 1
        task, gpu = self._taskid, bool(node.is_gpu_node())
        idle = self._idle[gpu]  # steps of the GPU share one worker: its context and libraries are set up once
        worker = idle.pop() if idle else new_worker(_start_worker, logging.getLogger("nipype.workflow").level)
        self._busy[task], self._names[task] = (gpu, worker), node.fullname
        try:
            future = worker.submit(_run_measured, node, updatehash, task)
        except BrokenProcessPool:  # killed while it had nothing to do
            end_worker(worker)
            del self._busy[task]
            return self._submit_job(node, updatehash)
        self._task_obj[task] = future
        future.add_done_callback(lambda done: self._task_done(task, done))
        return task

    def _task_done(self, task: int, future: Future) -> None:
        """Runs in the pool's thread: whatever happened becomes a result, for an exception here would vanish."""
        gpu, worker = self._busy.pop(task)
        try:
            result, usage = future.result()
            self.usages.append((self._names[task], usage))
            self._idle[gpu].append(worker)
        except BaseException as error:
            worker.shutdown(wait=False)
            result = {"taskid": task, "result": None, "traceback": [_worker_error(self._names[task], error)]}
        self._taskresult[task] = result
        self._ended.set()

    def _report_crash(self, node: Any, result: dict[str, Any] | None = None) -> str | None:
        text = "".join(result["traceback"]) if result and result["traceback"] else ""
        crash_file = _write_crash(Path(self._config["execution"]["crashdump_dir"]), node.fullname, text)
        self.failures.append(Failure(node.fullname, _sentence(text), crash_file))
        return str(crash_file)

    def _postrun_check(self) -> None:
        self.close()

    def close(self) -> None:
        """Ends every worker at once; called on the way out, also of an interrupted run."""
        for worker in [*self._idle[False], *self._idle[True], *(worker for _, worker in self._busy.values())]:
            end_worker(worker)
        self._idle = {False: [], True: []}


def _start_worker(level: int) -> None:
    start_worker()
    os.environ["NIPYPE_NO_ET"] = "1"
    for name in NIPYPE_LOGGERS:
        logging.getLogger(name).setLevel(level)


def _run_measured(node: Any, updatehash: bool, task: int) -> tuple[dict[str, Any], Usage]:
    with track_usage() as usage:
        try:
            result = run_node(node, updatehash, task)
        except Exception as error:
            # A step that failed has no results, and nipype stumbles over that, too: what came first is the reason.
            first = error.__context__ or error
            result = {"result": None, "traceback": format_exception(first), "taskid": task}
    return_freed_memory()  # the other workers' steps may need it while this one is idle
    return result, usage


def _worker_error(name: str, error: BaseException) -> str:
    if isinstance(error, BrokenProcessPool):
        return f"WorkerKilled: {killed(f'the step {readable_name(name)}')}"
    return f"{type(error).__name__}: {error}"


def _sentence(text: str) -> str:
    """The last exception of a traceback; our own errors speak for themselves, without their class."""
    for line in reversed(text.splitlines()):
        # nipype indents the traceback it quotes by a tab; code lines of a traceback are indented by spaces
        match = _EXCEPTION.fullmatch(line.lstrip("\t"))
        if match and match["kind"] != "NodeExecutionError":
            if match["kind"] in _OURS:
                return match["message"]
            summary = f"{match['kind']}: {match['message']}"
            if match["kind"] == "OSError" and "No space left on device" in summary:
                return (
                    f"expected room for intermediate files, found no space left on the device ({summary}); {MORE_ROOM}"
                )
            return f"the step ran out of memory ({summary}); {LESS_MEMORY}" if _NO_MEMORY.search(summary) else summary
    return text.strip().splitlines()[-1] if text.strip() else "the step ended without a message"


def _write_crash(folder: Path, name: str, text: str) -> Path | None:
    """The crash file; None on a full disk."""
    path = folder / f"crash-{name}-{time.strftime('%H%M%S')}.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(f"Node: {name}\n\n{text}\n")
    except OSError:
        return None
    return path
