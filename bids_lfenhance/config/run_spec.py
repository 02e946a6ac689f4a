"""A run of the participant level with every default resolved.

nipype decides by the ``repr`` of a step's inputs whether it must run again. That of a frozen dataclass of plain values
is the same in every process, so ``RunSpec`` and ``LowFieldSession`` travel through the graph as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .names import PROTOCOLS


@dataclass(frozen=True)
class RunSpec:
    """The settings that every step of a run is given: all that changes the outputs, and the resources of one step.

    ``mem_gb`` is for all steps together, ``enhance_gb`` for one enhancement (0: all of it).
    ``weights_contrasts`` are those that trained weights know, empty where there are none: the others are not enhanced.
    ``maps`` that the method makes with those, and the metadata of each; ``gives_error_std``: with the SD of its error.
    """

    bids_dir: str
    out_dir: str
    method: str
    label: str
    method_settings: Mapping[str, Any]
    synthetic: bool
    settings_hash: str
    budget: str
    n_samples: int
    seed: int
    sloppy: bool
    resolution: str
    spaces: tuple[str, ...]
    device: str
    threads: int
    mem_gb: float
    segmentation: str = "none"
    segmentation_weights: str = "auto"
    segmentation_hash: str = ""
    maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    weights_contrasts: tuple[str, ...] = ()
    enhance_gb: float = 0.0
    gives_error_std: bool = False
    protocols: tuple[str, ...] = PROTOCOLS[:1]

    @property
    def without_resources(self) -> "RunSpec":
        """The same for two runs that must give the same files, whatever they may use of the machine."""
        return replace(self, threads=0, mem_gb=0.0, enhance_gb=0.0)
