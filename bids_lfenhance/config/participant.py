"""The settings of the participant level: enhance low field."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from .names import BUDGETS, PROTOCOLS, SEGMENTATIONS
from .options import DEVICE, RESOURCES, RUN, Common, gibibytes, option

ENHANCEMENT = "Enhancement"


@dataclass(frozen=True)
class Settings(Common):
    """Every choice of one run; each field is documented once, here or in ``Common``, and is a command-line option."""

    level: str = "participant"

    HELP: ClassVar[Mapping[str, str]] = {
        "session_label": "low-field sessions to process, with or without 'ses-' (default: all)",
        "bids_filter_file": "JSON file of entity filters (docs/usage.md); also chooses the high-field reference",
    }

    method: str = option("fusionnet", "the method of enhancement", ENHANCEMENT)
    budget: str = option("cpu", "how much computing the method may spend", ENHANCEMENT, choices=BUDGETS)
    n_samples: int | None = option(
        None, "number of random draws: inr and pfsr average them, cfm, bridge and cssdiff compare them", ENHANCEMENT
    )
    output_label: str | None = option(
        None, "name of the result (desc-NAME), to keep results with other settings side by side", ENHANCEMENT
    )
    output_spaces: tuple[str, ...] = option(
        (), "also write the result in these template spaces, e.g. MNI152NLin2009cAsym:res-1", ENHANCEMENT
    )
    segmentation: str | None = option(
        None,
        "segmentation of anatomical regions: the bundled network, FreeSurfer's mri_synthseg, or none (tissue only) "
        "(default: builtin; none with --sloppy)",
        ENHANCEMENT,
        choices=SEGMENTATIONS,
    )
    segmentation_weights: str | None = option(
        None, "weights of your own for the builtin segmentation: a folder of a training, or a file", ENHANCEMENT
    )
    metrics: tuple[str, ...] = option(
        (),
        f"protocols of the comparison with high field beside {PROTOCOLS[0]}: {', '.join(PROTOCOLS[1:])}, or all",
        ENHANCEMENT,
        choices=(*PROTOCOLS, "all"),
        metavar="PROTOCOL",
    )
    sloppy: bool = option(False, "quick and rough, for trying the app out; never for a study", ENHANCEMENT)

    device: str = option(*DEVICE)
    mem_gb: float | None = option(
        None, "memory to use, GiB, or 16G, 16000M (default: what is available)", RESOURCES, "--mem", parse=gibibytes
    )
    resource_monitor: bool = option(False, "write time and memory of every step to the log folder", RESOURCES)

    work_dir: Path | None = option(None, "folder for intermediate files (default: under TMPDIR)", RUN, "-w")
    clean_workdir: bool = option(False, "remove these subjects' earlier intermediate files before starting", RUN)
    stop_on_first_crash: bool = option(False, "stop everything when one subject fails", RUN)
    strict: bool = option(False, "count subjects with an image that is not usable for any purpose as failed", RUN)
    write_graph: bool = option(
        False, "write the graph of nodes to the log folder: graph.dot, and a picture where graphviz is", RUN
    )
    reports_only: bool = option(False, "rebuild the reports from what is on disk", RUN)
    boilerplate_only: bool = option(False, "print the methods text for a paper, then stop", RUN)

    method_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The ``desc-`` label of the results."""
        return self.output_label or self.method

    @property
    def protocols(self) -> tuple[str, ...]:
        """Those of the comparison with high field, in the order of its table."""
        asked = {PROTOCOLS[0], *(PROTOCOLS if "all" in self.metrics else self.metrics)}
        return tuple(name for name in PROTOCOLS if name in asked)


_HASHED_FIELDS = (
    *("method", "budget", "n_samples", "random_seed", "sloppy", "assume_field_strength", "output_spaces", "protocols"),
)
"""The settings that change what is written; the others only choose scans or resources."""


def settings_hash(settings: Settings, method_settings: Mapping[str, Any], version: str) -> str:
    """Twelve hexadecimal digits that change whenever the content of an output would."""
    content = {name: getattr(settings, name) for name in _HASHED_FIELDS}
    # on another device the same run, but for rounding
    known = {name: value for name, value in method_settings.items() if name != "device"}
    content |= {"method_settings": known, "version": version}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]
