"""The settings of the simulate level: high field to low field."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .names import CONTRASTS
from .options import QUIET, RESOURCES, Common, gibibytes, option

SIMULATION = "Simulation"

PRESETS = ("hyperfine-axi", "hyperfine-cor", "hyperfine-sag")
"""The default: the three thick stacks of ds006557."""


@dataclass(frozen=True)
class SimulateSettings(Common):
    """Every choice of one simulation; each field is documented once, here or in ``Common``."""

    level: str = "simulate"

    HELP: ClassVar[Mapping[str, str]] = {
        "session_label": "high-field sessions to simulate from, with or without 'ses-' (default: all)",
        "bids_filter_file": "JSON file of entity filters (docs/usage.md): t1w, t2w, flair, reference choose high field",
        "assume_field_strength": "field strength of scans whose sidecar says nothing (default: taken as high field)",
        "omp_nthreads": "threads of one process (default: 1)",
        "verbose": QUIET,
    }

    simulator: str = option("physics", "how high field becomes low field", SIMULATION)
    presets: tuple[str, ...] = option(
        PRESETS, "the stacks that are acquired of each contrast", SIMULATION, metavar="PRESET"
    )
    contrasts: tuple[str, ...] = option(
        (), "contrasts to simulate (default: all there are)", SIMULATION, choices=CONTRASTS, metavar="CONTRAST"
    )
    draws: int = option(1, "low-field sessions simulated from each high-field session", SIMULATION)
    high_field: str = option(
        "none",
        "put the high field beside the low field, as a copy or a link: a paired dataset",
        SIMULATION,
        choices=("none", "copy", "link"),
    )

    mem_gb: float | None = option(
        None,
        "memory to use, GiB, or 16G, 16000M (default: what is available); 2 for each process",
        RESOURCES,
        "--mem",
        parse=gibibytes,
    )

    simulator_options: Mapping[str, Any] = field(default_factory=dict)
