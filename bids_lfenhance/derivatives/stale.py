"""Files of earlier runs that the scans of a session, as they are now, do not account for.

An image or a table without a sidecar that says what it is, or a transform of other frames than ours, is somebody's own,
and never among them.
"""

from collections.abc import Collection, Set
from pathlib import Path

from ..bids.names import sidecar_path, space_of
from ..bids.sessions import LowFieldSession
from ..bids.sidecars import optional_json, split_name
from ..config import CONTRASTS, MAP_ENDS, RunSpec
from ..evaluation.metric_definitions import DATA_DICTIONARY
from .files import OURS
from .layout import has_content, reference_layout, session_layout

METRICS = "_qc.tsv"


def superseded(session: LowFieldSession, spec: RunSpec) -> list[Path]:
    """Images, label images and metrics under this label, on this grid or a template's, of an image that is replaced.

    What was made with these very settings is not among them: its segmentation by another program stays true.
    """
    promised = session_layout(session, spec)
    shown = [path for key, path in promised.items() if key.startswith("enhanced/")]
    if all(optional_json(sidecar_path(path)).get("SettingsHash") == spec.settings_hash for path in shown):
        return []
    images = {f"{spec.label}{end}" for end in ("", *MAP_ENDS)}
    labels = {f"{spec.label}{contrast}" for contrast in CONTRASTS}
    space = space_of(session)
    found = []
    for path in promised["qc"].parent.glob("*"):
        entities, suffix, end = split_name(path.name)
        here = entities.get("res") == spec.resolution or entities.get("space", space) != space
        named = entities.get("desc") in (labels if suffix == "dseg" else images)
        if end in (".nii.gz", ".tsv") and here and named and _is_ours(path, ()):
            found.append(path)
    return sorted(set(found) - set(promised.values()))


def stale_files(session: LowFieldSession, spec: RunSpec, frame: str) -> list[Path]:
    """Images, transforms and metrics in a session's folder, of whatever label, that are no longer true of it.

    Those were made of a scan that the session does not have now, or without one that it has, or lie in another frame
    than that of ``frame``, the name of a scan. What is high field's is not among them, nor what another recipe made of
    these very scans in this frame.
    """
    promised = session_layout(session, spec)
    own = {*promised.values(), *(reference_layout(session, spec).values() if session.paired else ())}
    before = optional_json(promised["qc"])
    low = {scan.path.name for scan in session.stacks}
    low |= {str(entry.get("File")) for entry in before.get("Scans", []) if isinstance(entry, dict)}
    moved = before.get("ReferenceScan", frame) != frame
    files = sorted(promised["qc"].parent.glob("*"))
    sessions = Path(spec.out_dir).glob(f"sub-{session.subject}/ses-*")
    frames = {"session", "HF", "LF", *(path.name.removeprefix("ses-") for path in sessions)}
    ours = [path for path in files if path not in own and _is_ours(path, frames)]
    stale = {path for path in ours if _is_stale(path, session, spec, low, moved)}
    outdated = _outdated(files, session)
    stale |= {path for path in ours if (split_name(path.name)[0].get("desc"), split_name(path.name)[1]) in outdated}
    images = {path for path in files if path.name.endswith(".nii.gz")} - stale
    measured = {split_name(path.name)[0].get("desc") for path in images if session.paired}
    metrics = {path for path in ours if path.name.endswith(METRICS)}
    return sorted(stale | {path for path in metrics if split_name(path.name)[0].get("desc") not in measured})


def remove(path: Path) -> None:
    """A file is gone when this returns, and what goes with it: its sidecar, and the table of label images."""
    with_it = [sidecar_path(path)]
    if path.name.endswith("_dseg.nii.gz"):
        with_it.append(sidecar_path(path).with_suffix(".tsv"))
    for one in (path, *with_it):
        one.unlink(missing_ok=True)


def _is_ours(path: Path, frames: Collection[str]) -> bool:
    """Whether a run wrote a file: an image or a table by what its sidecar says, a transform by its ``frames``."""
    entities, suffix, end = split_name(path.name)
    if suffix == "xfm":
        ends = {entities.get("from"), entities.get("to")} if end == ".h5" else {entities.get("to")}
        return not ends.isdisjoint(frames)
    about = optional_json(sidecar_path(path)).keys()
    return (DATA_DICTIONARY if path.name.endswith(METRICS) else OURS).keys() <= about


def _outdated(files: Collection[Path], session: LowFieldSession) -> set[tuple[str | None, str]]:
    """``desc-`` and suffix of what was made with an enhanced image of which a scan was replaced since."""
    found: set[tuple[str | None, str]] = set()
    for path in (path for path in files if path.name.endswith(".nii.gz")):
        entities, contrast, _ = split_name(path.name)
        label, states = entities.get("desc"), optional_json(sidecar_path(path)).get("ScanStates")
        if states and (label, contrast) not in found and _is_replaced(states, session, contrast):
            found |= {(f"{label}{end}", contrast) for end in ("", *MAP_ENDS)}
            found |= {(f"{label}{contrast}", "dseg"), (label, "qc")}
    return found


def _is_replaced(states: object, session: LowFieldSession, contrast: str) -> bool:
    """Whether a scan that an image of this contrast was made of, or its high field, has other content now."""
    scans = [*(scan for scan in session.stacks if scan.contrast == contrast), *session.reference]
    before = {state[0]: state[-1] for state in states} if isinstance(states, list) else {}
    return any(scan.stem in before and not has_content(before[scan.stem], scan) for scan in scans)


def _is_stale(path: Path, session: LowFieldSession, spec: RunSpec, low: Set[str], moved: bool) -> bool:
    """``low``: names of the low-field scans, of now and of the run before; ``moved``: that run had another frame."""
    entities, suffix, end = split_name(path.name)
    space = space_of(session)
    if suffix == "xfm":  # that of a stack is promised, or the stack is gone; the others lead to and from a template
        return end == ".txt" or moved or (space or "session") not in (entities.get("from"), entities.get("to"))
    if end != ".nii.gz" or {"res", "space"}.isdisjoint(entities):  # a stack on its own voxels
        return end == ".nii.gz"
    made_of = _scans_of(path, spec.out_dir)
    if "space" not in entities and made_of.isdisjoint(low):  # high field's
        return False
    if "SpatialReference" in optional_json(sidecar_path(path)) and entities.get("space") != space:
        return True
    return moved or made_of != _scans_now(session, suffix, entities.get("desc", ""))


def _scans_of(path: Path, out_dir: str) -> frozenset[str]:
    """Names of the raw scans that an image of the derivative was made of, by its sidecar and those it names."""
    sources = [str(source) for source in optional_json(sidecar_path(path)).get("Sources", [])]
    raw = {source.rpartition("/")[2] for source in sources if source.startswith("bids:raw:")}
    own = (Path(out_dir, source.removeprefix("bids::")) for source in sources if source.startswith("bids::"))
    return frozenset(raw).union(*(_scans_of(source, out_dir) for source in own if source != path))


def _scans_now(session: LowFieldSession, suffix: str, desc: str) -> frozenset[str]:
    """Names of the scans that an image of this suffix (a label image by the end of its ``desc-``) is made of now."""
    if suffix == "mask":
        return frozenset(scan.path.name for scan in session.reference or session.stacks)
    contrast = suffix if suffix in CONTRASTS else next((name for name in CONTRASTS if desc.endswith(name)), "")
    return frozenset(scan.path.name for scan in session.stacks if scan.contrast == contrast)
