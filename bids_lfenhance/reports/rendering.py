"""Pictures from arrays: windows, slices, colours, sheets of slices, printed figures. Pure: arrays in, bytes out."""

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._version import __version__
from ..data import data_path, read_text

AXES = {"axial": 2, "coronal": 1, "sagittal": 0}
"""Plane → the voxel axis (of an RAS image) that its slices are counted along."""

EDGE_COLOUR = (255, 96, 0)
TISSUE_COLOURS = {"WM": (255, 176, 0), "GM": (86, 180, 233), "mask": (0, 200, 130)}
"""Colours of the outlines, from Okabe and Ito's palette: distinct with every kind of colour vision, and on grey."""

UNKNOWN_COLOUR = (70, 84, 128)
"""Where a map has no value: a colour that is in none of the scales."""

DIMMED = 0.6
"""Brightness of the anatomy under a map that covers little of it, so that dark colours are seen."""

LIKENESS = 1.6

Window = tuple[float, float]


@dataclass(frozen=True)
class Tile:
    """One picture of a figure: ``pixels`` (rows, cols) or (rows, cols, 3) uint8; ``outlines`` (mask, RGB) on top."""

    pixels: np.ndarray
    outlines: tuple[tuple[np.ndarray, tuple[int, int, int]], ...] = ()


@dataclass(frozen=True)
class Scale:
    """A colour scale: the map's name, its limits in ``unit``, and the value below which nothing is painted."""

    colours: str
    limits: Window
    unit: str
    threshold: float | None = None


def slice_range(mask: np.ndarray, plane: str) -> tuple[int, ...]:
    """The slices in the middle 97 % of a mask (X, Y, Z) bool, so that a stray voxel adds none."""
    sizes = mask.sum(axis=tuple(other for other in range(3) if other != AXES[plane]), dtype=float)
    if not sizes.any():
        sizes[:] = 1
    first, last = np.searchsorted(np.cumsum(sizes) / sizes.sum(), (0.015, 0.985))
    return tuple(range(int(first), int(last) + 1))


def plane_slice(volume: np.ndarray, plane: str, index: int) -> np.ndarray:
    """(rows, cols) of an RAS volume as it is drawn: superior or anterior up, the person's left on the left.

    >>> volume = np.zeros((2, 3, 4)); volume[1, 2, 3] = 1
    >>> plane_slice(volume, "axial", 3)[0, 1], plane_slice(volume, "sagittal", 1)[0, 2]
    (np.float64(1.0), np.float64(1.0))
    """
    where: list[int | slice] = [slice(None)] * 3
    where[AXES[plane]] = index
    return volume[tuple(where)].T[::-1]


def shared_windows(values: Mapping[str, np.ndarray]) -> dict[str, Window]:
    """Display limits by name: images whose bright ends differ by less than ``LIKENESS`` times share one window.

    ``values`` are the intensities inside the brain. A window goes from zero (or the 0.5th percentile, if negative) to
    the highest 99.7th percentile of those that share it: images in the same units are shown alike, others each fully.
    """
    ends = {
        n: np.minimum(np.percentile(v, (0.5, 99.7)), (0, np.inf)) if v.size else np.array([0.0, 1.0])
        for n, v in values.items()
    }
    groups: list[list[str]] = []
    for name, (_, top) in ends.items():
        for group in groups:
            first = max(float(ends[group[0]][1]), 1e-9)
            if 1 / LIKENESS < max(float(top), 1e-9) / first < LIKENESS:
                group.append(name)
                break
        else:
            groups.append([name])
    windows: dict[str, Window] = {}
    for group in groups:
        low, high = min(float(ends[n][0]) for n in group), max(float(ends[n][1]) for n in group)
        windows |= dict.fromkeys(group, (low, high if high > low else low + 1.0))
    return {name: windows[name] for name in values}


def grey(image: np.ndarray, window: Window) -> np.ndarray:
    """The image between the limits of the window as uint8, same shape."""
    low, high = window
    return (np.clip((image - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def colour_table(name: str) -> np.ndarray:
    """(256, 3) uint8: a matplotlib colour map."""
    import matplotlib

    return (matplotlib.colormaps[name](np.arange(256))[:, :3] * 255).round().astype(np.uint8)


def overlay_map(anatomy: np.ndarray, values: np.ndarray, where: np.ndarray, scale: Scale) -> np.ndarray:
    """(rows, cols, 3) uint8: values in colour over a grey image, inside the mask ``where``; NaN is flat."""
    table = colour_table(scale.colours)
    ground = anatomy if scale.threshold is None else (anatomy * DIMMED).astype(np.uint8)
    rgb = np.repeat(ground[..., None], 3, axis=-1)
    low, high = scale.limits
    shown = where if scale.threshold is None else where & (values >= scale.threshold)
    index = (np.clip((np.nan_to_num(values) - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    rgb[shown] = table[index[shown]]
    rgb[where & np.isnan(values)] = UNKNOWN_COLOUR
    return rgb


def overlay_labels(ground: np.ndarray, labels: np.ndarray, colours: np.ndarray, strength: float = 0.45) -> np.ndarray:
    """(rows, cols, 3) uint8: labels (rows, cols) in their ``colours`` (256, 3) over a grey picture (rows, cols)."""
    rgb = np.repeat(ground[..., None], 3, axis=-1).astype(np.float32)
    labelled = labels > 0
    rgb[labelled] += strength * (colours[labels[labelled]] - rgb[labelled])
    return np.asarray(rgb.round().astype(np.uint8))


def colour_stops(name: str) -> list[str]:
    """Nine colours of a map from low to high as CSS words, for a gradient."""
    table = colour_table(name)
    return ["#{:02x}{:02x}{:02x}".format(*table[i]) for i in np.linspace(0, 255, 9).astype(int)]


def nice_limit(value: float) -> float:
    """The next round number (1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten) at or above a positive value.

    >>> [nice_limit(v) for v in (0.13, 4.2, 77)]
    [0.15, 5.0, 80.0]
    """
    if not value > 0 or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
    return round(next(step for step in steps if step * power >= value * (1 - 1e-9)) * power, 12)


def columns_of(count: int) -> int:
    """How many slices stand side by side in a sheet of ``count``."""
    return max(1, math.ceil(math.sqrt(count)))


def mosaic(volume: np.ndarray) -> np.ndarray:
    """All axial slices of a volume (X, Y, Z[, 3]) uint8 side by side, row after row: the page cuts every plane from it.

    (rows · Y, columns · X[, 3]); each slice as ``plane_slice`` draws it, ``columns_of(Z)`` in a row.
    """
    from skimage.util import montage

    slices = volume[:, ::-1].swapaxes(0, 2)
    across = columns_of(len(slices))
    colours: dict[str, Any] = {"fill": [0] * volume.shape[3], "channel_axis": 3} if volume.ndim == 4 else {"fill": 0}
    return np.asarray(montage(slices, grid_shape=(-(-len(slices) // across), across), **colours))


def encode_webp(volume: np.ndarray, quality: int) -> bytes:
    """The sheet of an image (X, Y, Z) or (X, Y, Z, 3) uint8 as WebP."""
    return _encoded(mosaic(volume), "WEBP", quality=quality, method=1)


def encode_png(labels: np.ndarray) -> bytes:
    """The sheet of labels (X, Y, Z) uint8 as PNG, which keeps them."""
    return _encoded(mosaic(labels), "PNG")


def encode_thumbnail(picture: np.ndarray, height: int) -> bytes:
    """A grey picture (rows, cols) uint8 as a JPEG of so many rows."""
    from PIL import Image

    width = round(picture.shape[1] * height / picture.shape[0])
    small = Image.fromarray(np.ascontiguousarray(picture)).resize((width, height))
    return _encoded(np.asarray(small), "JPEG", quality=70)


def _encoded(pixels: np.ndarray, kind: str, **words: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind, **words)
    return buffer.getvalue()


def edges(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(rows·2, cols·2) bool: edges of a slice (rows, cols) inside a region, thin lines on the enlarged picture."""
    from scipy import ndimage
    from skimage.feature import canny

    large = ndimage.zoom(image.astype(np.float32), 2, order=1)
    region = ndimage.zoom(where.astype(np.uint8), 2, order=0).astype(bool)
    if not region.any():
        return region
    spread = float(np.ptp(np.percentile(large[region], (2, 98)))) or 1.0
    lines = canny(large / spread, 3, low_threshold=0.05, high_threshold=0.12, mask=region)
    return ndimage.binary_dilation(lines, np.ones((2, 2)))


def with_edges(picture: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """(rows·n, cols·n, 3) uint8: a grey picture (rows, cols) at the size of the lines, these in colour on it."""
    from scipy import ndimage

    enlarge = lines.shape[0] // picture.shape[0]
    large = ndimage.zoom(picture.astype(np.float32), enlarge, order=1).clip(0, 255).astype(np.uint8)
    rgb = np.repeat(large[..., None], 3, axis=-1)
    rgb[lines] = EDGE_COLOUR
    return rgb


def sheet_figure(
    rows: Sequence[Sequence[Tile]],
    row_names: Sequence[str],
    column_names: Sequence[str] = (),
    scales: Mapping[int, Scale] | None = None,
    inches: float = 10.0,
) -> bytes:
    """A JPEG for print: rows of tiles on white with their names; row ``n`` has a colour bar if ``scales`` has one.

    Drawn on a figure of its own (Agg), so no state of pyplot is touched.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scales = scales or {}
    aspects = [sum(t.pixels.shape[1] / t.pixels.shape[0] for t in row) for row in rows]
    left, right, top = 0.028, 0.075 if scales else 0.004, 0.24 if column_names else 0.02
    heights = [inches * (1 - left - right) / aspect for aspect in aspects]
    gap = 0.05
    total = sum(heights) + gap * (len(rows) - 1) + top + 0.02
    figure = Figure(figsize=(inches, total), dpi=120, facecolor="white")
    FigureCanvasAgg(figure)
    y = total - top
    for number, (row, height) in enumerate(zip(rows, heights, strict=True)):
        y -= height
        middles = _draw_row(figure, row, (left, y / total, 1 - left - right, height / total))
        middle = (y + height / 2) / total
        figure.text(left * 0.42, middle, row_names[number], rotation=90, ha="center", va="center", size=9)
        for x, name in zip(middles, column_names if number == 0 else (), strict=False):
            figure.text(x, 1 - 0.5 * top / total, name, ha="center", va="center", size=9)
        if number in scales:
            bar = (1 - right + 0.012, (y + 0.08 * height) / total, 0.013, 0.84 * height / total)
            _draw_bar(figure, scales[number], bar)
        y -= gap
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpg", pil_kwargs={"quality": 80, "optimize": True, "subsampling": 0})
    return buffer.getvalue()


def _draw_row(figure: "object", row: Sequence[Tile], place: tuple[float, float, float, float]) -> list[float]:
    """Draws the tiles; returns where the middle of each lies."""
    (x, y, width, height), middles = place, []
    whole = sum(tile.pixels.shape[1] / tile.pixels.shape[0] for tile in row)
    for tile in row:
        share = width * tile.pixels.shape[1] / tile.pixels.shape[0] / whole
        axes = figure.add_axes((x, y, share - 0.003, height))  # type: ignore[attr-defined]
        axes.imshow(tile.pixels, cmap="gray", vmin=0, vmax=255, interpolation="bicubic", aspect="auto")
        for mask, colour in tile.outlines:
            if mask.any() and not mask.all():
                axes.contour(mask, [0.5], colors=[tuple(c / 255 for c in colour)], linewidths=0.9)
        axes.set_axis_off()
        middles.append(x + share / 2)
        x += share
    return middles


def _draw_bar(figure: "object", scale: Scale, place: tuple[float, float, float, float]) -> None:
    axes = figure.add_axes(place)  # type: ignore[attr-defined]
    axes.imshow(colour_table(scale.colours)[::-1, None], aspect="auto", extent=(0, 1, *scale.limits))
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_ylabel(scale.unit, size=8)
    axes.tick_params(labelsize=7, length=2)
    if scale.threshold is not None:
        axes.axhline(scale.threshold, color="white", linewidth=1.2)


def render(
    template: str,
    *,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    filters: Mapping[str, Callable] | None = None,
    **content: Any,
) -> str:
    """The HTML text of a page; every string of the content is escaped, a name that is not there is an error.

    ``styles`` and ``scripts`` are our own files, put into the page as they are.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    options: dict[str, Any] = {"autoescape": True, "undefined": StrictUndefined}
    environment = Environment(loader=FileSystemLoader(data_path("")), trim_blocks=True, lstrip_blocks=True, **options)
    environment.filters |= filters or {}
    style, script = (Markup("".join(map(read_text, files))) for files in (styles, scripts))
    own = {"version": __version__, "style": style, "script": script}
    return environment.get_template(template).render(own, **content)


def data_uri(content: bytes) -> str:
    """The picture as a ``data:`` address; its kind is read from its first bytes."""
    kind = {b"\x89PNG": "png", b"RIFF": "webp"}.get(content[:4], "jpeg")
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
