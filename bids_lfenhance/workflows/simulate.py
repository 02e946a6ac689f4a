"""The simulate level: every high-field session in a process of its own, then a check of what is on disk."""

import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..bids.highfield import SimulationPlan
from ..bids.scans import sha256
from ..bids.sidecars import bids_uri
from ..bids.simulated import SOURCE, add_participants, write_simulated_dataset
from ..config import SimulateSettings
from ..derivatives.simulated import (
    HASH,
    SimulatedScan,
    add_high_field,
    has_high_field,
    high_field_path,
    session_exists,
    write_session,
)
from ..errors import InputError
from ..resources import Usage, available_cpus, available_memory_gb, check_room, limit_threads, track_usage
from ..simulators import get_simulator
from ..simulators.presets import Preset, named_preset
from .pool import run_in_workers
from .simulation import Task, acq_label

MEMORY_GB = 2.0
"""What one process takes at most (benchmarks/): a head at 1 mm, its tissue and one stack at a time."""


@dataclass
class SimulationOutcome:
    """Outcome of a run: high-field sessions done, already there, failed (name, sentence), and notes on them."""

    done: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stacks: int = 0

    @property
    def exit_code(self) -> int:
        """0 only if everything asked for is on disk."""
        return 1 if self.failed else 0


def run_simulation(
    settings: SimulateSettings, plan: SimulationPlan, tasks: Mapping[str, Task], toml: str
) -> SimulationOutcome:
    """The outcome of the run, all of it checked against the disk.

    ``toml`` is the TOML of the settings that change an image.
    """
    from tqdm import tqdm

    outcome = SimulationOutcome(failed={f"sub-{subject}": sentence for subject, sentence in plan.failed})
    nprocs = processes(settings)
    check_room(settings.out_dir, "OUT_DIR")
    write_simulated_dataset(settings.out_dir, settings.bids_dir, __version__, toml)
    limit_threads(settings.omp_nthreads or 1)
    shown: dict[str, Any] = {"file": sys.stderr, "dynamic_ncols": True, "disable": not sys.stderr.isatty()}
    with tqdm(total=len(tasks), unit="session", **shown) as bar:

        def ended(name: str, result: "WorkerResult | None", sentence: str) -> None:
            words = _record(outcome, tasks[name], result, sentence)
            count = len(outcome.done) + len(outcome.already) + len(outcome.failed)
            bar.write(f"{time.strftime('%H:%M:%S')}  {count:>3}/{len(tasks)}  {name:<36} {words}", file=sys.stderr)
            bar.update()

        run_in_workers(simulate_one, tasks, nprocs, ended)
    return outcome


def processes(settings: SimulateSettings) -> int:
    """How many processes run at once: what was asked for, as far as memory goes."""
    memory = settings.mem_gb or available_memory_gb()
    if memory < MEMORY_GB:
        message = f"Expected {MEMORY_GB:g} GiB of memory, found {memory:.1f}; ask for more."
        raise InputError(message, code="no-memory", needed=MEMORY_GB)
    return min(settings.nprocs or available_cpus(), int(memory // MEMORY_GB))


def _record(outcome: SimulationOutcome, task: Task, result: "WorkerResult | None", sentence: str) -> str:
    """Check the disk once a session has ended, and add it to the outcome; the words of its line on the screen."""
    name, settings = task.source.name, task.settings
    if result is None:
        outcome.failed[name] = sentence
        return "FAILED"
    if absent := [*missing(task, result.hashes), *missing_high_field(task)]:
        outcome.failed[name] = f"expected {', '.join(absent)} in {settings.out_dir}, found nothing there"
        return "FAILED"
    (outcome.done if result.made else outcome.already).append(name)
    outcome.stacks += result.made * len(task.presets)
    outcome.notes += [f"{name}: {note}" for note in (*task.source.warnings, *result.warnings)]
    add_participants(settings.out_dir, settings.bids_dir, [task.source.subject])
    took = f"{result.usage.seconds:.0f} s, {result.usage.peak_memory_mib / 1024:.1f} GiB"
    return took if result.made else "done before"


def missing(task: Task, hashes: Mapping[Path, str]) -> list[str]:
    """Labels of the simulated sessions that are not on disk as they should be."""
    out, subject = task.settings.out_dir, task.source.subject
    return [
        session
        for session in task.sessions
        if not session_exists(out, subject, session, task.names, task.digest(session, hashes))
    ]


def missing_high_field(task: Task) -> list[str]:
    """Names of the high-field images that should be in the dataset and are not."""
    if task.settings.high_field == "none":
        return []
    out, label = task.settings.out_dir, task.source.label
    lost = [scan for scan in task.source.scans if not has_high_field(out, scan, label)]
    return [high_field_path(out, scan, label).name for scan in lost]


@dataclass(frozen=True)
class WorkerResult:
    """What a worker returns: how many sessions it made, the SHA-256 of the source files, what it took, warnings."""

    made: int
    hashes: Mapping[Path, str]
    usage: Usage = field(default_factory=Usage)
    warnings: tuple[str, ...] = ()


def simulate_one(task: Task) -> WorkerResult:
    """Simulate from one high-field session; what is on disk already is kept."""
    with track_usage() as usage:
        made = _simulate(task)
    return replace(made, usage=usage)


def _simulate(task: Task) -> WorkerResult:
    settings, source = task.settings, task.source
    hashes = {scan.path: sha256(scan.path) for scan in source.scans}
    todo = missing(task, hashes)
    warnings: tuple[str, ...] = ()
    if todo:
        from .high_field import load_high_field

        high_field, warnings = load_high_field([(scan.path.name, scan.contrast, scan.path) for scan in source.scans])
        for session in todo:
            write_session(settings.out_dir, source.subject, session, _scans(task, high_field, session, hashes))
    if settings.high_field != "none":
        about = {scan.path: _about_high_field(task, scan.path, hashes) for scan in source.scans}
        add_high_field(settings.out_dir, source.scans, source.label, settings.high_field, about)
    return WorkerResult(len(todo), hashes, warnings=warnings)


def _scans(task: Task, high_field: Sequence[Any], session: str, hashes: Mapping[Path, str]) -> list[SimulatedScan]:
    """The stacks of one simulated session, with their sidecars."""
    from ..simulators.protocol import simulated_sidecar
    from ..simulators.session import record_json, simulate_session

    simulator = get_simulator(task.settings.simulator)
    options = simulator.settings(**task.options)
    presets: list[Preset] = [named_preset(word, contrast) for word, contrast in task.presets]
    made = simulate_session(simulator, high_field, presets, options, generator_of(task, session))
    scans = []
    for (word, contrast), preset, (stack, record) in zip(task.presets, presets, made, strict=True):
        # the scan itself first, then those that decided grid and tissue with it
        sources = [scan.path for scan in sorted(task.source.scans, key=lambda scan: scan.contrast != contrast)]
        about = {
            **simulated_sidecar(word, preset.on(high_field[0].grid)),
            "Simulated": True,
            "Simulation": record_json(simulator, record),
            "SimulationPreset": word,
            "SimulationSettings": dict(task.options),
            "RandomSeed": task.settings.random_seed,
            **_about_sources(task, sources, hashes),
            HASH: task.digest(session, hashes),
        }
        scans.append(SimulatedScan(stack, acq_label(word), about))
    return scans


def generator_of(task: Task, session: str) -> np.random.Generator:
    """The generator of one simulated session: by the seed and what is simulated, never by order."""
    words = f"{task.settings.random_seed}\n{task.source.name}\n{session}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(words.encode()).digest()[:16]))


def _about_sources(task: Task, paths: Sequence[Path], hashes: Mapping[Path, str]) -> dict[str, Any]:
    return {
        "Sources": [bids_uri(path, task.settings.bids_dir, SOURCE) for path in paths],
        "SourceSha256": [hashes[path] for path in paths],
    }


def _about_high_field(task: Task, path: Path, hashes: Mapping[Path, str]) -> dict[str, Any]:
    """What the sidecar of the high field gains: its source, and a field strength if one was given for it."""
    about = _about_sources(task, [path], hashes)
    scan = next(scan for scan in task.source.scans if scan.path == path)
    if scan.field_strength and task.settings.assume_field_strength and "MagneticFieldStrength" not in scan.sidecar:
        about |= {"MagneticFieldStrength": scan.field_strength, "MagneticFieldStrengthAssumed": True}
    return about


def summary(outcome: SimulationOutcome, plan: SimulationPlan, settings: SimulateSettings) -> str:
    """One screen: what was made, what was there, what failed and why, what comes next."""
    lines = [""]
    if outcome.done:
        lines.append(f"{len(outcome.done)} high-field session(s) simulated, {outcome.stacks} stacks")
    if outcome.already:
        lines.append(f"{len(outcome.already)} high-field session(s) simulated before")
    lines += [f"skipped sub-{subject}: {why}" for subject, why in plan.skipped[:5]]
    if len(plan.skipped) > 5:
        lines.append(f"… and {len(plan.skipped) - 5} more skipped")
    lines += [f"FAILED {name}: {sentence}" for name, sentence in outcome.failed.items()]
    if settings.high_field != "none" and plan.unknown:
        lines.append(
            "The field strength of the high field is not on record: the participant level will need "
            "--assume-field-strength to pair it."
        )
    lines.append(f"Dataset: {settings.out_dir}")
    lines.append("Everything asked for is on disk." if not outcome.failed else "Not everything asked for is on disk.")
    return "\n".join(lines)
