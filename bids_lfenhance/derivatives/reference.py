"""Writing the high-field session a low-field session is compared with."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..bids.sessions import LowFieldSession
from ..bids.sidecars import bids_uri
from ..config import RunSpec
from ..imaging.field_of_view import without_cut
from ..imaging.nifti import SCANNER
from ..imaging.volume import Volume
from .files import REGION_COLUMNS, Rows, write_image, write_labels
from .layout import reference_layout
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

    words = grid_metadata(spec)
    for contrast in volume.contrasts:
        scans = [scan for scan in session.reference if scan.contrast == contrast]
        about = words | {
            "Description": "High field, bias-corrected, on the canonical grid",
            "SkullStripped": bool(quality.get("SkullStripped", False)),
            "MagneticFieldStrength": scans[0].tesla,
            "Sources": raw_sources(scans[:1], spec.bids_dir),
            "Warnings": list(qc.get("Warnings", [])),
        }
        image = files[f"preproc/{contrast}"]
        write_image(image, volume.channel(contrast), grid, SCANNER, about)
        source = words | {"Sources": [bids_uri(image, spec.out_dir, "")]}
        pair = files[f"tissue/{contrast}"], files[f"tissue_table/{contrast}"]
        tissue = source | label_metadata("tissue", "high field", contrast)
        write_labels(pair, labels[contrast], kept(volumes, labels, contrast), grid, SCANNER, tissue)
        if regions and region_volumes:
            source |= label_metadata("regions", "high field", contrast) | regions_metadata(spec)
            pair = files[f"regions/{contrast}"], files[f"regions_table/{contrast}"]
            rows = kept(region_volumes, regions, contrast)
            write_labels(pair, regions[contrast], rows, grid, SCANNER, source, REGION_COLUMNS)
    mask = words | {"Description": BRAIN, "Type": "Brain", "Sources": about["Sources"], "Quality": dict(quality)}
    write_image(files["mask"], volume.brain, grid, SCANNER, mask)
    return [str(path) for path in files.values()]
