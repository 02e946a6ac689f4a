"""Executing graphs with nipype: its settings, graceful stop on SIGTERM and SIGINT."""

import gc
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..config import RunSpec, Settings
from ..errors import Interrupted
from ..resources import available_cpus, interruptible
from .progress import Progress, append_log
from .runner import NIPYPE_LOGGERS, Failure, WorkerPlugin


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
    progress = Progress(steps, work, run_dir)
    plugin = WorkerPlugin(
        {
            "n_procs": settings.nprocs or available_cpus(),
            "memory_gb": spec.mem_gb,
            "n_gpu_procs": 1,
            "status_callback": progress,
        }
    )
    gc.freeze()  # nipype collects garbage at every poll: what is here now need not be looked at each time
    try:
        with interruptible():
            whole.run(plugin=plugin)
    except Interrupted as error:
        append_log(run_dir, str(error))
        raise
    except Exception:
        if not plugin.failures:
            raise
    finally:
        gc.unfreeze()
        plugin.close()
        progress.close()
        if settings.resource_monitor:
            with suppress(OSError):  # a full disk is among the failures
                _write_usage(plugin, run_dir / "resources.tsv")
    return plugin.failures


def _configure(whole: Any, run_dir: Path, settings: Settings) -> None:
    whole.config["execution"] = {
        "poll_sleep_duration": "-inf",  # WorkerPlugin waits; nipype would by a clock that can be set back
        "crashdump_dir": str(run_dir),
        "stop_on_first_crash": str(settings.stop_on_first_crash).lower(),
        "hash_method": "timestamp",
        "check_version": "false",
        "create_report": "false",
    }
    level = logging.DEBUG if settings.verbose > 1 else logging.INFO if settings.verbose else logging.ERROR + 1
    for name in NIPYPE_LOGGERS:
        logging.getLogger(name).setLevel(level)


def _write_usage(plugin: WorkerPlugin, path: Path) -> None:
    lines = ["node\tseconds\tcpu_seconds\tpeak_memory_mib"]
    lines += [f"{node}\t{u.seconds:.2f}\t{u.cpu_seconds:.2f}\t{u.peak_memory_mib:.0f}" for node, u in plugin.usages]
    path.write_text("\n".join(lines) + "\n")
