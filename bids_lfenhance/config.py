"""Names every layer shares, and the settings of one run: frozen, validated, TOML in and out."""

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import InputError

CONTRASTS = ("T1w", "T2w", "FLAIR")
"""Channel order of every (C, X, Y, Z) array: the BIDS suffix of each contrast."""

TISSUES = ("CSF", "GM", "WM")
"""Order of every (3, X, Y, Z) posterior; label ``i + 1`` in a dseg is ``TISSUES[i]``, 0 is background."""

LEVELS = ("participant",)
"""The analysis levels that work."""

BUDGETS = ("sloppy", "cpu", "gpu")
"""How much computing a method may spend: a test, two cores, a GPU (the published size)."""


def option(default: Any, text: str, group: str, *flags: str, **extra: Any) -> Any:
    """A dataclass field that is also a command-line option: its default, its help, its help group, its other flags."""
    return field(default=default, metadata={"help": text, "group": group, "flags": flags, **extra})


@dataclass(frozen=True)
class Settings:
    """Every choice of one run; each field is documented once, here, and becomes a command-line option."""

    bids_dir: Path
    out_dir: Path
    level: str = "participant"

    participant_label: tuple[str, ...] = option(
        (), "participants to process, with or without 'sub-' (default: all)", "Which scans", "--participant_label"
    )
    session_label: tuple[str, ...] = option(
        (), "low-field sessions to process, with or without 'ses-' (default: all)", "Which scans", "--session-id"
    )
    bids_filter_file: Path | None = option(
        None, "JSON file of entity filters (docs/usage.md); also chooses the high-field reference", "Which scans"
    )
    bids_database_dir: Path | None = option(
        None, "keep the pybids index here, so that the next run need not walk the dataset", "Which scans"
    )
    skip_bids_validation: bool = option(
        False,
        "accept a folder without a valid dataset_description.json",
        "Which scans",
        "--skip_bids_validation",
        "--skip-bids-validator",
        "--skip_bids_validator",
    )
    assume_field_strength: float | None = option(
        None, "field strength for scans whose sidecar says nothing", "Which scans", metavar="TESLA"
    )

    method: str = option("inr", "how low field becomes high-field-like", "Enhancement")
    budget: str = option("cpu", "how much computing the method may spend", "Enhancement", choices=BUDGETS)
    n_samples: int | None = option(
        None, "draws to average; their spread is the uncertainty map (default: the method's own)", "Enhancement"
    )
    output_label: str | None = option(
        None, "name of the result (desc-NAME), to keep two recipes of one method side by side", "Enhancement"
    )
    output_spaces: tuple[str, ...] = option(
        (), "also write the result in these template spaces, e.g. MNI152NLin2009cAsym:res-1", "Enhancement"
    )
    random_seed: int = option(0, "the one seed from which all others are derived", "Enhancement")
    sloppy: bool = option(False, "quick and rough, for trying the app out; never for a study", "Enhancement")

    nprocs: int | None = option(
        None, "processes at once (default: what affinity, cgroup and SLURM allow)", "Resources", "--nthreads"
    )
    omp_nthreads: int | None = option(None, "threads of one process (default: up to 4)", "Resources")
    mem_gb: float | None = option(None, "memory to use, GiB (default: what is available)", "Resources", "--mem")
    device: str = option("auto", "cpu, cuda, cuda:N, or auto", "Resources")
    resource_monitor: bool = option(False, "write time and memory of every step to the log folder", "Resources")
    notrack: bool = option(False, "accepted for compatibility: nothing is ever reported to anyone", "Resources")

    work_dir: Path | None = option(None, "folder for intermediate files (default: under TMPDIR)", "Run", "-w")
    clean_workdir: bool = option(False, "empty this run's work folder before starting", "Run")
    stop_on_first_crash: bool = option(False, "stop everything when one subject fails", "Run")
    write_graph: bool = option(
        False, "write the graph of nodes to the log folder: graph.dot, and a picture where graphviz is", "Run"
    )
    dry_run: bool = option(False, "print the plan and the settings, then stop", "Run")
    reports_only: bool = option(False, "rebuild the reports from what is on disk", "Run")
    boilerplate_only: bool = option(False, "print the methods text for a paper, then stop", "Run")
    verbose: int = option(0, "say more; twice for everything", "Run", "-v", count=True)

    method_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The ``desc-`` label of the results."""
        return self.output_label or self.method


_HOW = ("method", "budget", "n_samples", "random_seed", "sloppy", "assume_field_strength", "output_spaces")
"""The settings that change what is written; the others only choose scans or resources."""


def settings_hash(settings: Settings, method_settings: Mapping[str, Any], version: str) -> str:
    """Twelve hexadecimal digits that change whenever the content of an output would."""
    content = {name: getattr(settings, name) for name in _HOW}
    content |= {"method_settings": dict(method_settings), "version": version, "device": settings.device}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def validated(settings: Settings) -> Settings:
    """The settings with absolute paths; an ``InputError`` for folders that cannot be used together."""
    bids_dir, out_dir = settings.bids_dir.resolve(), settings.out_dir.resolve()
    if not bids_dir.is_dir():
        raise InputError(f"Expected a BIDS dataset at {bids_dir}, found no such folder; check the first argument.")
    if bids_dir == out_dir or (bids_dir in out_dir.parents and bids_dir / "derivatives" not in out_dir.parents):
        raise InputError(
            f"Expected an output folder outside {bids_dir} or under its derivatives/, found {out_dir}; "
            "writing there would change the raw dataset, so choose another OUT_DIR."
        )
    if settings.random_seed < 0:
        raise InputError(f"Expected a --random-seed of 0 or more, found {settings.random_seed}; choose another.")
    for name in ("nprocs", "omp_nthreads", "mem_gb", "n_samples", "assume_field_strength"):
        value = getattr(settings, name)
        if value is not None and value <= 0:
            raise InputError(f"Expected --{name.replace('_', '-')} above 0, found {value}; leave it out or raise it.")
    if settings.bids_filter_file is not None and not settings.bids_filter_file.is_file():
        raise InputError(f"Expected a file for --bids-filter-file, found nothing at {settings.bids_filter_file}.")
    work_dir = settings.work_dir and settings.work_dir.resolve()
    if work_dir and (bids_dir == work_dir or bids_dir in work_dir.parents):
        raise InputError(f"Expected a --work-dir outside the raw dataset {bids_dir}, found {work_dir}; choose another.")
    label = settings.output_label
    if label is not None and (not (label.isascii() and label.isalnum()) or label in ("preproc", "brain")):
        raise InputError(
            f"Expected --output-label of letters and digits, other than preproc and brain, found '{label}'; change it."
        )
    return dataclasses.replace(settings, bids_dir=bids_dir, out_dir=out_dir, work_dir=work_dir)


def to_toml(settings: Settings, method_settings: Mapping[str, Any]) -> str:
    """The resolved settings as TOML; what is unset (None) is left out, as TOML has no word for it."""
    import tomli_w

    left_out = {"method_options", "dry_run", "reports_only", "boilerplate_only"}  # not how to run, but not to
    run = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name not in left_out}
    return tomli_w.dumps({"run": _plain(run), settings.method: _plain(dict(method_settings))})


def _plain(table: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Path):
            plain[key] = str(value)
        elif isinstance(value, tuple):
            plain[key] = list(value)
        elif value is not None:
            plain[key] = value
    return plain


def from_toml(path: Path) -> dict[str, Any]:
    """What a settings file says: run options by name, and one table of options per method under its name."""
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise InputError(f"Expected a settings file at {path}, found none ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"Expected TOML in {path}, found something else: {error}; correct the file.") from error
    run = tables.pop("run", {})
    known = {f.name for f in fields(Settings)} - {"method_options", "bids_dir", "out_dir", "level"}
    unknown = sorted(set(run) - known - {"bids_dir", "out_dir", "level"})
    if unknown:
        raise InputError(f"Expected known options in the [run] table of {path}, found '{unknown[0]}'; see --help.")
    return {"run": {key: value for key, value in run.items() if key in known}, "methods": tables}
