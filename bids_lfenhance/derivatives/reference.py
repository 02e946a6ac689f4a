"""Writing the high-field session a low-field session is compared with."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..bids.scans import Scan
from ..bids.sessions import LowFieldSession
from ..bids.sidecars import bids_uri
from ..config import RunSpec
from ..imaging.field_of_view import without_cut
from ..imaging.nifti import ALIGNED, SCANNER
from ..imaging.volume import Volume
from .files import REGION_COLUMNS, Rows, write_image, write_labels, write_rigid
from .layout import fixed_contrast, reference_layout
from .sidecars import BRAIN, grid_metadata, label_metadata, raw_sources, regions_metadata


def write_reference(
    session: LowFieldSession,
    spec: RunSpec,
    volume: Volume,
    labels: Mapping[str, np.ndarray],
    volumes: Mapping[str, Rows],
    qc: Mapping[str, Any],
    quality: Mapping[str, Any],
    regions: Mapping[str, np.ndarray] | None = None,
    region_volumes: Mapping[str, Rows] | None = None,
    seen: np.ndarray | None = None,
) -> list[str]:
    """The paths of the high-field session on the canonical grid.

    ``seen`` (X, Y, Z) bool: what it shows, if its field of view cuts the brain; what is cut has no volume.
    """
    files, grid = reference_layout(session, spec), volume.grid

    def kept(rows: Mapping[str, Rows], of: Mapping[str, np.ndarray], contrast: str) -> Rows:
        return rows[contrast] if seen is None else without_cut(rows[contrast], of[contrast], seen)

    fixed, poses = fixed_contrast(session), qc.get("Transforms", {})
    for contrast in volume.contrasts:
        words, frame = grid_metadata(spec), SCANNER
        if contrast != fixed:
            words, frame = grid_metadata(spec, session), ALIGNED
            write_rigid(files[f"xfm/{contrast}"], np.array(poses.get(contrast, np.eye(4))))
        about = words | {
            "Description": "High field, bias-corrected, on the canonical grid",
            "SkullStripped": bool(quality.get("SkullStripped", False)),
            "MagneticFieldStrength": _scans(session, contrast)[0].tesla,
            "Sources": raw_sources(_scans(session, contrast)[:1], spec.bids_dir),
            "Warnings": list(qc.get("Warnings", [])),
        }
        image = files[f"preproc/{contrast}"]
        write_image(image, volume.channel(contrast), grid, frame, about)
        source = words | {"Sources": [bids_uri(image, spec.out_dir, "")]}
        pair = files[f"tissue/{contrast}"], files[f"tissue_table/{contrast}"]
        tissue = source | label_metadata("tissue", "high field", contrast)
        write_labels(pair, labels[contrast], kept(volumes, labels, contrast), grid, frame, tissue)
        if regions and region_volumes:
            source |= label_metadata("regions", "high field", contrast) | regions_metadata(spec)
            pair = files[f"regions/{contrast}"], files[f"regions_table/{contrast}"]
            rows = kept(region_volumes, regions, contrast)
            write_labels(pair, regions[contrast], rows, grid, frame, source, REGION_COLUMNS)
    found_in = _scans(session, str(quality.get("Contrast", fixed)))[:1]
    mask = {"Description": BRAIN, "Type": "Brain", "Sources": raw_sources(found_in, spec.bids_dir)}
    write_image(files["mask"], volume.brain, grid, SCANNER, grid_metadata(spec) | mask | {"Quality": dict(quality)})
    return [str(path) for path in files.values()]


def _scans(session: LowFieldSession, contrast: str) -> list[Scan]:
    return [scan for scan in session.reference if scan.contrast == contrast]
