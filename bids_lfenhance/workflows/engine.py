"""Executing graphs with nipype: its settings, progress on the terminal, graceful stop on SIGTERM and SIGINT."""

import gc
import logging
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from ..config import RunSpec, Settings
from ..errors import Interrupted
from ..resources import available_cpus
from .runner import NIPYPE_LOGGERS, Failure, WorkerPlugin


class Progress:
    """A line for each step as it ends, and on a terminal a bar; ``plugin_args['status_callback']``.

    A subject's intermediate files are removed once its last step, the report, has ended well.
    """

    def __init__(self, total: int, work: Path) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, unit="step", file=sys.stderr, dynamic_ncols=True, disable=not sys.stderr.isatty())
        self._started: dict[str, float] = {}
        self._total, self._ended, self._work = total, 0, work

    def __call__(self, node: Any, status: str) -> None:
        """Report that a step of this name began, ended or failed."""
        if not hasattr(node.interface, "run_step"):
            return
        name = _name(node.fullname)
        if status == "start":
            self._started[node.fullname] = time.monotonic()
            self._bar.set_description_str(name)
            return
        self._ended += 1
        begun = self._started.get(node.fullname)
        words = "FAILED" if status == "exception" else f"{time.monotonic() - begun:.0f} s" if begun else "done before"
        line = f"{time.strftime('%H:%M:%S')}  {self._ended:>3}/{self._total}  {name:<36} {words}"
        self._bar.write(line, file=sys.stderr)
        self._bar.update()
        if status == "end" and node.name == "report":
            shutil.rmtree(self._work / "lfenhance" / node.fullname.split(".")[1], ignore_errors=True)

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()


def execute_graph(graphs: Sequence[Any], work: Path, run_dir: Path, settings: Settings, spec: RunSpec) -> list[Failure]:
    """The failures of running all graphs as one; an interrupted run raises ``Interrupted`` after ending its workers."""
    from nipype import Workflow

    whole = Workflow(name="lfenhance", base_dir=str(work))
    whole.add_nodes(list(graphs))
    _configure(whole, run_dir, settings)
    if settings.write_graph:
        with suppress(OSError):  # nipype draws with graphviz; where that is not installed, the .dot file stays
            whole.write_graph(str(run_dir / "graph.dot"), graph2use="colored", format="svg", simple_form=True)
    steps = [node for node in whole._get_all_nodes() if hasattr(node.interface, "run_step")]
    progress = Progress(len(steps), work)
    plugin = WorkerPlugin(
        {
            "n_procs": settings.nprocs or available_cpus(),
            "memory_gb": spec.mem_gb,
            "n_gpu_procs": 1,
            "status_callback": progress,
        }
    )
    previous = signal.signal(signal.SIGTERM, _interrupt)
    gc.freeze()  # nipype collects garbage at every poll: what is here now need not be looked at each time
    try:
        whole.run(plugin=plugin)
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted from the keyboard") from error
    except Exception:
        if not plugin.failures:
            raise
    finally:
        gc.unfreeze()
        signal.signal(signal.SIGTERM, previous)
        plugin.close()
        progress.close()
        if settings.resource_monitor:
            with suppress(OSError):  # a full disk is among the failures
                _write_usage(plugin, run_dir / "resources.tsv")
    return plugin.failures


def _configure(whole: Any, run_dir: Path, settings: Settings) -> None:
    whole.config["execution"] = {
        "poll_sleep_duration": "-inf",  # WorkerPlugin waits; nipype would, by a clock that can be turned back
        "crashdump_dir": str(run_dir),
        "stop_on_first_crash": str(settings.stop_on_first_crash).lower(),
        "hash_method": "timestamp",
        "check_version": "false",
        "create_report": "false",
    }
    level = logging.DEBUG if settings.verbose > 1 else logging.INFO if settings.verbose else logging.ERROR + 1
    for name in NIPYPE_LOGGERS:
        logging.getLogger(name).setLevel(level)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted("ended by a SIGTERM, as a scheduler sends it")


def _write_usage(plugin: WorkerPlugin, path: Path) -> None:
    lines = ["node\tseconds\tcpu_seconds\tpeak_memory_mib"]
    lines += [f"{u.node}\t{u.seconds:.2f}\t{u.cpu_seconds:.2f}\t{u.peak_memory_mib:.0f}" for u in plugin.usages]
    path.write_text("\n".join(lines) + "\n")


def _name(fullname: str) -> str:
    """``lfenhance.sub_01_wf.session_HFC_wf.enhance`` as a readable name."""
    words = [word.removesuffix("_wf").replace("sub_", "sub-") for word in fullname.split(".")[1:]]
    return " ".join(words).replace("session_", "ses-").replace("reference_", "ses-")
