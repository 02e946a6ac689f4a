"""The settings of the group level: one page about all subjects of a derivative."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .options import ALIKE, QUIET, Common

_ALIKE = f"{ALIKE}; this level runs in one process, on one thread"


@dataclass(frozen=True)
class GroupSettings(Common):
    """Every choice of one group report; of ``Common`` only what it can use, and what scripts give to every level."""

    level: str = "group"

    HELP: ClassVar[Mapping[str, str]] = {
        "participant_label": "participants to report on, with or without 'sub-' (default: all)",
        "session_label": "low-field sessions to report on, with or without 'ses-' (default: all)",
        "nprocs": _ALIKE,
        "omp_nthreads": _ALIKE,
        "verbose": QUIET,
    }

    bids_filter_file: Any = None
    bids_database_dir: Any = None
    assume_field_strength: Any = None
    random_seed: int = 0
