"""From the images of one session to what the page shows: sprites for the screen, figures for print and disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..bids.atomic import atomic_write
from ..config import MADE_MAPS
from ..imaging.grid import Box, Grid, box_of, resample
from . import rendering as fig
from .collect import Channel, Output, Session, Tissue, load
from .tables import band_limit

SLICES, FEWEST, SLICES_IN_ALL = 15, 7, 48
"""Slices per plane that can be scrolled through, at most and at least, and over all contrasts and sessions of a page:
two sessions of two contrasts then stay below 12 MB."""

MARGIN = 10
"""Voxels around the brain that a picture shows."""

RISK_THRESHOLD = 2.0
"""Noise units below which a residual is what noise does and is not painted, where the sidecar names no threshold."""

CALMED = 1.0
"""σ in voxels of the smoothing, in 3D, before edges are sought: at low field, noise has edges too."""

_CHOICE = (("axial", (0.38, 0.62)), ("coronal", (0.38, 0.62)), ("sagittal", (0.42,)))
"""Slices of a printed figure, as fractions of the way through the brain."""


@dataclass(frozen=True)
class Frame:
    """What all pictures of a session share: the grid, the box they are cut to, the brain in it, the slices."""

    grid: Grid
    box: Box
    mask: np.ndarray
    slices: Mapping[str, tuple[int, ...]]

    def position(self, plane: str, index: int) -> int:
        """Millimetres (RAS+) of a slice of the box along the normal of its plane."""
        axis = fig.AXES[plane]
        return round(self.grid.affine[axis, 3] + self.grid.affine[axis, axis] * (self.box[axis].start + index))


@dataclass(frozen=True)
class ContrastImages:
    """The images of one contrast, cut to the box: keys "low", the labels of the results, "high"."""

    name: str
    images: Mapping[str, np.ndarray]
    windows: Mapping[str, fig.Window]
    std: Mapping[str, np.ndarray]
    risk: Mapping[str, np.ndarray]
    about_risk: Mapping[str, Mapping[str, Any]]
    tissue: Mapping[str, np.ndarray]
    regions: Mapping[str, np.ndarray]
    maps: Mapping[str, Mapping[str, np.ndarray]]
    about_maps: Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass
class Album:
    """Everything drawn for a session; ``sprites`` by key, ``files`` by figure name, ``problems`` as sentences."""

    viewer: dict[str, Any] | None = None
    maps: dict[str, Any] | None = None
    sprites: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    scales: list[dict[str, Any]] = field(default_factory=list)
    windows: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def slices_for(contrasts: int) -> int:
    """Slices per plane on a page that shows so many contrasts, each session's counted.

    >>> [slices_for(n) for n in (1, 2, 4, 6)]
    [15, 15, 12, 8]
    """
    return max(FEWEST, min(SLICES, SLICES_IN_ALL // max(1, contrasts)))


def draw_session(session: Session, names: Mapping[str, str], slices: int = SLICES) -> Album:
    """All pictures of a session; ``names`` says what each image key is called on the page."""
    album = Album()
    frame = _frame(session, slices, album)
    if frame is None:
        return album
    viewer = _viewer(frame, f"{session.name or 'single'}")
    maps = _viewer(frame, viewer["id"])
    for channel in session.channels:
        contrast = _load_channel(channel, frame, album)
        if not contrast.images:
            continue
        viewer["contrasts"].append(_image_panels(contrast, frame, names, viewer["id"], album))
        if panels := _map_panels(contrast, frame, names, viewer["id"], album):
            maps["contrasts"].append({"name": contrast.name, "images": panels})
        _print_comparison(contrast, frame, names, album)
        _print_registration(contrast, frame, album)
        _print_tissue(contrast, frame, names, album)
        _print_regions(contrast, frame, names, album)
        album.windows.append(_window_sentence(contrast, names))
    album.viewer = viewer if viewer["contrasts"] else None
    album.maps = maps if maps["contrasts"] else None
    return album


def _attempt(output: Output | None, grid: Grid | None, album: Album, order: int = 1) -> tuple[np.ndarray, Grid] | None:
    """An image on the grid (its own where none is given), or None and a sentence in the album."""
    if output is None:
        return None
    try:
        data, own = load(output)
    except Exception as error:  # a damaged file raises whatever its reader likes; the page must say so and go on
        album.problems.append(f"{output.path.name} cannot be read ({type(error).__name__}: {error}).")
        return None
    if grid is None or grid == own:
        return data, own
    return resample(data, own.affine, grid, order=order), grid


def _frame(session: Session, slices: int, album: Album) -> Frame | None:
    candidates = [o for c in session.channels for o in (c.low, *c.enhanced.values()) if o is not None]
    first = next((image for o in candidates if (image := _attempt(o, None, Album())) is not None), None)
    if first is None:
        return None
    data, grid = np.nan_to_num(first[0]), first[1]
    brain = _attempt(session.mask, grid, album, order=0)
    mask = brain[0] > 0.5 if brain is not None and (brain[0] > 0.5).any() else data > 0.2 * np.percentile(data, 99)
    box = box_of(mask, MARGIN)
    return Frame(grid, box, mask[box], {plane: fig.slice_indices(mask[box], plane, slices) for plane in fig.AXES})


def _load_channel(channel: Channel, frame: Frame, album: Album) -> ContrastImages:
    def cut(output: Output | None, order: int = 1) -> np.ndarray | None:
        loaded = _attempt(output, frame.grid, album, order)
        return None if loaded is None else loaded[0][frame.box]

    def cut_all(outputs: Mapping[str, Output], order: int = 1) -> dict[str, np.ndarray]:
        return {key: np.nan_to_num(d) for key, output in outputs.items() if (d := cut(output, order)) is not None}

    wanted = {"low": channel.low, **channel.enhanced, "high": channel.high}
    images = cut_all({key: output for key, output in wanted.items() if output is not None})
    windows = fig.shared_windows({key: data[frame.mask] for key, data in images.items()})

    def cut_labels(segmentations: Mapping[str, Tissue], high: Tissue | None) -> dict[str, np.ndarray]:
        outputs = {("low" if key == "preproc" else key): one.output for key, one in segmentations.items()}
        outputs |= {"high": high.output} if high is not None else {}
        return {key: data.astype(np.uint8) for key, data in cut_all(outputs, 0).items()}

    tissue = cut_labels(channel.tissue, channel.tissue_high)
    regions = cut_labels(channel.regions, channel.regions_high)
    about = {label: output.sidecar for label, output in channel.risk.items()}
    risk = {label: data for label, output in channel.risk.items() if (data := cut(output)) is not None}
    own = {label: cut_all(maps) for label, maps in channel.maps.items()}
    about_own = {label: {kind: o.sidecar for kind, o in maps.items()} for label, maps in channel.maps.items()}
    std = cut_all(channel.std)
    return ContrastImages(channel.contrast, images, windows, std, risk, about, tissue, regions, own, about_own)


def _viewer(frame: Frame, name: str) -> dict[str, Any]:
    """The description of a viewer without its images, as the page's script wants it."""
    planes = []
    for plane, indices in frame.slices.items():
        rows, cols = fig.plane_slice(frame.mask, plane, 0).shape
        marks = ("P", "A") if plane == "sagittal" else ("L", "R")
        where = [frame.position(plane, index) for index in indices]
        across = fig.columns_of(len(indices))
        planes.append({"name": plane, "rows": rows, "cols": cols, "across": across, "mm": where, "marks": marks})
    return {"id": name, "planes": planes, "contrasts": []}


def _image_panels(
    contrast: ContrastImages, frame: Frame, names: Mapping[str, str], home: str, album: Album
) -> dict[str, Any]:
    images = []
    for key, data in contrast.images.items():
        entry: dict[str, Any] = {"key": key, "name": names.get(key, key), "sprites": {}, "lines": {}}
        for plane, indices in frame.slices.items():
            name = f"{home}/{contrast.name}/{key}/{plane}"
            tiles = [fig.grey(fig.plane_slice(data, plane, i), contrast.windows[key]) for i in indices]
            album.sprites[name] = fig.sprite(tiles)
            entry["sprites"][plane] = name
            if key in contrast.tissue:
                labels = [fig.plane_slice(contrast.tissue[key], plane, i) for i in indices]
                album.sprites[f"{name}/lines"] = fig.outline_sprite(labels)
                entry["lines"][plane] = f"{name}/lines"
        images.append(entry)
    return {"name": contrast.name, "images": images}


def _map_panels(
    contrast: ContrastImages, frame: Frame, names: Mapping[str, str], home: str, album: Album
) -> list[dict[str, Any]]:
    """The panels beside the enhanced image of every result: standard deviation, risk, the method's own, in colour."""
    panels: list[dict[str, Any]] = []
    for label in [key for key in contrast.images if key not in ("low", "high")]:
        layers = _layers(contrast, frame, label)
        if not layers:
            continue
        sprites = {plane: f"{home}/{contrast.name}/{label}/{plane}" for plane in fig.AXES}
        panels.append({"key": label, "name": names.get(label, label), "sprites": sprites, "lines": {}})
        rows, scales = [_tiles(contrast.images[label], contrast.windows[label], frame)], {}
        for kind, values, scale, about in layers:
            entry: dict[str, Any] = {"key": label + kind, "name": about["name"], "sprites": {}, "lines": {}}
            for plane, indices in frame.slices.items():
                name = f"{home}/{contrast.name}/{label}{kind}/{plane}"
                album.sprites[name] = fig.sprite(
                    [_paint(contrast, frame, label, values, scale, plane, i) for i in indices]
                )
                entry["sprites"][plane] = name
            panels.append(entry)
            scales[len(rows)] = scale
            rows.append([fig.Tile(_paint(contrast, frame, label, values, scale, p, i)) for p, i in _choice(frame)])
            album.scales.append({"contrast": contrast.name, "label": label, "kind": kind, "scale": scale} | about)
        heads = [names.get(label, label), *(about["name"] for *_, about in layers)]
        album.files[f"desc-{label}Maps_{contrast.name}"] = fig.sheet_figure(rows, heads, _columns(frame), scales)
    return panels


def _layers(
    contrast: ContrastImages, frame: Frame, label: str
) -> list[tuple[str, np.ndarray, fig.Scale, dict[str, Any]]]:
    """(kind, values, scale, what is said of them) of the standard deviation, the risk map and the method's own."""
    layers = []
    if label in contrast.std:
        level = float(np.median(contrast.images[label][frame.mask])) or 1.0
        percent = 100 * contrast.std[label] / abs(level)
        inside = percent[frame.mask]
        scale = fig.Scale(
            "viridis", (0.0, fig.nice_limit(float(np.percentile(inside, 99)))), "% of median brain intensity"
        )
        entry = {
            "name": "Standard deviation",
            "median": float(np.median(inside)),
            "high": float(np.percentile(inside, 95)),
        }
        layers.append(("Std", percent, scale, entry))
    if label in contrast.risk:
        risk, about = np.abs(contrast.risk[label]), contrast.about_risk[label]
        known = np.nan_to_num(risk[frame.mask])
        threshold = about.get("Threshold")
        threshold = float(threshold) if isinstance(threshold, int | float) else RISK_THRESHOLD
        limit = max(3 * threshold, fig.nice_limit(float(np.percentile(known, 99.8))))
        scale = fig.Scale("magma", (0.0, limit), "noise units", threshold)
        entry = {"name": "Risk map", "about": about, "band": band_limit(about)}
        layers.append(("Risk", risk, scale, entry))
    return layers + [_own_layer(kind, contrast, frame, label) for kind in contrast.maps.get(label, {})]


def _own_layer(
    kind: str, contrast: ContrastImages, frame: Frame, label: str
) -> tuple[str, np.ndarray, fig.Scale, dict[str, Any]]:
    """A further map of one result, as ``_layers`` has it: what is in the units of the image in per cent."""
    values, about = contrast.maps[label][kind], contrast.about_maps[label][kind]
    unit = str(about.get("Units", "arbitrary units"))
    if kind in MADE_MAPS:
        level = float(np.median(contrast.images[label][frame.mask])) or 1.0
        values, unit = 100 * values / abs(level), "% of median brain intensity"
    inside = values[frame.mask]
    limit = fig.nice_limit(float(np.percentile(np.abs(inside), 99)))
    signed = bool((inside < 0).any())
    scale = fig.Scale("coolwarm" if signed else "magma", (-limit if signed else 0.0, limit), unit)
    statistics = {"median": float(np.median(inside)), "high": float(np.percentile(inside, 95))}
    return kind, values, scale, {"name": f"{kind} map", "about": about} | statistics


def _paint(
    contrast: ContrastImages, frame: Frame, label: str, values: np.ndarray, scale: fig.Scale, plane: str, index: int
) -> np.ndarray:
    anatomy = fig.grey(fig.plane_slice(contrast.images[label], plane, index), contrast.windows[label])
    where = fig.plane_slice(frame.mask, plane, index)
    return fig.painted(anatomy, fig.plane_slice(values, plane, index), where, scale)


def _choice(frame: Frame) -> list[tuple[str, int]]:
    slices = []
    for plane, fractions in _CHOICE:
        indices = frame.slices[plane]
        slices += [(plane, indices[round(fraction * (len(indices) - 1))]) for fraction in fractions]
    return slices


def _columns(frame: Frame) -> list[str]:
    axis = {"axial": "z", "coronal": "y", "sagittal": "x"}
    return [f"{plane}, {axis[plane]} = {frame.position(plane, index)} mm" for plane, index in _choice(frame)]


def _tiles(data: np.ndarray, window: fig.Window, frame: Frame) -> list[fig.Tile]:
    return [fig.Tile(fig.grey(fig.plane_slice(data, plane, index), window)) for plane, index in _choice(frame)]


def _print_comparison(contrast: ContrastImages, frame: Frame, names: Mapping[str, str], album: Album) -> None:
    rows = [_tiles(data, contrast.windows[key], frame) for key, data in contrast.images.items()]
    heads = [names.get(key, key) for key in contrast.images]
    album.files[f"desc-comparison_{contrast.name}"] = fig.sheet_figure(rows, heads, _columns(frame))


def _print_registration(contrast: ContrastImages, frame: Frame, album: Album) -> None:
    """Edges of the low field on the high field, five slices of every plane; nothing where one of them is missing."""
    if "low" not in contrast.images or "high" not in contrast.images:
        return
    from scipy import ndimage

    calm = ndimage.gaussian_filter(contrast.images["low"], CALMED)
    rows = []
    for plane, indices in frame.slices.items():
        tiles = []
        for index in [indices[round(f * (len(indices) - 1))] for f in (0.15, 0.33, 0.5, 0.67, 0.85)]:
            low, where = (fig.plane_slice(volume, plane, index) for volume in (calm, frame.mask))
            ground = fig.grey(fig.plane_slice(contrast.images["high"], plane, index), contrast.windows["high"])
            tiles.append(fig.Tile(fig.with_edges(ground, fig.edges(low, where))))
        rows.append(tiles)
    album.files[f"desc-registration_{contrast.name}"] = fig.sheet_figure(rows, list(frame.slices))


def _print_tissue(contrast: ContrastImages, frame: Frame, names: Mapping[str, str], album: Album) -> None:
    keys = [key for key in contrast.images if key in contrast.tissue]
    if not keys:
        return
    rows = []
    for key in keys:
        row = []
        for plane, index in _choice(frame):
            labels = fig.plane_slice(contrast.tissue[key], plane, index)
            lines = ((labels >= 3, fig.TISSUE_COLOURS["WM"]), (labels >= 2, fig.TISSUE_COLOURS["brain"]))
            ground = fig.grey(fig.plane_slice(contrast.images[key], plane, index), contrast.windows[key])
            row.append(fig.Tile(ground, lines))
        rows.append(row)
    heads = [names.get(key, key) for key in keys]
    album.files[f"desc-tissue_{contrast.name}"] = fig.sheet_figure(rows, heads, _columns(frame))


def _print_regions(contrast: ContrastImages, frame: Frame, names: Mapping[str, str], album: Album) -> None:
    """The regions in colour on every image that has them."""
    keys = [key for key in contrast.images if key in contrast.regions]
    if not keys:
        return
    colours = region_colours()
    rows = [
        [
            fig.Tile(fig.tinted(tile.pixels, fig.plane_slice(contrast.regions[key], plane, index), colours))
            for tile, (plane, index) in zip(
                _tiles(contrast.images[key], contrast.windows[key], frame), _choice(frame), strict=True
            )
        ]
        for key in keys
    ]
    heads = [names.get(key, key) for key in keys]
    album.files[f"desc-regions_{contrast.name}"] = fig.sheet_figure(rows, heads, _columns(frame))


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
    parts = [f"{' and '.join(members)} {low:.4g} to {high:.4g}" for (low, high), members in groups.items()]
    return f"{contrast.name}: {'; '.join(parts)}."


def save_figures(album: Album, folder: Path, head: str) -> dict[str, str]:
    """The name of every figure file written into ``folder``, by figure."""
    written = {}
    for name, content in album.files.items():
        written[name] = f"{head}_{name}.jpg"
        atomic_write(folder / written[name], content)
    return written
