"""Low-field sessions of every kind a dataset can hold, as the plan makes them; no file is behind them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from bids_lfenhance.bids.scans import Entities, Scan
from bids_lfenhance.bids.sessions import LowFieldSession
from bids_lfenhance.config import RunSpec


def make_spec(**changes: Any) -> RunSpec:
    """A run of the plain mean at rough settings, on two threads."""
    return replace(SPEC, **changes)


SPEC = RunSpec(
    bids_dir="/raw",
    out_dir="/out",
    method="interp",
    label="interp",
    method_settings={"fusion": "mean"},
    synthetic=False,
    settings_hash="0",
    budget="cpu",
    n_samples=1,
    seed=0,
    sloppy=True,
    resolution="2mm",
    spaces=(),
    device="cpu",
    threads=2,
    mem_gb=8.0,
)

LOW, HIGH = 0.0635, 3.0  # tesla

PLACES: dict[str, tuple[str | None, str | None, bool]] = {
    "paired": ("HFC", "GE", True),
    "unpaired": ("HFC", None, False),
    "no sessions": (None, None, True),
    "no sessions, unpaired": (None, None, False),
    "runs": ("HFC", "GE", True),
    "both fields in one session": ("A", "A", True),
    "unusual labels": ("HF+C", "G+E", True),
}
"""Session of the low field, session of the high field, whether there is high field."""

KINDS = tuple(PLACES)


def make_scan(root: Path, subject: str, session: str | None, contrast: str, tesla: float, **entities: str) -> Scan:
    """The scan of one BIDS name below ``root``."""
    place = {"sub": subject} | ({"ses": session} if session else {})
    stem = "_".join(f"{key}-{value}" for key, value in (place | entities).items())
    folder = root.joinpath(*(f"{key}-{value}" for key, value in place.items()), "anat")
    pairs = Entities(place | entities)
    return Scan(folder / f"{stem}_{contrast}.nii.gz", pairs, contrast, field_strength=tesla)


def make_session(root: Path, kind: str = "paired", subject: str = "01") -> LowFieldSession:
    """T1w and T2w in two stacks each, and high field of both where the kind has one."""
    session, reference, paired = PLACES[kind]
    stacks = [{"acq": "axi", "run": "1"}, {"acq": "axi", "run": "2"}] if kind == "runs" else [{"acq": "axi"}, {}]
    low = [make_scan(root, subject, session, name, LOW, **own) for name in ("T1w", "T2w") for own in stacks]
    high = [
        make_scan(root, subject, reference, "T1w", HIGH, acq="MPRAGE"),
        make_scan(root, subject, reference, "T2w", HIGH, acq="hf", run="2"),
    ]
    missing, warnings = ("acq-sag_T1w",), ("Only two planes.",)
    if not paired:
        return LowFieldSession(subject, session, tuple(low), missing=missing, warnings=warnings)
    return LowFieldSession(subject, session, tuple(low), tuple(high), reference, missing, warnings)
