"""From the images of one session to its pictures: those that the page shows, and the figures for print and disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..bids.atomic import atomic_write
from . import rendering as fig
from .collect import Session
from .session_images import ContrastImages, Frame, find_frame, load_channel, slice_of_stack
from .tables import number
from .viewer import Layer, Viewer, layers_of, quality_for, weakest_regions

SMOOTHED = 1.0
"""σ in voxels of the smoothing, in 3D, before edges are sought: at low field, noise has edges too."""


THUMBNAIL, THUMBNAIL_PIXELS = "desc-thumbnail", 150
"""Name of the small picture that the page of all subjects shows of an image, and its height."""


@dataclass
class SessionFigures:
    """Everything drawn for a session.

    ``viewer`` the data of the page's script, ``pictures`` by the names it uses; ``files`` by figure name;
    ``scales`` of the maps; ``weakest`` (region, expected error in %) by contrast and label; ``problems`` sentences.
    """

    viewer: dict[str, Any] | None = None
    pictures: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    scales: list[dict[str, Any]] = field(default_factory=list)
    weakest: dict[tuple[str, str], list[tuple[str, float]]] = field(default_factory=dict)
    windows: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def scale(self, contrast: str, label: str, kind: str) -> Mapping[str, Any]:
        """The caption of a map, or nothing."""
        wanted = {"contrast": contrast, "label": label, "kind": kind}
        return next((entry for entry in self.scales if wanted.items() <= entry.items()), {})


def draw_session(session: Session, names: Mapping[str, str], quality: int = quality_for(1)) -> SessionFigures:
    """All pictures of a session; ``names`` says what each image key is called on the page."""
    figures, frame = SessionFigures(), find_frame(session)
    if frame is None:
        return figures
    viewer = Viewer(session.name or "single", frame, quality)
    for channel in session.channels:
        contrast = load_channel(channel, frame, figures.problems)
        if not contrast.images:
            continue
        layers = {label: layers_of(contrast, label, frame.mask) for label in contrast.labels}
        viewer.add(contrast, names, layers)
        for label, own in layers.items():
            figures.weakest[contrast.name, label] = weakest_regions(contrast, label, own)
            for one in own:
                about = {"contrast": contrast.name, "label": label, "kind": one.kind, "name": one.name}
                figures.scales.append(about | {"scale": one.scale} | dict(one.about))
            _print_maps(contrast, frame, label, own, names, figures)
        _thumbnail(contrast, frame, figures)
        _print_comparison(contrast, frame, names, figures)
        _print_alignment(contrast, frame, figures)
        _print_tissue(contrast, frame, names, figures)
        _print_regions(contrast, frame, names, figures)
        figures.windows.append(_window_sentence(contrast, names))
    figures.viewer, figures.pictures = viewer.described(), viewer.pictures
    return figures


def _tiles(data: np.ndarray, window: fig.Window, frame: Frame) -> list[fig.Tile]:
    return [fig.Tile(fig.grey(fig.plane_slice(data, plane, index), window)) for plane, index in frame.choice()]


def _print_maps(
    contrast: ContrastImages,
    frame: Frame,
    label: str,
    layers: list[Layer],
    names: Mapping[str, str],
    figures: SessionFigures,
) -> None:
    """The maps of a result below it, each with its colour bar."""
    if not layers:
        return
    rows, window = [_tiles(contrast.images[label], contrast.windows[label], frame)], contrast.windows[label]
    for layer in layers:
        cut = [
            tuple(
                fig.plane_slice(volume, plane, index) for volume in (contrast.images[label], layer.values, frame.mask)
            )
            for plane, index in frame.choice()
        ]
        rows.append([fig.Tile(fig.overlay_map(fig.grey(i, window), v, m, layer.scale)) for i, v, m in cut])
    heads = [names.get(label, label), *(layer.name for layer in layers)]
    scales = {number: layer.scale for number, layer in enumerate(layers, start=1)}
    figures.files[f"desc-{label}Maps_{contrast.name}"] = fig.sheet_figure(rows, heads, frame.columns(), scales)


def _thumbnail(contrast: ContrastImages, frame: Frame, figures: SessionFigures) -> None:
    """One axial slice of the first result."""
    for label in contrast.labels[:1]:
        data = fig.plane_slice(contrast.images[label], "axial", frame.start("axial"))
        picture = fig.grey(data, contrast.windows[label])
        figures.files[f"{THUMBNAIL}_{contrast.name}"] = fig.encode_thumbnail(picture, THUMBNAIL_PIXELS)


def _print_comparison(
    contrast: ContrastImages, frame: Frame, names: Mapping[str, str], figures: SessionFigures
) -> None:
    rows = {key: _tiles(data, contrast.windows[key], frame) for key, data in contrast.images.items()}
    _print(f"desc-comparison_{contrast.name}", rows, frame, names, figures)


def _print(
    name: str, rows: Mapping[str, list[fig.Tile]], frame: Frame, names: Mapping[str, str], figures: SessionFigures
) -> None:
    """A printed figure of some rows, by the key of their image; none without rows."""
    if rows:
        heads = [names.get(key, key) for key in rows]
        figures.files[name] = fig.sheet_figure([*rows.values()], heads, frame.columns())


def _print_alignment(contrast: ContrastImages, frame: Frame, figures: SessionFigures) -> None:
    """Edges of the fused low field on every scan it was fused from, and on the high field: a row each."""
    choice = frame.choice()
    grounds = {name: [slice_of_stack(one, frame, *place) for place in choice] for name, one in contrast.stacks.items()}
    if "high" in contrast.images:
        grounds["high field"] = [fig.plane_slice(contrast.images["high"], *place) for place in choice]
    if "low" not in contrast.images or not grounds:
        return
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(contrast.images["low"], SMOOTHED)
    inside = [fig.plane_slice(frame.mask, *place) for place in choice]
    lines = [fig.edges(fig.plane_slice(smooth, *place), where) for place, where in zip(choice, inside, strict=True)]
    values = {name: [one[where] for one, where in zip(cut, inside, strict=True)] for name, cut in grounds.items()}
    windows = fig.shared_windows({name: np.concatenate(parts) for name, parts in values.items()})
    rows = [
        [fig.Tile(fig.with_edges(fig.grey(one, windows[name]), drawn)) for one, drawn in zip(cut, lines, strict=True)]
        for name, cut in grounds.items()
    ]
    figures.files[f"desc-registration_{contrast.name}"] = fig.sheet_figure(rows, list(grounds), frame.columns())


def _print_tissue(contrast: ContrastImages, frame: Frame, names: Mapping[str, str], figures: SessionFigures) -> None:
    rows: dict[str, list[fig.Tile]] = {}
    for key in (key for key in contrast.images if key in contrast.tissue):
        row = []
        for plane, index in frame.choice():
            labels = fig.plane_slice(contrast.tissue[key], plane, index)
            brain = fig.plane_slice(frame.mask, plane, index)
            lines = tuple(
                (where, fig.TISSUE_COLOURS[kind])
                for where, kind in ((brain, "mask"), (labels >= 3, "WM"), (labels >= 2, "GM"))
            )
            ground = fig.grey(fig.plane_slice(contrast.images[key], plane, index), contrast.windows[key])
            row.append(fig.Tile(ground, lines))
        rows[key] = row
    _print(f"desc-tissue_{contrast.name}", rows, frame, names, figures)


def _print_regions(contrast: ContrastImages, frame: Frame, names: Mapping[str, str], figures: SessionFigures) -> None:
    """The regions in colour on every image that has them."""
    rows, colours = {}, region_colours()
    for key in (key for key in contrast.images if key in contrast.regions):
        tiles = _tiles(contrast.images[key], contrast.windows[key], frame)
        labels = [fig.plane_slice(contrast.regions[key], *place) for place in frame.choice()]
        pairs = zip(tiles, labels, strict=True)
        rows[key] = [fig.Tile(fig.overlay_labels(tile.pixels, own, colours)) for tile, own in pairs]
    _print(f"desc-regions_{contrast.name}", rows, frame, names, figures)


def region_colours() -> np.ndarray:
    """(256, 3) uint8: the colour of each label, black for what is no region."""
    from ..segmentation.regions import regions

    table = np.zeros((256, 3), np.uint8)
    for region in regions():
        table[region.index] = list(bytes.fromhex(region.colour.removeprefix("#")))
    return table


def _window_sentence(contrast: ContrastImages, names: Mapping[str, str]) -> str:
    """Which images of a contrast are shown in one window, with its limits."""
    groups: dict[fig.Window, list[str]] = {}
    for key, window in contrast.windows.items():
        groups.setdefault(window, []).append(names.get(key, key))
    parts = [f"{' and '.join(members)} {number(low)} to {number(high)}" for (low, high), members in groups.items()]
    return f"{contrast.name}: {'; '.join(parts)}."


def save_figures(figures: SessionFigures, folder: Path, head: str) -> list[str]:
    """The names of the figure files, all written into ``folder``."""
    written = {f"{head}_{name}.jpg": content for name, content in figures.files.items()}
    for name, content in written.items():
        atomic_write(folder / name, content)
    return list(written)
