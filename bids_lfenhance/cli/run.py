"""The console script: parse, plan, preflight, run, summarise."""

import dataclasses
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from ..config import Common, GroupSettings, Settings, SimulateSettings, TrainSettings, flag, to_toml
from ..errors import InputError, Interrupted, MethodError
from ..resources import check_where_started, give_home, interruptible, keep_freed_memory
from .enhance import is_enhance_command, run_enhance
from .help import print_lines
from .parser import parse

DONE, FAILED, USAGE, NOTHING_TO_DO, STOPPED = 0, 1, 2, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code.

    0 all that was asked for is on disk, 1 a subject failed, 2 usage or preflight, 3 nothing to do, 130 stopped on
    request (Ctrl-C, SIGTERM).
    """
    os.environ["MPLBACKEND"] = "agg"  # a notebook's own would be looked for in every process, and is not there
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 (None where it is closed)
    stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    if not isinstance(stderr, _Stderr):
        sys.stderr = _Stderr(stderr)
    for stream in (sys.stdout, stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal in ASCII shows "?", and stops nothing
    words = list(sys.argv[1:] if argv is None else argv)
    keep_freed_memory()
    give_home()
    try:
        check_where_started()
        with interruptible():
            return run_enhance(words[1:]) if is_enhance_command(words) else run(parse(words))
    except InputError as error:
        _to_stderr(f"bids_lfenhance: error: {error}")
        return USAGE
    except MethodError as error:
        _to_stderr(f"bids_lfenhance: error: {error}")
        return FAILED
    except (KeyboardInterrupt, Interrupted) as error:
        again = "begin anew" if is_enhance_command(words) else "go on where it stopped"
        _to_stderr(f"bids_lfenhance: {str(error) or 'interrupted'}; run the same command again to {again}.")
        return STOPPED


def run(settings: Common) -> int:
    """The exit code of one run with validated settings; raises ``InputError`` for what cannot be run."""
    if isinstance(settings, Settings) and (settings.boilerplate_only or settings.reports_only):
        return _from_disk(settings)
    if not settings.skip_bids_validation and not _learns_from_labels(settings):
        from ..bids.dataset import check_source

        check_source(settings.bids_dir)
    match settings:
        case GroupSettings():
            return _group(settings)
        case SimulateSettings():
            return _simulate(settings)
        case TrainSettings():
            from ..workflows.train import run_train

            if results := run_train(settings):
                print_lines(results)
            return DONE
        case Settings():
            return _participant(settings)
    raise TypeError(f"no level has settings of class {type(settings).__name__}")


def _learns_from_labels(settings: Common) -> bool:
    """Whether BIDS_DIR may be a plain folder of label maps: nothing else in it is read."""
    if not isinstance(settings, TrainSettings):
        return False
    from ..methods import description

    return description(settings.method).learns_from == "labels"


def _group(settings: GroupSettings) -> int:
    from ..workflows.group import describe_group, group_summary, run_group

    if settings.dry_run:
        print_lines(describe_group(settings), "", to_toml(settings))
        return DONE
    outcome = run_group(settings)
    print_lines(group_summary(outcome))
    return outcome.exit_code


def _simulate(settings: SimulateSettings) -> int:
    from ..bids.describe import merged
    from ..bids.highfield import describe_simulation
    from ..bids.simulated import check_folder
    from ..workflows.simulate import processes, run_simulation, summary
    from ..workflows.simulation import make_simulation_plan, make_tasks, simulation_toml, simulator_settings

    options = simulator_settings(settings)
    plan = make_simulation_plan(settings)
    tasks = make_tasks(settings, plan, options)
    toml = simulation_toml(settings, options, plan.contrasts)
    renamed = check_folder(settings.out_dir, settings.bids_dir, toml)
    processes(settings)  # refused for want of memory, in a dry run too
    if settings.dry_run:
        stacks = settings.draws * sum(len(task.presets) for task in tasks.values())
        print_lines(describe_simulation(plan, settings.draws, stacks), "", to_toml(settings, simulator=options))
        return FAILED if plan.failed else DONE
    _to_stderr(*(f"Warning: {warning}" for warning in (*filter(None, [renamed]), *merged(plan.warnings))))
    outcome = run_simulation(settings, plan, tasks, toml)
    _to_stderr(*(f"Warning: {note}" for note in outcome.notes))
    print_lines(summary(outcome, plan, settings))
    return outcome.exit_code


def _participant(settings: Settings) -> int:
    from ..bids.dataset import check_ours, check_same_source
    from ..bids.describe import all_warnings
    from ..bids.filters import scan_choice
    from ..bids.plan import describe, make_plan, why_nothing
    from ..nn.device import choose_device
    from ..workflows.in_sample import with_seen_subjects
    from ..workflows.run import (
        check_request,
        make_run_spec,
        preflight,
        run_participants,
        summary,
    )

    plan = make_plan(settings.bids_dir, settings.participant_label, settings.session_label, **scan_choice(settings))
    device = choose_device(settings.device)
    method_settings = resolve_method(settings, device)
    spec = make_run_spec(settings, method_settings, device)
    plan = with_seen_subjects(plan, spec)
    check_ours(settings.out_dir)
    renamed = check_same_source(settings.out_dir, settings.bids_dir)
    check_request(settings, spec)
    if settings.dry_run:
        print_lines(describe(plan), "", to_toml(settings, method=method_settings))
    if not plan.sessions and not plan.failed:
        _to_stderr(f"bids_lfenhance: nothing was done: {why_nothing(plan)}")
        return NOTHING_TO_DO
    if settings.dry_run:
        return FAILED if plan.failed else DONE
    _to_stderr(*(f"Warning: {warning}" for warning in (*filter(None, [renamed]), *all_warnings(plan))))
    preflight(settings, spec)
    outcome = run_participants(settings, spec, plan)
    print_lines(summary(outcome, settings.out_dir))
    return outcome.exit_code


def resolve_method(settings: Settings, device: str) -> dict[str, Any]:
    """The method's settings: its own defaults < budget < what was asked for; ``device`` where it has one.

    Those that trained weights decide are not among them: sidecars tell them.
    """
    from ..methods import description
    from ..nn.settings import usable_settings

    about = description(settings.method)
    chosen = {**about.budgets.get(settings.budget, {}), **settings.method_options}
    if any(f.name == "device" for f in dataclasses.fields(about.sampling)):
        chosen["device"] = device
    with usable_settings("method", about.name):
        return dataclasses.asdict(about.sampling(**chosen))


def _from_disk(settings: Settings) -> int:
    """``--boilerplate-only`` and ``--reports-only``: what the derivative suffices for."""
    from ..bids.dataset import check_ours
    from ..bids.defects import readable_subjects
    from ..reports.boilerplate import boilerplate
    from ..reports.page import write_report

    alone = ("reports_only", "boilerplate_only", "dry_run")
    if len(together := [name for name in alone if getattr(settings, name)]) > 1:
        words = " and ".join(map(flag, together))
        message = (
            f"Expected one of --reports-only, --boilerplate-only and --dry-run, found {words}; leave out all but one."
        )
        raise InputError(message, code="bad-option", option=together[0])
    check_ours(settings.out_dir)
    subjects = settings.participant_label or tuple(p.name for p in sorted(settings.out_dir.glob("sub-*")) if p.is_dir())
    if not subjects:
        message = f"Expected subjects in {settings.out_dir}, found none; run the participant level first."
        raise InputError(message, code="no-subjects", path=settings.out_dir)
    labels = [name.removeprefix("sub-") for name in subjects]
    for subject in labels:
        if not (settings.out_dir / f"sub-{subject}").is_dir():
            message = f"Expected sub-{subject} in {settings.out_dir}, found no such folder."
            raise InputError(message, code="unknown-subject", subjects=(subject,))
    readable, closed = readable_subjects(settings.out_dir, labels)
    if settings.boilerplate_only and readable:
        print_lines(boilerplate(settings.out_dir, readable))
    for subject in () if settings.boilerplate_only else readable:
        print_lines(write_report(settings.out_dir, subject))
    _to_stderr(*(f"bids_lfenhance: error: {sentence}" for _, sentence in closed))
    return FAILED if closed else DONE


class _Stderr:
    """A stream that may lose its reader (a closed terminal, ``2>&1 | head``): the run goes on, and its log has all."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self.stream.flush()


def _to_stderr(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
