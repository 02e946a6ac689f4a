"""Single files of the derivative: each lands by atomic rename, its sidecar first."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..bids.atomic import atomic_write
from ..bids.names import sidecar_path
from ..config import CUT, WHOLE
from ..evaluation.volume_error import COLUMNS as ERROR_COLUMNS
from ..imaging.grid import Grid
from ..imaging.nifti import encode_nifti

OURS = {"GeneratedWith": f"bids_lfenhance {__version__}"}
"""In the sidecar of every image, by which a later run tells it from a user's own file."""

Rows = Sequence[Mapping[str, Any]]
"""A table: one mapping per row."""

_VOLUMES = {
    "index": {"Description": "Label in the image", "Format": "integer"},
    "name": {"Description": "Tissue"},
    "volume_mm3": {"Description": f"Volume of the voxels that carry the label; {CUT}", "Units": "mm^3"},
    "volume_soft_mm3": {"Description": "Sum of the posterior times the voxel volume", "Units": "mm^3"},
}

VOLUME_COLUMNS = {**_VOLUMES, **ERROR_COLUMNS}

REGION_COLUMNS = {
    **_VOLUMES,
    "name": {"Description": "Region"},
    "confidence": {"Description": "Mean over the region's voxels of its own posterior, 0 to 1"},
    **ERROR_COLUMNS,
}


def write_image(path: Path, data: np.ndarray, grid: Grid, frame: int, about: Mapping[str, Any]) -> None:
    """Write the sidecar, then the image (X, Y, Z)."""
    write_json(sidecar_path(path), {**about, **OURS})
    atomic_write(path, encode_nifti(data, grid.affine, frame))


def write_labels(
    paths: tuple[Path, Path],
    labels: np.ndarray,
    volumes: Rows,
    grid: Grid,
    frame: int,
    about: Mapping[str, Any],
    columns: Mapping[str, Any] = VOLUME_COLUMNS,
) -> None:
    """Write the one JSON of both, then the table of volumes, then the label image.

    A row that is no label, that of all regions together, goes into the JSON: by its table a program looks labels up.
    """
    image, table = paths
    content = {**columns, **about, **OURS}
    for row in (row for row in volumes if row["index"] is None):
        content[WHOLE] = {key: row.get(key) for key in columns if key != "index"}
    write_json(sidecar_path(image), content)
    atomic_write(table, table_bytes([row for row in volumes if row["index"] is not None], columns))
    atomic_write(image, encode_nifti(labels, grid.affine, frame))


def write_rigid(path: Path, pose: np.ndarray) -> None:
    """Write as ITK text how an image moves to the canonical grid; ``pose`` (4, 4) carries its points, RAS+ mm, there.

    ITK resamples by carrying points the other way, from the fixed (canonical) to the moving space.
    """
    from nitransforms.io.itk import ITKLinearTransform

    atomic_write(path, ITKLinearTransform.from_ras(np.linalg.inv(pose)).to_string(banner=True).encode())


def write_table(path: Path, rows: Rows, columns: Mapping[str, Any]) -> None:
    """Write the data dictionary, then the TSV, its columns in the order of the dictionary."""
    write_json(sidecar_path(path), columns)
    atomic_write(path, table_bytes(rows, columns))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file."""
    atomic_write(path, (json.dumps(plain(content), indent=2, ensure_ascii=False) + "\n").encode())


def table_bytes(rows: Rows, columns: Mapping[str, Any]) -> bytes:
    r"""A TSV as BIDS wants it: ``n/a`` for what is not there, an empty text too; fractions in six digits.

    >>> table_bytes([{"name": "CSF", "volume": 1234567.8, "index": 24}, {"name": ""}], {"name": {}, "volume": {}})
    b'name\tvolume\nCSF\t1.23457e+06\nn/a\tn/a\n'
    """
    text, names = StringIO(), list(columns)
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    table.writerow(names)
    table.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if type(value) is str:  # most of the millions of cells of a large cohort
        return value or "n/a"
    if isinstance(value, (float, np.floating)):
        return "n/a" if math.isnan(value) else f"{value:.6g}"
    return "n/a" if value is None else str(value)


def plain(value: Any) -> Any:
    """Plain JSON: numpy scalars and arrays as numbers and lists, what is not a number as null.

    >>> plain({"a": np.float32(1), "b": (float("nan"), 2)})
    {'a': 1.0, 'b': [None, 2]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
