"""What settings must meet before anything is read."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any, TypeVar

from ..errors import InputError
from .names import MAP_ENDS
from .options import Common

Level = TypeVar("Level", bound=Common)

POSITIVE = (
    *("nprocs", "omp_nthreads", "mem_gb", "n_samples", "assume_field_strength", "draws", "folds"),
    *("validate_every", "patience", "max_minutes"),
)
"""Numbers above 0, in whichever level has them."""

MOST_GB = 2000
"""Memory beyond which a number was meant in MB, as other BIDS Apps take ``--mem``."""

LABEL = re.compile(r"[0-9a-zA-Z+]+")
"""What BIDS allows as the label of an entity."""

INPUTS = ("bids_filter_file", "augment_dataset", "label_maps", "split")
"""Files and folders that must be there."""


def validated(settings: Level) -> Level:
    """The settings with absolute paths; raise ``InputError`` if folders or values cannot be used together."""
    bids_dir, out_dir = settings.bids_dir.resolve(), settings.out_dir.resolve()
    if not bids_dir.is_dir():
        message = f"Expected a BIDS dataset at {bids_dir}, found no such folder; check the first argument."
        raise InputError(message, code="not-bids", path=bids_dir)
    if bids_dir == out_dir or (bids_dir in out_dir.parents and bids_dir / "derivatives" not in out_dir.parents):
        message = (
            f"Expected an output folder outside {bids_dir} or under its derivatives/, found {out_dir}; "
            "writing there would change the raw dataset, so choose another OUT_DIR."
        )
        raise InputError(message, code="out-dir-in-raw", path=out_dir)
    if out_dir.is_file():
        message = f"Expected a folder for OUT_DIR, found the file {out_dir}; choose another."
        raise InputError(message, code="not-writable", path=out_dir)
    if settings.random_seed < 0:
        message = f"Expected a --random-seed of 0 or more, found {settings.random_seed}; choose another."
        raise InputError(message, code="bad-option", option="random_seed")
    for name in POSITIVE:
        value = getattr(settings, name, None)
        if value is not None and not 0 < value < math.inf:
            message = f"Expected {flag(name)} above 0, found {value}; leave it out or give a finite number above 0."
            raise InputError(message, code="bad-option", option=name)
    if (memory := getattr(settings, "mem_gb", None) or 0) > MOST_GB:
        message = f"Expected --mem-gb of at most {MOST_GB} GiB, found {memory:.0f}; megabytes are written 16000M."
        raise InputError(message, code="bad-option", option="mem_gb")
    for name in INPUTS:
        path = getattr(settings, name, None)
        if path is not None and not path.exists():
            message = f"Expected a file or folder for {flag(name)}, found nothing at {path}; check the path."
            raise InputError(message, code="missing-file", option=name, path=path)
    given = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    paths: dict[str, Any] = {name: value.resolve() for name, value in given.items() if isinstance(value, Path)}
    [path.exists() for path in paths.values()]  # one that cannot be looked up at all is refused here
    if "work_dir" in paths:
        _outside(paths["work_dir"], bids_dir)
    if (own := given.get("segmentation_weights")) and Path(own).exists():  # or a name of the registry
        paths["segmentation_weights"] = str(Path(own).resolve())
    _check_labels(settings)
    _check_label(getattr(settings, "output_label", None))
    _check_fold(getattr(settings, "folds", None), getattr(settings, "fold", 0))
    return dataclasses.replace(settings, **paths)


def flag(name: str) -> str:
    """The option that sets a field.

    >>> flag("mem_gb")
    '--mem-gb'
    """
    return f"--{name.replace('_', '-')}"


def _outside(work_dir: Path, bids_dir: Path) -> None:
    if bids_dir == work_dir or bids_dir in work_dir.parents:
        message = f"Expected a --work-dir outside the raw dataset {bids_dir}, found {work_dir}; choose another."
        raise InputError(message, code="bad-option", option="work_dir")


def _check_labels(settings: Common) -> None:
    """Labels become names of folders and files: none may lead out of OUT_DIR."""
    for name, prefix in (("participant_label", "sub-"), ("session_label", "ses-")):
        for label in getattr(settings, name):
            if not LABEL.fullmatch(label.removeprefix(prefix)):
                message = f"Expected {flag(name)} of letters, digits and +, found '{label}'; correct it."
                raise InputError(message, code="bad-label", option=name)


def _check_label(label: str | None) -> None:
    if label is not None and (not (label.isascii() and label.isalnum()) or label in ("preproc", "brain")):
        message = (
            f"Expected --output-label of letters and digits, other than preproc and brain, found '{label}'; change it."
        )
        raise InputError(message, code="bad-label", option="output_label")
    if label is not None and label.endswith(MAP_ENDS):
        ends = ", ".join(MAP_ENDS)
        message = f"Expected --output-label without the ending of a map ({ends}), found '{label}'; change it."
        raise InputError(message, code="bad-label", option="output_label")


def _check_fold(folds: int | None, fold: int) -> None:
    if not 0 <= fold < (folds or 1):
        given = f"--folds {folds}" if folds else "no --folds"
        message = f"Expected --fold from 0 to one less than --folds, found {fold} with {given}; correct it."
        raise InputError(message, code="bad-option", option="fold")
