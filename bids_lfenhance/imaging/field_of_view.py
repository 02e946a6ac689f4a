"""The field of view of a session's scans: how much of the head lies in it, and which structures it cuts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from .grid import Grid, apply_affine
from .template import HeadTemplate
from .volume import Stack, Volume, seen_by

BRAIN_DEPTH_MM = 3.0
"""Brain nearer to the template's surface than this does not count as expected: the fit is no more exact."""

CUT_SHARE = 1e-3
"""Share of a structure's voxels on a face of the field of view from which it counts as cut."""

HEAD_ON_FACE_CM2 = 20.0
"""Area of head on the faces of the field of view, the lower one left aside, from which a head counts as cut: a cut nose
or ear has less, a cut vault more."""

WHOLE = 0.98
"""Share of the expected brain in the field of view of high field from which it counts as whole, wherever its mask ends:
a brain that was stripped and then cropped touches the faces."""

BELOW = (2, -1)
"""Axis and sense of the lower face, which necks always reach."""


Field = tuple[tuple[int, ...], np.ndarray]
"""A field of view: shape (3,), and affine (4, 4) voxel → RAS+ mm."""


def seen_in(volume: Volume, contrast: str) -> np.ndarray:
    """(X, Y, Z) bool: where some stack of a contrast saw anything."""
    return seen_by(volume.stacks_of(contrast), volume.grid)


def on_faces(mask: np.ndarray, seen: np.ndarray, grid: Grid, but: Sequence[tuple[int, int]] = ()) -> float:
    """Area, cm², of the part of a mask (X, Y, Z) that lies on the faces of the field of view, also (X, Y, Z) bool.

    The ends of the grid are faces too; ``but`` are (axis, sense) of faces that do not count.
    """
    area = 0.0
    for axis in range(3):
        face = grid.voxel_volume / grid.zooms[axis] / 100
        for sense in {1, -1} - {way for of, way in but if of == axis}:
            area += face * int((mask & seen & ~_neighbour(seen, axis, sense)).sum())
    return area


def _neighbour(seen: np.ndarray, axis: int, sense: int) -> np.ndarray:
    """(X, Y, Z) bool: whether the next voxel along an axis is seen; none is beyond the end."""
    moved = np.roll(seen, -sense, axis=axis)
    end: list[Any] = [slice(None)] * 3
    end[axis] = -1 if sense > 0 else 0
    moved[tuple(end)] = False
    return moved


def cut_labels(labels: np.ndarray, seen: np.ndarray) -> frozenset[int]:
    """The labels of (X, Y, Z) that reach a face of the field of view, or lie beyond it."""
    inner = ndimage.binary_erosion(seen, border_value=0)
    whole, outside = (np.bincount(part.ravel(), minlength=256) for part in (labels, labels[~inner]))
    return frozenset(int(label) for label in np.flatnonzero(outside > CUT_SHARE * whole) if label)


def without_cut(rows: Sequence[Mapping[str, Any]], labels: np.ndarray, seen: np.ndarray) -> list[dict[str, Any]]:
    """The rows of a table of volumes, those of structures that the field of view cuts with None for a volume.

    Where anything is cut, so are structures that were not found (they may lie outside), and the sum of all regions
    (the row without an index).
    """
    cut = cut_labels(labels, seen)
    kept = []
    for row in rows:
        lost = bool(cut) and (row["index"] is None or row["index"] in cut or not row["volume_mm3"])
        kept.append(dict(row) | ({"volume_mm3": None, "volume_soft_mm3": None} if lost else {}))
    return kept


def expected_brain(template: HeadTemplate, affine: np.ndarray) -> np.ndarray:
    """(N, 3) float32 points 4 mm apart, RAS+ mm of the subject: where the template, put there, has brain."""
    index = np.argwhere(template.depth[::2, ::2, ::2] < -BRAIN_DEPTH_MM) * 2.0
    return apply_affine(affine @ template.grid.affine, index).astype(np.float32)


def share_seen(points: np.ndarray, stacks: Sequence[Stack]) -> float:
    """Share of points (N, 3) in the field of view of some stack."""
    return share_within(points, [(stack.data.shape, stack.affine) for stack in stacks])


def share_within(points: np.ndarray, fields: Iterable[Field]) -> float:
    """Share of points (N, 3) in some of the fields of view."""
    seen = np.zeros(len(points), bool)
    for shape, affine in fields:
        index = apply_affine(np.linalg.inv(affine), points)
        seen |= ((index > -0.5) & (index < np.array(shape) - 0.5)).all(axis=1)
    return float(seen.mean()) if len(points) else 0.0


def field_of_scan(qc: Mapping[str, Any], contrast: str) -> Field | None:
    """The field of view of the high-field scan of a contrast, by the quality record of the session; None unrecorded."""
    for scan in qc.get("Scans", []):
        if scan.get("Contrast") == contrast and (field := scan.get("FieldOfView")):
            return tuple(field["Shape"]), np.array(field["Affine"], dtype=np.float64)
    return None
