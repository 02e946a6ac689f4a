"""Which files a session leaves: one table, used to write them, to verify them and to resume."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from ..bids.defects import file_defect
from ..bids.names import derivative_name, sidecar_path, source_entities, space_of
from ..bids.scans import Scan, file_digest, file_state
from ..bids.sessions import LowFieldSession
from ..bids.sidecars import optional_json
from ..config import CONTRASTS, RunSpec
from ..errors import InputError


def session_layout(session: LowFieldSession, spec: RunSpec) -> dict[str, Path]:
    """The files of one low-field session, by what they are: ``"enhanced/T1w"``, ``"stack/<scan name>"``, ``"qc"``.

    Every ``.nii.gz`` and ``.tsv`` has a ``.json`` beside it; a label image and its table share theirs.
    """
    label, space = spec.label, space_of(session)
    frame = space or "session"  # what a transform calls the space of the canonical grid
    name = partial(derivative_name, spec.out_dir, session)
    files: dict[str, Path] = {}
    for scan in session.stacks:
        own = source_entities(scan)
        files[f"stack/{scan.stem}"] = name(scan.contrast, **own, desc="preproc")
        route = {"from": scan.contrast, "to": frame, "mode": "image"}
        files[f"xfm/{scan.stem}"] = name("xfm", ".txt", **own, **route)
    on_grid: dict[str, Any] = {"space": space, "res": spec.resolution}
    for contrast in contrasts(session.stacks):
        files[f"preproc/{contrast}"] = name(contrast, **on_grid, desc="preproc")
        files[f"enhanced/{contrast}"] = name(contrast, **on_grid, desc=label)
        files[f"risk/{contrast}"] = name(contrast, **on_grid, desc=f"{label}Risk")
        if is_enhanced(spec, contrast):
            scale = ["Std", "Error"] if spec.gives_error_std else []
            for kind in (*scale, "Change", *spec.maps):
                files[f"{kind}/{contrast}"] = name(contrast, **on_grid, desc=f"{label}{kind}")
        for kind, seg in segmentations(spec).items():
            sources = {f"enhanced_{kind}": f"{label}{contrast}"}
            if segments_low_field(kind, session):
                sources[kind] = f"preproc{contrast}"
            for source, desc in sources.items():
                files[f"{source}/{contrast}"] = name("dseg", **on_grid, seg=seg, desc=desc)
                files[f"{source}_table/{contrast}"] = name("dseg", ".tsv", **on_grid, seg=seg, desc=desc)
    files["mask"] = name("mask", **on_grid, desc="brain")
    if session.paired:
        files["metrics"] = name("qc", ".tsv", desc=label)
    for target in spec.spaces:
        files |= _in_template_space(session, spec, target, frame)
    files["qc"] = name("qc", ".json", desc="preproc")
    return files


def _in_template_space(session: LowFieldSession, spec: RunSpec, target: str, frame: str) -> dict[str, Path]:
    """What goes to one output space; keys hold all of ``target``, as a template may be asked for at two resolutions."""
    name = partial(derivative_name, spec.out_dir, session)
    template, resolution = split_space(target)
    on_grid: dict[str, Any] = {"space": template, "res": resolution}
    files = {f"space_mask/{target}": name("mask", **on_grid, desc="brain")}
    for contrast in contrasts(session.stacks):
        files[f"space/{target}/{contrast}"] = name(contrast, **on_grid, desc=spec.label)
        if spec.gives_error_std and is_enhanced(spec, contrast):
            files[f"space_Std/{target}/{contrast}"] = name(contrast, **on_grid, desc=f"{spec.label}Std")
        for kind, seg in segmentations(spec).items():
            desc = f"{spec.label}{contrast}"
            files[f"space_{kind}/{target}/{contrast}"] = name("dseg", **on_grid, seg=seg, desc=desc)
    for way, start, end in (("to", frame, template), ("from", template, frame)):
        route = {"from": start, "to": end, "mode": "image"}
        files[f"space_xfm/{template}/{way}"] = name("xfm", ".h5", **route)
    return files


def is_enhanced(spec: RunSpec, contrast: str) -> bool:
    """Whether the method does anything to a contrast: trained weights leave those alone that they do not know."""
    known = spec.weights_contrasts or (contrast,)
    return contrast in known


def reference_layout(session: LowFieldSession, spec: RunSpec) -> dict[str, Path]:
    """The files of the high-field session a low-field session is compared with."""
    name = partial(derivative_name, spec.out_dir, (session.subject, session.reference_session))
    files: dict[str, Path] = {}
    fixed = fixed_contrast(session)
    for contrast in contrasts(session.reference):
        scan = next(scan for scan in session.reference if scan.contrast == contrast)
        own = source_entities(scan)
        files[f"preproc/{contrast}"] = name(contrast, **own, res=spec.resolution, desc="preproc")
        if contrast != fixed:
            route = {"from": contrast, "to": fixed, "mode": "image"}  # one name for every session that refers to it
            files[f"xfm/{contrast}"] = name("xfm", ".txt", **own, **route)
        for kind, seg in segmentations(spec).items():
            entities = {"seg": seg, "res": spec.resolution, "desc": f"preproc{contrast}"}
            files[f"{kind}/{contrast}"] = name("dseg", **entities)
            files[f"{kind}_table/{contrast}"] = name("dseg", ".tsv", **entities)
    files["mask"] = name("mask", res=spec.resolution, desc="brain")
    return files


def fixed_contrast(session: LowFieldSession) -> str:
    """The high-field contrast whose scan is the frame to which the others were aligned."""
    there = contrasts(session.reference)
    return "T2w" if "T2w" in there else there[0]


REGION_LABELS = {"builtin": "regions", "synthseg": "synthseg"}
"""The ``seg-`` of each segmenter of regions: two of them can lie side by side."""


def segmentations(spec: RunSpec) -> dict[str, str]:
    """The segmentations of a run, as keys of the layout, and the ``seg-`` of their files."""
    regions = REGION_LABELS.get(spec.segmentation)
    return {"tissue": "tissue"} | ({"regions": regions} if regions else {})


def segments_low_field(kind: str, session: LowFieldSession) -> bool:
    """Whether the fused low field is segmented too: its regions, poorer than those of the enhanced image, only where
    high field tells by how much.
    """
    return kind != "regions" or session.paired


def segments_restored(session: LowFieldSession, spec: RunSpec) -> bool:
    """Whether regions of the enhanced T1w are found in the same session with the contrast of high field too."""
    other = spec.method_settings.get("target_contrast", "learned") != "learned"
    enhanced = "T1w" in session.contrasts and is_enhanced(spec, "T1w")
    return other and enhanced and spec.segmentation == "builtin" and not spec.sloppy


def contrasts(scans: Iterable[Scan]) -> list[str]:
    """The contrasts among some scans, each once, in the order of the channels."""
    return [contrast for contrast in CONTRASTS if any(scan.contrast == contrast for scan in scans)]


def split_space(space: str) -> tuple[str, str | None]:
    """The template and the resolution of an output space.

    >>> split_space("MNI152NLin2009cAsym:res-1")
    ('MNI152NLin2009cAsym', '1')
    """
    template, _, modifier = space.partition(":")
    return template, modifier.removeprefix("res-") or None


def missing_outputs(session: LowFieldSession, spec: RunSpec) -> list[Path]:
    """What should be on disk after a session was processed and is not, or not whole."""
    files = [*session_layout(session, spec).values()]
    if session.paired:
        files += reference_layout(session, spec).values()
    files += [sidecar_path(path) for path in files if path.name.endswith((".nii.gz", ".tsv"))]
    return [path for path in dict.fromkeys(files) if file_defect(path)]


def is_complete(session: LowFieldSession, spec: RunSpec) -> bool:
    """Whether all files are there, made with these settings of these scans, so that nothing need be done again."""
    if missing_outputs(session, spec):
        return False
    files = session_layout(session, spec)
    for contrast in contrasts(session.stacks):
        made = optional_json(sidecar_path(files[f"enhanced/{contrast}"]))
        if made.get("SettingsHash") != spec.settings_hash or not are_of(made.get("ScanStates"), session):
            return False
    return True


def scan_states(session: LowFieldSession) -> list[list[Any]]:
    """Of all scans that went in, of both field strengths, and of lesion masks, what changes the result.

    That is the name; of the sidecar field strength, plane and slice thickness; and of the file size, time of change and
    SHA-256.
    """
    return [[*_identity(scan), [*scan.state, file_digest(scan.path)]] for scan in _scans_of(session)]


def check_scans(session: LowFieldSession) -> None:
    """Raise ``InputError`` where a scan is not the file that the run was planned with: the image may be of the old one.

    Recorded as of the new one it would never be made again.
    """
    for scan in (*session.stacks, *session.reference):
        if scan.state and file_state(scan.path) not in ((), scan.state):
            message = f"Expected {scan.path} to stay as it was while the run was at it, found it replaced; run again."
            raise InputError(message, code="scan-changed", path=scan.path)


def are_of(states: object, session: LowFieldSession) -> bool:
    """Whether recorded ``scan_states`` are those of a session's scans as they are now.

    A file that was copied or fetched again has another time of change and the same content. One that was dropped since
    (a link to annexed content) is taken for what it was.
    """
    scans = _scans_of(session)
    if not isinstance(states, list) or len(states) != len(scans):
        return False
    return all(_is_unchanged(state, scan) for state, scan in zip(states, scans, strict=True))


def _is_unchanged(state: object, scan: Scan) -> bool:
    return isinstance(state, list) and state[:-1] == _identity(scan) and has_content(state[-1], scan)


def has_content(before: object, scan: Scan) -> bool:
    """Whether the last of what ``scan_states`` recorded (size, time of change, SHA-256) is that of a scan's file."""
    if not isinstance(before, list):
        return False
    *known, digest = before
    if not scan.state or tuple(known) == scan.state:
        return True
    return known[:1] == [scan.state[0]] and digest == file_digest(scan.path)


def _scans_of(session: LowFieldSession) -> tuple[Scan, ...]:
    return (*session.stacks, *session.reference, *session.lesions)


def _identity(scan: Scan) -> list[Any]:
    return [scan.stem, scan.tesla, scan.plane, scan.slice_thickness]
