"""Writing one low-field session; the enhanced images are written last: where they are, all other files are complete."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..bids.atomic import atomic_write
from ..bids.sessions import LowFieldSession
from ..bids.sidecars import bids_uri
from ..config import RunSpec
from ..evaluation import scan_quality
from ..evaluation.evidence import evidence
from ..evaluation.expected_error import BLIND, WEIGHTS, is_calibrated, scale_note
from ..evaluation.metric_definitions import DATA_DICTIONARY
from ..evaluation.usable import judge
from ..evaluation.volume_error import with_expected_error
from ..imaging.field_of_view import seen_in, without_cut
from ..imaging.grid import Grid
from ..imaging.nifti import ALIGNED, MNI, SCANNER
from ..imaging.volume import Volume
from .files import (
    REGION_COLUMNS,
    VOLUME_COLUMNS,
    Rows,
    plain,
    write_image,
    write_json,
    write_labels,
    write_rigid,
    write_table,
)
from .layout import check_scans, is_enhanced, scan_states, segments_restored, session_layout
from .sidecars import (
    BRAIN,
    CHANGE,
    ERROR,
    STD,
    enhanced_sidecar,
    grid_metadata,
    image_sidecar,
    label_metadata,
    raw_sources,
    regions_metadata,
)
from .stale import remove, stale_files, superseded

RISK = (
    "How far the resulting image, degraded again by each stack's acquisition, differs from what was acquired "
    "(methods: docs/metrics.md)"
)

SHOWN = {"preproc": "the plain mean of the stacks", "enhanced": "the enhanced image"}
"""Names of the images in the descriptions of their labels."""

RESTORED_TOO = (
    "Mean of the posteriors in this image and in one of the same scans with the contrast of high field "
    "(docs/methods/regions.md)"
)

NOT_ENHANCED = "the low field as fused for the network, not enhanced"


@dataclass(frozen=True)
class SessionContent:
    """All there is to write for a low-field session.

    Volumes share one grid; ``expected`` (N, 3) are points where the template has brain; ``labels`` are (X, Y, Z) uint8
    and ``volumes`` rows of tissue volumes, both by contrast, and so are ``regions`` and ``region_volumes``, empty if
    segmentation of regions is disabled; ``metrics`` and ``reference_qc`` are there only for a paired session,
    ``space_transforms`` for one that goes to template spaces. ``maps`` are the method's own, by kind. ``lesions`` are
    what ``evaluation.lesions`` found, and the names of the ``Masks``. ``run`` names the log folder of the run.
    ``reference_seen`` (X, Y, Z) bool: the field of view of high field, where that cuts the brain and so the mask.
    """

    acquired: Volume
    expected: np.ndarray
    labels: Mapping[str, np.ndarray]
    volumes: Mapping[str, Rows]
    enhanced: Volume
    enhanced_labels: Mapping[str, np.ndarray]
    enhanced_volumes: Mapping[str, Rows]
    std: Volume | None
    risk: Volume
    risk_record: Mapping[str, Any]
    provenance: Mapping[str, Any]
    qc: Mapping[str, Any]
    quality: Mapping[str, Any]
    error: Volume | None = None
    metrics: Rows | None = None
    reference_qc: Mapping[str, Any] | None = None
    space_transforms: Sequence[Mapping[str, Any]] = ()
    regions: Mapping[str, np.ndarray] = field(default_factory=dict)
    region_volumes: Mapping[str, Rows] = field(default_factory=dict)
    enhanced_regions: Mapping[str, np.ndarray] = field(default_factory=dict)
    enhanced_region_volumes: Mapping[str, Rows] = field(default_factory=dict)
    maps: Mapping[str, Volume] = field(default_factory=dict)
    lesions: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    reference_seen: np.ndarray | None = None

    def seen(self, contrast: str) -> np.ndarray:
        """(X, Y, Z) bool: where the scans of a contrast saw anything, and high field, if it is cut, too."""
        seen = seen_in(self.acquired, contrast)
        return seen if self.reference_seen is None else seen & self.reference_seen


def write_session(session: LowFieldSession, spec: RunSpec, content: SessionContent) -> list[str]:
    """The paths of one low-field session, all of them on disk when this returns."""
    check_scans(session)
    files = session_layout(session, spec)
    for contrast in content.enhanced.contrasts:  # the files that they stand for are about to change
        files[f"enhanced/{contrast}"].unlink(missing_ok=True)
    frame = _reference_scan_name(content)
    for path in (*superseded(session, spec), *stale_files(session, spec, frame)):
        remove(path)
    _write_stacks(files, session, spec, content)
    for contrast in content.acquired.contrasts:
        _write_maps(files, session, spec, content, contrast)
    _write_mask(files, session, spec, content)
    for transforms in content.space_transforms:
        _write_space(files, session, spec, content, transforms)
    if content.metrics is not None:
        write_table(files["metrics"], content.metrics, DATA_DICTIONARY)
    write_json(files["qc"], _quality_record(session, spec, content))
    for contrast in content.enhanced.contrasts:
        about = _about(session, spec, content, contrast)
        image = content.enhanced.channel(contrast)
        write_image(files[f"enhanced/{contrast}"], image, content.enhanced.grid, _frame(session), about)
    return [str(path) for path in files.values()]


def _reference_scan_name(content: SessionContent) -> str:
    """Name of the scan in whose frame the session lies: of high field where there is one."""
    return str((content.reference_qc or content.qc).get("ReferenceScan", ""))


def _frame(session: LowFieldSession) -> int:
    return ALIGNED if session.paired else SCANNER


def _about(session: LowFieldSession, spec: RunSpec, content: SessionContent, contrast: str) -> dict[str, Any]:
    """The sidecar of an enhanced image, with what the image is usable for."""
    common = image_sidecar(session, spec, contrast, bool(content.quality.get("SkullStripped", False)))
    about = enhanced_sidecar(common, spec, content.provenance, contrast)
    about["Runtime"] |= {"Run": content.run}
    image, low, brain = content.enhanced.channel(contrast), content.acquired.channel(contrast), content.acquired.brain
    about["CorrelationWithLowField"] = scan_quality.likeness(image, low, brain)
    if (std := _error_scale(content, spec, contrast)) is not None:
        about["ErrorStdPercent"] = scan_quality.std_percent(std, image, brain)
        about["ErrorStdCalibrated"] = is_calibrated(contrast)
    if content.lesions:
        about["Lesions"] = {**content.lesions, "Contrast": content.lesions.get("Contrast", {}).get(contrast, {})}
    record = plain(_quality_record(session, spec, content))
    usable = judge(evidence(record, contrast, spec.label, content.metrics or (), about))
    return about | usable.sidecar() | {"ScanStates": scan_states(session)}


def _error_scale(content: SessionContent, spec: RunSpec, contrast: str) -> np.ndarray | None:
    """(X, Y, Z) SD of the error where the method gives it for this contrast; None where it does not."""
    return content.std.channel(contrast) if content.std is not None and is_enhanced(spec, contrast) else None


def _write_stacks(files: Mapping[str, Path], session: LowFieldSession, spec: RunSpec, content: SessionContent) -> None:
    stacks = {stack.name: stack for stack in content.acquired.stacks}
    for scan in session.stacks:
        stack = stacks[scan.stem]
        about = {
            "Description": "Bias-corrected stack on its own voxels, intensities on the scale of its contrast",
            "SkullStripped": bool(content.quality.get("SkullStripped", False)),
            "MagneticFieldStrength": scan.tesla,
            "NoiseSigma": stack.sigma,
            "Sources": raw_sources([scan], spec.bids_dir),
        }
        grid = Grid(stack.native_affine, stack.data.shape)
        write_image(files[f"stack/{scan.stem}"], stack.data, grid, SCANNER, about)
        write_rigid(files[f"xfm/{scan.stem}"], stack.lf2hf_xfm)


def _write_maps(
    files: Mapping[str, Path], session: LowFieldSession, spec: RunSpec, content: SessionContent, contrast: str
) -> None:
    """The fused low field, the maps beside the enhanced image, and the tissue of both."""
    grid, frame = content.acquired.grid, _frame(session)
    common = image_sidecar(session, spec, contrast, bool(content.quality.get("SkullStripped", False)))
    count = len(content.acquired.stacks_of(contrast))
    words = f"Plain mean of {count} low-field stack(s), in the frame of {_reference_scan_name(content)}"
    fused = common | {"Description": words}
    write_image(files[f"preproc/{contrast}"], content.acquired.channel(contrast), grid, frame, fused)
    if (std := _error_scale(content, spec, contrast)) is not None:
        write_image(files[f"Std/{contrast}"], std, grid, frame, common | _about_error(STD, contrast))
    if content.error is not None and (path := files.get(f"Error/{contrast}")):
        about = common | {"BlindTo": BLIND, "Weights": dict(WEIGHTS)} | _about_error(ERROR, contrast)
        write_image(path, content.error.channel(contrast), grid, frame, about)
    risk = common | {"Description": RISK, "Units": "noise SD", **content.risk_record[contrast]}
    write_image(files[f"risk/{contrast}"], content.risk.channel(contrast), grid, frame, risk)
    if path := files.get(f"Change/{contrast}"):
        change = content.enhanced.channel(contrast) - content.acquired.channel(contrast)
        write_image(path, change, grid, frame, common | {"Description": CHANGE, "Units": "arbitrary"})
    for kind, volume in content.maps.items():
        if path := files.get(f"{kind}/{contrast}"):
            write_image(path, volume.channel(contrast), grid, frame, common | dict(spec.maps[kind]))
    _write_segmentations(files, session, spec, content, contrast)


def _about_error(description: str, contrast: str) -> dict[str, Any]:
    """What the sidecar of a map of the error says, and how far it was tried in this contrast."""
    words = f"{description}. {scale_note(contrast)}"
    return {"Description": words, "Calibrated": is_calibrated(contrast), "Units": "arbitrary"}


def _write_segmentations(
    files: Mapping[str, Path], session: LowFieldSession, spec: RunSpec, content: SessionContent, contrast: str
) -> None:
    """Tissue of the fused and of the enhanced image, and their regions if segmented."""
    grid, frame = content.acquired.grid, _frame(session)
    seen, nothing = content.seen(contrast), dict[str, str]()
    tissue, regions = (VOLUME_COLUMNS, nothing), (REGION_COLUMNS, regions_metadata(spec))
    for image, kind, labels, volumes, (columns, segmenter) in (
        ("preproc", "tissue", content.labels, content.volumes, tissue),
        ("enhanced", "enhanced_tissue", content.enhanced_labels, content.enhanced_volumes, tissue),
        ("preproc", "regions", content.regions, content.region_volumes, regions),
        ("enhanced", "enhanced_regions", content.enhanced_regions, content.enhanced_region_volumes, regions),
    ):
        if contrast not in labels:
            continue
        shown = SHOWN[image] if image == "preproc" or is_enhanced(spec, contrast) else NOT_ENHANCED
        words = label_metadata(kind.removeprefix("enhanced_"), shown, contrast)
        source = {"Sources": [bids_uri(files[f"{image}/{contrast}"], spec.out_dir, "")]}
        about = grid_metadata(spec, session) | words | source | segmenter
        if (kind, contrast) == ("enhanced_regions", "T1w") and segments_restored(session, spec):
            about["SegmentationNote"] = RESTORED_TOO
        pair = files[f"{kind}/{contrast}"], files[f"{kind}_table/{contrast}"]
        rows = without_cut(volumes[contrast], labels[contrast], seen)
        if image == "enhanced" and _is_estimate(spec, contrast):
            rows = with_expected_error(rows, kind.removeprefix("enhanced_"), contrast)
        write_labels(pair, labels[contrast], rows, grid, frame, about, columns)


def _is_estimate(spec: RunSpec, contrast: str) -> bool:
    """Whether the image is the learned estimate itself, without a share of a draw and not sloppy."""
    plain_estimate = spec.gives_error_std and not spec.method_settings.get("sharpness")
    return plain_estimate and is_enhanced(spec, contrast) and not spec.sloppy


def _write_mask(files: Mapping[str, Path], session: LowFieldSession, spec: RunSpec, content: SessionContent) -> None:
    about = grid_metadata(spec, session) | _about_mask(session, spec, content)
    write_image(files["mask"], content.acquired.brain, content.acquired.grid, _frame(session), about)


def _about_mask(session: LowFieldSession, spec: RunSpec, content: SessionContent) -> dict[str, Any]:
    about = {"Type": "Brain", "Quality": content.quality, "Description": BRAIN}
    return about | {"Sources": raw_sources(session.reference or session.stacks, spec.bids_dir)}


def _write_space(
    files: Mapping[str, Path],
    session: LowFieldSession,
    spec: RunSpec,
    content: SessionContent,
    transforms: Mapping[str, Any],
) -> None:
    """Mask, enhanced images, SD and labels in one template space, and the transforms to and from it."""
    from ..imaging.spatial_normalisation import to_template_space

    space, grid = transforms["space"], content.enhanced.grid
    frame = MNI if space.startswith("MNI") else ALIGNED
    resolution = {"Resolution": f"That of {space}"}
    brain, target = to_template_space(content.acquired.brain, grid, transforms, order=0)
    write_image(
        files[f"space_mask/{space}"], brain > 0, target, frame, _about_mask(session, spec, content) | resolution
    )
    for contrast in content.enhanced.contrasts:
        about = _about(session, spec, content, contrast) | resolution
        about.pop("SpatialReference", None)  # a template's name is reference enough
        image, _ = to_template_space(content.enhanced.channel(contrast), grid, transforms)
        write_image(files[f"space/{space}/{contrast}"], image, target, frame, about)
        if (std := _error_scale(content, spec, contrast)) is not None:
            about = image_sidecar(session, spec, contrast, bool(content.quality.get("SkullStripped", False)))
            about |= _about_error(STD, contrast) | resolution
            about.pop("SpatialReference", None)
            std, _ = to_template_space(std, grid, transforms, order=1)
            write_image(files[f"space_Std/{space}/{contrast}"], std, target, frame, about)
        for kind, by_contrast in (("tissue", content.enhanced_labels), ("regions", content.enhanced_regions)):
            if contrast in by_contrast:
                labels, _ = to_template_space(by_contrast[contrast], grid, transforms, order=0)
                source = bids_uri(files[f"enhanced_{kind}/{contrast}"], spec.out_dir, "")
                about = resolution | {"Sources": [source]}
                about |= label_metadata(kind, SHOWN["enhanced"], contrast)
                write_image(files[f"space_{kind}/{space}/{contrast}"], labels.astype(np.uint8), target, frame, about)
    for way in ("to", "from"):
        atomic_write(files[f"space_xfm/{space.partition(':')[0]}/{way}"], Path(transforms[way]).read_bytes())


def _quality_record(session: LowFieldSession, spec: RunSpec, content: SessionContent) -> dict[str, Any]:
    """What the report, the verdict and the group level read of a session."""
    records = {entry["Name"]: entry for entry in content.qc["Scans"]}
    stacks = {stack.name: stack for stack in content.acquired.stacks}
    scans = [
        {
            **records[scan.stem],
            "File": scan.path.name,
            "Contrast": scan.contrast,
            "Plane": scan.plane,
            "FieldStrength": scan.tesla,
            **scan_quality.of_scan(stacks[scan.stem], content.acquired, content.expected),
        }
        for scan in session.stacks
    ]
    reference = {
        "Session": session.reference_session,
        "Files": [scan.path.name for scan in session.reference],
        "QC": content.reference_qc,
    }
    warnings = [*session.warnings, *content.qc["Warnings"], *content.quality.get("Warnings", [])]
    warnings += [content.lesions["Failure"]] if "Failure" in content.lesions else []
    warnings += [f"Reference: {sentence}" for sentence in (content.reference_qc or {}).get("Warnings", [])]
    return {
        "Scans": scans,
        "ReferenceScan": _reference_scan_name(content),
        "Missing": list(session.missing),
        "Reference": reference if session.paired else None,
        "Alignment": content.qc.get("Alignment", {}),
        "Coverage": {contrast: _covered(content, contrast) for contrast in content.acquired.contrasts},
        "Anatomy": content.quality,
        "Resolution": spec.resolution,
        "Method": spec.label,
        "Risk": content.risk_record,
        "Warnings": [*warnings, *content.provenance.get("warnings", [])],
    }


def _covered(content: SessionContent, contrast: str) -> dict[str, Any]:
    """How much of the brain that the template expects the scans of a contrast show, and what they cut through."""
    volume, labels = content.acquired, content.enhanced_regions or content.enhanced_labels
    rows = content.enhanced_region_volumes or content.enhanced_volumes
    seen = content.seen(contrast)
    kept = without_cut(rows[contrast], labels[contrast], seen)
    cut = [row["name"] for row in kept if row["volume_mm3"] is None]
    return scan_quality.of_view(volume, contrast, content.expected, seen) | {"Cut": cut}
