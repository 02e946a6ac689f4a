"""Inputs of the steps of a run: names of graphs, seeds, and scans as plain values."""

import hashlib
from typing import Any

from ..bids.scans import Scan
from ..bids.sessions import LowFieldSession


def derive_seed(root: int, *words: str) -> int:
    """The seed of one step, 0 ≤ seed < 2³¹: the same in whatever order, and beside whatever others, the step runs.

    >>> derive_seed(0, "01", "HFC", "enhance") == derive_seed(0, "01", "HFC", "enhance")
    True
    """
    digest = hashlib.sha256("/".join([str(root), *words]).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def session_key(session: LowFieldSession) -> str:
    """The name of a low-field session in its graph and seeds."""
    return graph_label(session.session) if session.session else "no_session"


def reference_key(session: LowFieldSession) -> str:
    """The name of its high-field session in the graph; empty where there is none."""
    if not session.paired:
        return ""
    return graph_label(session.reference_session) if session.reference_session else "no_session"


def graph_label(label: str) -> str:
    """The label as part of the name of a graph, which may hold no ``+``; two labels never become one.

    >>> graph_label("HFC"), graph_label("HF+C")
    ('HFC', 'HF__C')
    """
    # no BIDS label holds an underscore; two, so that "no_session" is never a label's
    return label.replace("+", "__")


def scan_input(scan: Scan) -> dict[str, Any]:
    """What a preparing step reads of a scan, ``plane`` and ``thickness`` (mm) as its sidecar gives them now."""
    return {
        "name": scan.stem,
        "contrast": scan.contrast,
        "plane": scan.plane or "",
        "thickness": scan.slice_thickness,
        "path": str(scan.path),
        "state": list(scan.state),
    }
