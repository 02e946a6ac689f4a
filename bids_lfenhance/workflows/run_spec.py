"""What the steps of a run are told: plain values only, so that nipype can hash and send them."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..bids.names import source_entities, space_of
from ..bids.scans import Scan
from ..bids.sessions import LowFieldSession


@dataclass(frozen=True)
class RunSpec:
    """What every step of a run must know; all that changes the outputs, and the resources of one step.

    ``mem_gb`` is for all steps together, ``enhance_gb`` for one enhancement (0: all of it).
    ``weights_contrasts`` are those that trained weights know, empty where there are none: the others are not enhanced.
    ``maps`` that the method comes with in those, and what is said of each.
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

    def plain(self) -> dict[str, Any]:
        """The spec as a dictionary, without what may differ between two runs that must give the same files."""
        content = asdict(self)
        for name in ("threads", "mem_gb", "enhance_gb"):
            del content[name]
        return content


def derive_seed(root: int, *words: str) -> int:
    """The seed of one step, 0 ≤ seed < 2³¹: the same whatever order or company the step runs in.

    >>> derive_seed(0, "01", "HFC", "enhance") == derive_seed(0, "01", "HFC", "enhance")
    True
    """
    digest = hashlib.sha256("/".join([str(root), *words]).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def session_record(session: LowFieldSession) -> dict[str, Any]:
    """One low-field session as plain values.

    ``key`` and ``reference_session_key`` (empty where there is none) name graphs and seeds; ``scans`` and
    ``reference_scans`` are lists of ``scan_record``.
    """
    reference = session.reference_session or "HF" if session.reference else ""
    return {
        "subject": session.subject,
        "session": session.session or "",
        "key": graph_label(session.session or "LF"),
        "reference_session": session.reference_session or "",
        "reference_session_key": graph_label(reference),
        "space": space_of(session),
        "scans": [scan_record(scan) for scan in session.stacks],
        "reference_scans": [scan_record(scan) for scan in session.reference],
        "missing": list(session.missing),
        "warnings": list(session.warnings),
    }


def graph_label(label: str) -> str:
    """The label as part of the name of a graph, which may hold no ``+``; two labels never become one.

    >>> graph_label("HFC"), graph_label("HF+C")
    ('HFC', 'HF_C')
    """
    return label.replace("+", "_")  # no BIDS label holds an underscore


def scan_record(scan: Scan) -> dict[str, Any]:
    """One scan as plain values; size and time of change are in it, so that a replaced file is read again."""
    state = scan.path.stat() if scan.path.exists() else None
    return {
        "name": scan.path.name.removesuffix(".gz").removesuffix(".nii"),
        "path": str(scan.path),
        "contrast": scan.contrast,
        "plane": scan.plane or "",
        "entities": source_entities(scan),
        "field_strength": scan.field_strength,
        "state": [state.st_size, state.st_mtime_ns] if state else [],
    }
