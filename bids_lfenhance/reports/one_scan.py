"""The page of one scan without a dataset: verdict, pictures, what was measured, how it was made; one HTML file."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..evaluation.thresholds import PURPOSES, explained
from ..evaluation.usable import Usable
from ..imaging.grid import box_of
from . import rendering as fig
from .tables import number, plane_name

TEMPLATE = "scan.html.jinja"

MARGIN = 14
"""Voxels around the brain that the pictures show."""

SLICES = {"axial": (0.3, 0.45, 0.6), "coronal": (0.4, 0.6), "sagittal": (0.4,)}
"""Slices shown, as shares of the way through the brain."""


def page(
    images: Mapping[str, np.ndarray],
    std: np.ndarray,
    mask: np.ndarray,
    *,
    usable: Usable,
    contrast: str,
    scans: Sequence[Mapping[str, Any]],
    std_percent: float | None,
    warnings: Sequence[str],
    provenance: Mapping[str, Any],
) -> str:
    """The HTML text, in which every word from outside is escaped.

    Parameters
    ----------
    images : name → (X, Y, Z) on one RAS grid of 1 mm, the acquired image first
    std, mask : (X, Y, Z) SD of the error of the last image, in its units; the brain, bool
    usable, scans, std_percent, warnings : the verdict, records of the scans, %, sentences
    provenance : of ``Enhanced``
    """
    return fig.render(
        TEMPLATE,
        usable=usable,
        purposes=PURPOSES,
        explained=explained(usable.reasons),
        contrast=contrast,
        filters={"number": number, "plane": plane_name},
        scans=scans,
        std_percent=std_percent,
        std_median=float(np.median(_percent(std, list(images.values())[-1], mask)[mask])) if mask.any() else None,
        warnings=warnings,
        picture=fig.data_uri(picture(images, std, mask)),
        made=[
            (key, f"{value:.4g}" if isinstance(value, float) else value)
            for key, value in provenance.items()
            if isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
        ],
    )


def picture(images: Mapping[str, np.ndarray], std: np.ndarray, mask: np.ndarray) -> bytes:
    """A JPEG: a row for each image, the outline of the brain on the first, and one for the SD of the error in %."""
    box = box_of(mask, MARGIN) if mask.any() else tuple(slice(None) for _ in range(3))
    brain = mask[box]
    cut = {name: np.nan_to_num(image[box]) for name, image in images.items()}
    windows = fig.shared_windows({name: image[brain] for name, image in cut.items()})
    shown = [(plane, _at(brain, plane, share)) for plane, shares in SLICES.items() for share in shares]
    rows: list[list[fig.Tile]] = []
    for name, image in cut.items():
        tiles = [fig.grey(fig.plane_slice(image, plane, index), windows[name]) for plane, index in shown]
        outlines = [((fig.plane_slice(brain, p, i), fig.TISSUE_COLOURS["mask"]),) if not rows else () for p, i in shown]
        rows.append([fig.Tile(tile, lines) for tile, lines in zip(tiles, outlines, strict=True)])
    last = list(cut)[-1]
    percent = _percent(std[box], cut[last], brain)
    top = fig.nice_limit(float(np.percentile(percent[brain], 99))) if brain.any() else 1.0
    scale = fig.Scale("viridis", (0.0, top), "% of median brain intensity")
    rows.append([_painted(cut[last], windows[last], percent, brain, scale, plane, index) for plane, index in shown])
    return fig.sheet_figure(rows, [*cut, "SD of the error"], [plane for plane, _ in shown], {len(rows) - 1: scale})


def _percent(std: np.ndarray, image: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """(X, Y, Z): the SD in % of the median intensity of the brain."""
    return 100 * std / max(float(np.median(image[brain])) if brain.any() else 1.0, 1e-9)


def _painted(
    image: np.ndarray,
    window: fig.Window,
    values: np.ndarray,
    brain: np.ndarray,
    scale: fig.Scale,
    plane: str,
    index: int,
) -> fig.Tile:
    ground, over, where = (fig.plane_slice(volume, plane, index) for volume in (image, values, brain))
    return fig.Tile(fig.overlay_map(fig.grey(ground, window), over, where, scale))


def _at(brain: np.ndarray, plane: str, share: float) -> int:
    """The slice that lies this share of the way through the brain."""
    where = fig.slice_range(brain, plane)
    return where[round(share * (len(where) - 1))]
