"""Writing one session: every file lands by atomic rename, its sidecar first, the quality record last."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from ..bids.atomic import atomic_write
from ..bids.names import sidecar_path
from ..imaging.nifti import ALIGNED, SCANNER, encode_nifti
from ..imaging.volume import Volume
from .layout import Plain, reference_layout, scan_states, session_layout
from .sidecars import GRID, METRIC_COLUMNS, VOLUME_COLUMNS, enhanced_sidecar, image_sidecar, own_source, raw_sources

Rows = Sequence[Mapping[str, Any]]
"""A table: one mapping per row."""

RISK_DESCRIPTION = (
    "Enhanced image degraded again by each stack's acquisition, minus what was acquired (methods: docs/metrics.md)"
)


@dataclass(frozen=True)
class SessionContent:
    """All there is to write for a low-field session.

    Volumes share one grid; ``labels`` are (X, Y, Z) uint8 and ``volumes`` rows of tissue volumes, both by contrast;
    the last three are there only for a session that is paired, or that goes to template spaces.
    """

    acquired: Volume
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
    metrics: Rows | None = None
    reference_qc: Mapping[str, Any] | None = None
    space_transforms: Sequence[Mapping[str, Any]] = ()


def write_session(session: Plain, recipe: Plain, content: SessionContent) -> list[str]:
    """The paths of one low-field session, all of them on disk when this returns."""
    files = session_layout(session, recipe)
    frame = ALIGNED if session["reference_session_key"] else SCANNER
    affine, skull_stripped = content.acquired.grid.affine, bool(content.quality.get("SkullStripped", False))
    _write_stacks(files, session, recipe, content.acquired, skull_stripped)
    for contrast in content.acquired.contrasts:
        common = image_sidecar(session, recipe, contrast, skull_stripped)
        count = len(content.acquired.stacks_of(contrast))
        for kind, volume, extra in (
            ("preproc", content.acquired, common | {"Description": f"Plain mean of {count} low-field stack(s)"}),
            ("enhanced", content.enhanced, enhanced_sidecar(common, recipe, content.provenance)),
            ("std", content.std, common | {"Description": "Voxelwise standard deviation over draws"}),
            (
                "risk",
                content.risk,
                common
                | {"Description": RISK_DESCRIPTION, "Units": "noise SD", **_plain(content.risk_record[contrast])},
            ),
        ):
            if volume is not None:
                write_image(files[f"{kind}/{contrast}"], volume.channel(contrast), affine, extra, frame)
        for image, kind, labels, volumes in (
            ("preproc", "tissue", content.labels[contrast], content.volumes[contrast]),
            ("enhanced", "enhanced_tissue", content.enhanced_labels[contrast], content.enhanced_volumes[contrast]),
        ):
            source = own_source(files[f"{image}/{contrast}"], recipe["out_dir"])
            about = _grid_words(common) | {"Sources": [source]}
            _write_tissue(files, f"{kind}/{contrast}", labels, volumes, affine, about, frame)
    mask = {"Type": "Brain", "Sources": common["Sources"], "Quality": content.quality} | _grid_words(common)
    write_image(files["mask"], content.acquired.brain, affine, mask, frame)
    if content.metrics is not None:
        write_table(files["metrics"], content.metrics, METRIC_COLUMNS)
    write_json(files["qc"], _quality_record(session, recipe, content))
    return [str(path) for path in files.values()]


def write_reference(
    session: Plain,
    recipe: Plain,
    volume: Volume,
    labels: Mapping[str, np.ndarray],
    volumes: Mapping[str, Rows],
    qc: Plain,
    quality: Plain,
) -> list[str]:
    """The paths of the high-field session on the canonical grid."""
    files = reference_layout(session, recipe)
    affine, skull_stripped = volume.grid.affine, bool(quality.get("SkullStripped", False))
    for contrast in volume.contrasts:
        scans = [scan for scan in session["reference_scans"] if scan["contrast"] == contrast]
        common = {
            "SkullStripped": skull_stripped,
            "Resolution": GRID,
            "MagneticFieldStrength": round(scans[0]["field_strength"], 4),
            "Sources": raw_sources(scans[:1], recipe["bids_dir"]),
            "Warnings": list(qc.get("Warnings", [])),
        }
        write_image(files[f"preproc/{contrast}"], volume.channel(contrast), affine, common)
        about = {"Resolution": GRID, "Sources": [own_source(files[f"preproc/{contrast}"], recipe["out_dir"])]}
        _write_tissue(files, f"tissue/{contrast}", labels[contrast], volumes[contrast], affine, about)
    mask = {"Type": "Brain", "Resolution": GRID, "Sources": common["Sources"], "Quality": quality}
    write_image(files["mask"], volume.brain, affine, mask)
    return [str(path) for path in files.values()]


def write_image(path: Path, data: np.ndarray, affine: np.ndarray, content: Plain, frame: int = SCANNER) -> None:
    """Nothing; the sidecar and then the image are on disk."""
    write_json(sidecar_path(path), content)
    atomic_write(path, encode_nifti(data, affine, frame))


def write_json(path: Path, content: Plain) -> None:
    """Nothing; the JSON file is on disk."""
    atomic_write(path, (json.dumps(_plain(content), indent=2, ensure_ascii=False) + "\n").encode())


def write_table(path: Path, rows: Rows, columns: Mapping[str, Any]) -> None:
    """Nothing; the data dictionary and then the TSV are on disk, columns in the order of the dictionary."""
    write_json(sidecar_path(path), columns)
    atomic_write(path, _table(rows, columns))


def _table(rows: Rows, columns: Mapping[str, Any]) -> bytes:
    import pandas as pd

    text = StringIO()
    pd.DataFrame(rows, columns=list(columns)).to_csv(text, sep="\t", index=False, na_rep="n/a", float_format="%.6g")
    return text.getvalue().encode()


def _write_stacks(files: Mapping[str, Path], session: Plain, recipe: Plain, volume: Volume, stripped: bool) -> None:
    from nitransforms.io.itk import ITKLinearTransform

    stacks = {stack.name: stack for stack in volume.stacks}
    for scan in session["scans"]:
        stack = stacks[scan["name"]]
        content = {
            "Description": "Bias-corrected stack on its own voxels, intensities on the scale of its contrast",
            "SkullStripped": stripped,
            "MagneticFieldStrength": round(scan["field_strength"], 4),
            "NoiseSigma": stack.sigma,
            "Sources": raw_sources([scan], recipe["bids_dir"]),
        }
        write_image(files[f"stack/{scan['name']}"], stack.data, stack.native_affine, content)
        # ITK resamples by carrying points from the fixed (canonical) to the moving (stack) space.
        inverse = ITKLinearTransform.from_ras(np.linalg.inv(stack.lf2hf_xfm))
        atomic_write(files[f"xfm/{scan['name']}"], inverse.to_string(banner=True).encode())


def _write_tissue(
    files: Mapping[str, Path],
    key: str,
    labels: np.ndarray,
    volumes: Rows,
    affine: np.ndarray,
    about: Plain,
    frame: int = SCANNER,
) -> None:
    """One JSON tells of the label image and of the table of volumes, as they share a name."""
    kind, contrast = key.split("/")
    write_json(sidecar_path(files[key]), {**VOLUME_COLUMNS, **about})
    atomic_write(files[f"{kind}_table/{contrast}"], _table(volumes, VOLUME_COLUMNS))
    atomic_write(files[key], encode_nifti(labels, affine, frame))


def _grid_words(common: Plain) -> dict[str, Any]:
    """What a mask or a label image must say of its grid."""
    return {key: common[key] for key in ("Resolution", "SpatialReference") if key in common}


def _quality_record(session: Plain, recipe: Plain, content: SessionContent) -> dict[str, Any]:
    told = {entry["Name"]: entry for entry in content.qc["Scans"]}
    scans = [
        {
            "File": Path(scan["path"]).name,
            "Contrast": scan["contrast"],
            "Plane": scan["plane"] or None,
            "FieldStrength": round(scan["field_strength"], 4),
            **told[scan["name"]],
        }
        for scan in session["scans"]
    ]
    reference = None
    if session["reference_session_key"]:
        reference = {
            "Session": session["reference_session"] or None,
            "Files": [Path(scan["path"]).name for scan in session["reference_scans"]],
            "QC": content.reference_qc,
        }
    return {
        "Scans": scans,
        "Missing": session["missing"],
        "Reference": reference,
        "Anatomy": content.quality,
        "Risk": content.risk_record,
        "Warnings": [
            *session["warnings"],
            *content.qc.get("Warnings", []),
            *content.quality.get("Warnings", []),
            *content.provenance.get("warnings", []),
        ],
        "SettingsHash": recipe["settings_hash"],
        "ScanStates": scan_states(session),
    }


def _plain(value: Any) -> Any:
    """Plain JSON: numpy scalars and arrays as numbers and lists, what is not a number as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
