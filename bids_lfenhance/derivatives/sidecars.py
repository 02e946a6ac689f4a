"""Metadata of the derivatives; keys as BIDS spells them, ours in CamelCase too."""

from collections.abc import Iterable, Mapping
from typing import Any

from .._version import __version__
from ..bids.scans import Scan
from ..bids.sessions import LowFieldSession
from ..bids.sidecars import bids_uri
from ..config import RunSpec
from .layout import fixed_contrast, is_enhanced, reference_layout

BRAIN = "Brain mask, of high field where the session has it"

STD = "Standard deviation of the error of the image in each voxel, as its method estimates it"

CHANGE = "The enhanced image minus the plain mean of the stacks, in the same units: what the method changed"

ERROR = "Expected absolute error of the image, smoothed by 3 mm; values in the file in the units of the image"

NOTICE = "Research use only. Intensities are estimated, not acquired; read the risk map beside the image."


def raw_sources(scans: Iterable[Scan], bids_dir: str) -> list[str]:
    """BIDS URIs of raw scans."""
    return [bids_uri(scan.path, bids_dir) for scan in scans]


def image_sidecar(session: LowFieldSession, spec: RunSpec, contrast: str, skull_stripped: bool) -> dict[str, Any]:
    """Metadata common to every image of one contrast on the canonical grid."""
    scans = [scan for scan in session.stacks if scan.contrast == contrast]
    content: dict[str, Any] = {
        "SkullStripped": skull_stripped,
        "MagneticFieldStrength": scans[0].tesla,
        "Sources": raw_sources(scans, spec.bids_dir),
    }
    return content | grid_metadata(spec, session)


def grid_metadata(spec: RunSpec, session: LowFieldSession | None = None) -> dict[str, str]:
    """Metadata of the canonical grid: its resolution and its reference frame (``orig``: the image's own)."""
    size = spec.resolution.removesuffix("mm")
    words = {"Resolution": f"{size} mm isotropic, RAS, sized to the head (canonical grid)"}
    if session is None or not session.paired:
        return words | {"SpatialReference": "orig"}
    fixed = reference_layout(session, spec)[f"preproc/{fixed_contrast(session)}"]
    return words | {"SpatialReference": bids_uri(fixed, spec.out_dir, "")}


def label_metadata(seg: str, image: str, contrast: str) -> dict[str, str]:
    """Description of a label image: ``seg`` "tissue" or "regions", ``image`` in words."""
    contents = {"tissue": "CSF, grey and white matter", "regions": "Anatomical regions, in FreeSurfer's numbers,"}
    return {"Description": f"{contents[seg]} as found on {image} ({contrast})"}


def regions_metadata(spec: RunSpec) -> dict[str, str]:
    """Metadata of the segmenter of the regions; empty if there is none."""
    segmenters = {"builtin": f"bids_lfenhance {__version__}, network of regions", "synthseg": "FreeSurfer mri_synthseg"}
    name = spec.segmentation
    known = {"SegmentedBy": segmenters[name]} if name in segmenters else {}
    return known | ({"WeightsHash": spec.segmentation_hash} if spec.segmentation_hash else {})


def enhanced_sidecar(
    common: Mapping[str, Any], spec: RunSpec, provenance: Mapping[str, Any], contrast: str
) -> dict[str, Any]:
    """Metadata of the enhanced image; what varies from run to run is in ``Runtime``.

    An image of a contrast that the weights do not know says that it is the baseline, and nothing of draws.
    """
    made, words = is_enhanced(spec, contrast), f"Low field made high-field-like by {spec.method}"
    if not made:
        words = f"{_baseline(provenance)}, not enhanced: no weights of {spec.method} know {contrast}"
    content = {
        **common,
        "Description": words,
        "Enhanced": made,
        "Synthetic": spec.synthetic and made,
        "Notice": NOTICE,
        "Method": spec.method,
        "MethodSettings": dict(provenance["settings"]),
        "Budget": spec.budget,
        "SettingsHash": spec.settings_hash,
        "Seed": spec.seed,
        "Draws": spec.n_samples if made else 1,
        "Sloppy": spec.sloppy,
        "Records": provenance.get("records", []),
        "Warnings": provenance.get("warnings", []),
        "PackageVersions": software_versions(),
        "Runtime": {**provenance["Runtime"], "Device": spec.device},
    }
    if content["Synthetic"]:
        content["TargetMagneticFieldStrength"] = 3
    return content


def _baseline(provenance: Mapping[str, Any]) -> str:
    """What a contrast without weights is left as: what the network would have been shown, in its own contrast."""
    fused = provenance["settings"].get("fusion", "mean") == "mean"
    return "Plain mean of the low-field stacks" if fused else "Super-resolved low field (fusion sr)"


def software_versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    from importlib.metadata import version

    names = ("bids_lfenhance", "torch", "SimpleITK", "numpy", "scipy", "nibabel", "nipype", "pybids", "scikit-image")
    return {name: version(name) for name in names}
