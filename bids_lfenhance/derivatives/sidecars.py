"""What the JSON beside a derivative says; keys as BIDS spells them, ours in CamelCase too."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..evaluation.image_metrics import DATA_DICTIONARY
from .layout import Plain, contrasts, reference_layout

GRID = "1 mm isotropic, RAS, sized to the head (canonical grid)"

NOTICE = "Research use only. Intensities are estimated, not acquired; read the risk map beside the image."


def raw_sources(scans: Iterable[Plain], bids_dir: str) -> list[str]:
    """BIDS URIs of raw scans."""
    return [f"bids:raw:{Path(scan['path']).relative_to(bids_dir).as_posix()}" for scan in scans]


def own_source(path: Path, out_dir: str) -> str:
    """BIDS URI of a file of this derivative."""
    return f"bids::{path.relative_to(out_dir).as_posix()}"


def image_sidecar(session: Plain, recipe: Plain, contrast: str, skull_stripped: bool) -> dict[str, Any]:
    """What every image of one contrast on the canonical grid says, whatever was done to it."""
    scans = [scan for scan in session["scans"] if scan["contrast"] == contrast]
    content: dict[str, Any] = {
        "SkullStripped": skull_stripped,
        "Resolution": GRID,
        "MagneticFieldStrength": round(scans[0]["field_strength"], 4),
        "Sources": raw_sources(scans, recipe["bids_dir"]),
        "GeneratedWith": f"bids_lfenhance {__version__}",
    }
    return content | spatial_reference(session, recipe)


def spatial_reference(session: Plain, recipe: Plain) -> dict[str, str]:
    """The image whose frame the canonical grid is, where it is not the session's own."""
    if not session["reference_session_key"]:
        return {}
    files = reference_layout(session, recipe)
    fixed = "T2w" if "preproc/T2w" in files else contrasts(session["reference_scans"])[0]
    return {"SpatialReference": own_source(files[f"preproc/{fixed}"], recipe["out_dir"])}


def enhanced_sidecar(common: Plain, recipe: Plain, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What the enhanced image says of how it was made; what varies from run to run is in ``Runtime``."""
    content = {
        **common,
        "Description": f"Low field made high-field-like by {recipe['method']}",
        "Synthetic": bool(provenance.get("synthetic", True)),
        "Notice": NOTICE,
        "Method": recipe["method"],
        "MethodSettings": dict(recipe["method_settings"]),
        "Budget": recipe["budget"],
        "SettingsHash": recipe["settings_hash"],
        "Seed": recipe["seed"],
        "Draws": recipe["n_samples"],
        "Sloppy": recipe["sloppy"],
        "Records": provenance.get("records", []),
        "PackageVersions": software_versions(),
        "Runtime": {**provenance["Runtime"], "Device": recipe["device"]},
    }
    if content["Synthetic"]:
        content["TargetMagneticFieldStrength"] = 3
    return content


def software_versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    from importlib.metadata import version

    names = ("bids_lfenhance", "torch", "antspyx", "numpy", "scipy", "nibabel", "nipype", "pybids", "scikit-image")
    return {name: version(name) for name in names}


VOLUME_COLUMNS = {
    "index": {"Description": "Label in the image"},
    "name": {"Description": "Tissue"},
    "volume_mm3": {"Description": "Volume of the voxels that carry the label", "Units": "mm^3"},
    "volume_soft_mm3": {"Description": "Sum of the posterior times the voxel volume", "Units": "mm^3"},
}

METRIC_COLUMNS = DATA_DICTIONARY
