"""Settings as dataclasses: a field is documented once, and the command line is made from it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar


def option(default: Any, text: str, group: str, *flags: str, **extra: Any) -> Any:
    """A dataclass field that is also a command-line option: its default, its help, its help group, its other flags.

    ``extra`` may hold ``choices`` (the words allowed), ``metavar``, ``count`` (each time it is given counts one), and
    ``parse`` (what makes a value of a word).
    """
    return field(default=default, metadata={"help": text, "group": group, "flags": flags, **extra})


def gibibytes(word: str) -> float:
    """GiB of a word with a unit or without one; ValueError where it is no number.

    >>> gibibytes("16"), gibibytes("16G"), gibibytes("8192MB"), gibibytes("1.5 GiB")
    (16.0, 16.0, 8.0, 1.5)
    """
    found = re.fullmatch(r"([\d.]+) ?([MGT]?)(i?B)?", word.strip(), re.IGNORECASE)
    number, unit = found.group(1, 2) if found else (word, "")
    return float(number) * {"M": 2**-10, "T": 2**10}.get(unit.upper(), 1)


SCANS, RESOURCES, RUN = "Which scans", "Resources", "Run"
"""Help groups that every level has; a level's own come between the first and the second."""

DEVICE = ("auto", "cpu, cuda, cuda:N, or auto", RESOURCES)
"""The option of every level that runs networks."""

ALIKE = "accepted for scripts that call every level alike"
"""How the help of an option begins that does nothing at a level."""

QUIET = f"{ALIKE}; this level prints all it has to say"
"""Help of ``verbose`` at every level but the participant's."""


@dataclass(frozen=True)
class Common:
    """What every level asks: which scans, and how much of the machine.

    ``HELP``: what a level says of one of these options in other words.
    """

    HELP: ClassVar[Mapping[str, str]] = {}

    bids_dir: Path
    out_dir: Path

    participant_label: tuple[str, ...] = option(
        (), "participants to process, with or without 'sub-' (default: all)", SCANS, "--participant_label"
    )
    session_label: tuple[str, ...] = option(
        (), "sessions to process, with or without 'ses-' (default: all)", SCANS, "--session-id"
    )
    bids_filter_file: Path | None = option(None, "JSON file of entity filters (docs/usage.md)", SCANS)
    bids_database_dir: Path | None = option(
        None, "keep the index of the dataset here, which makes the next start faster", SCANS
    )
    skip_bids_validation: bool = option(
        False,
        "accept a folder without a valid dataset_description.json",
        SCANS,
        "--skip_bids_validation",
        "--skip-bids-validator",
        "--skip_bids_validator",
    )
    assume_field_strength: float | None = option(
        None, "field strength for scans whose sidecar says nothing", SCANS, metavar="TESLA"
    )

    nprocs: int | None = option(
        None, "processes at once (default: what affinity, cgroup and SLURM allow)", RESOURCES, "--nthreads"
    )
    omp_nthreads: int | None = option(None, "threads of one process (default: up to 4)", RESOURCES)
    notrack: bool = option(False, "accepted for compatibility: nothing is ever reported to anyone", RESOURCES)

    random_seed: int = option(0, "the one seed from which all others are derived", RUN)
    dry_run: bool = option(False, "print the plan and the settings, then stop", RUN)
    verbose: int = option(0, "print more; given twice: everything", RUN, "-v", count=True)
