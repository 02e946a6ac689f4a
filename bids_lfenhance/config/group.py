"""The settings of the group level: one page about all subjects of a derivative."""

from dataclasses import dataclass
from typing import Any

from .options import RESOURCES, SCANS, Common, option

_ALIKE = "accepted for scripts that call every level alike; this level runs in one process, on one thread"


@dataclass(frozen=True)
class GroupSettings(Common):
    """Every choice of one group report; fields of ``Common`` without an effect here are no options."""

    level: str = "group"

    participant_label: tuple[str, ...] = option(
        (), "participants to report on, with or without 'sub-' (default: all)", SCANS, "--participant_label"
    )
    session_label: tuple[str, ...] = option(
        (), "low-field sessions to report on, with or without 'ses-' (default: all)", SCANS, "--session-id"
    )
    bids_filter_file: Any = None
    bids_database_dir: Any = None
    assume_field_strength: Any = None
    random_seed: int = 0

    nprocs: int | None = option(None, _ALIKE, RESOURCES, "--nthreads")
    omp_nthreads: int | None = option(None, _ALIKE, RESOURCES)
