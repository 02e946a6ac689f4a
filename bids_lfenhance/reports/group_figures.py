"""Figures of a cohort: one dot per subject. Drawn on figures of their own (Agg), as PNG and SVG."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..config import TOTAL_INTRACRANIAL
from ..evaluation.agreement import bland_altman, pearson
from ..evaluation.cohort import BASELINE
from ..evaluation.figures import Figures
from ..evaluation.protocols import PRIMARY
from ..evaluation.structures import DEEP, HIGH, has_side
from .tables import HEADLINE, metric_name

FEWEST = 3
"""Subjects below which nothing is drawn: a figure would show persons, not a cohort."""

COLOURS = ("#56667a", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
"""Low field, then the methods: from Okabe and Ito's palette."""

DPI = 110
ROW_INCHES, COLUMN_INCHES = 2.3, 3.1
SMALL_INCHES = (2.15, 1.95)
"""Width and height of one of many panels."""
LINE_INCHES = 0.26
"""Height of a structure in the figure of all of them."""

Rows = Sequence[Mapping[str, Any]]
Draw = Callable[[Any, Sequence[tuple[np.ndarray, np.ndarray, str]]], None]


@dataclass(frozen=True)
class Figure:
    """``name`` of the file without extension, what it shows, and its bytes in both formats."""

    name: str
    title: str
    caption: str
    png: bytes
    svg: bytes


def name_of(image: str) -> str:
    """What an image is called in figures and tables."""
    return {BASELINE: "Low field", HIGH: "High field"}.get(image, f"Enhanced ({image})")


def colour_of(image: str, images: Sequence[str]) -> str:
    """The colour of an image among all, the baseline first."""
    return COLOURS[list(images).index(image) % len(COLOURS)]


def metric_figure(metrics: Figures, methods: Sequence[str]) -> Figure | None:
    """Headline metrics under the deciding protocol: a line per subject from low field to each method."""
    images, session = (BASELINE, *methods), next(iter(metrics.labels()), "")
    cells = {
        key: own
        for key, own in metrics.cells.items()
        if key[2:4] == (PRIMARY, "brain") and key[4] in HEADLINE and _count(metrics.of(own, session)) >= FEWEST
    }
    contrasts = list(dict.fromkeys(key[0] for key in cells))
    if not contrasts:
        return None
    size = COLUMN_INCHES * len(contrasts) + 0.9, ROW_INCHES * len(HEADLINE) + 0.4
    canvas, grid = _grid(len(HEADLINE), len(contrasts), (max(size[0], 4.6), size[1]), edges=(0.75, 0.1, 0.4, 0.35))
    for line, metric in zip(grid, HEADLINE, strict=True):
        for axes, contrast in zip(line, contrasts, strict=True):
            keys = [(contrast, image, PRIMARY, "brain", metric) for image in images]
            columns = [metrics.of(cells.get(key, metrics.empty()), session) for key in keys]
            _dots(axes, columns)
            axes.set_xticks(range(len(images)), [name_of(image) for image in images], size=8)
            axes.set_title(contrast, size=10) if metric == HEADLINE[0] else None
        line[0].set_ylabel(metric_name(metric) + (", dB" if metric == "psnr" else ""))
    caption = (
        "One dot per subject, a grey line joins a subject's images; black: mean ± SD over subjects. Protocol "
        f"{PRIMARY}, inside the brain; low field is the plain mean of the stacks."
    )
    return _finished(canvas, "metrics", "Image quality against high field", caption)


def _count(values: np.ndarray) -> int:
    return int(np.isfinite(values).sum())


def _dots(axes: Any, columns: Sequence[np.ndarray]) -> None:
    from matplotlib.collections import LineCollection

    table = np.array(columns).T
    table = table[np.isfinite(table).any(axis=1)]  # a subject without high field has nothing to join
    faint = max(0.12, min(0.8, 8 / max(len(table), 1)))
    lines = [[(i, value) for i, value in enumerate(row) if np.isfinite(value)] for row in table]
    lines = [line for line in lines if len(line) > 1]  # none of a subject without high field
    axes.add_collection(LineCollection(lines, colors="#9aa5b1", linewidths=0.7, alpha=faint, zorder=1))
    for i, column in enumerate(columns):
        values = column[np.isfinite(column)]
        axes.scatter(np.full(values.size, i), values, s=13, color=COLOURS[i % len(COLOURS)], alpha=0.75, lw=0, zorder=2)
        if values.size > 1:
            axes.errorbar(
                i + 0.17, values.mean(), values.std(ddof=1), fmt="o", ms=4, color="black", capsize=3, zorder=3
            )
    axes.set_xlim(-0.4, len(columns) - 0.4)


def structure_figure(overlaps: Rows, volumes: Rows, contrast: str, images: Sequence[str]) -> Figure | None:
    """Dice and volume difference of every structure (rows of one session and segmentation), side by side."""
    panels = []
    for rows, columns, title in (
        (overlaps, ("mean", "sd"), "Dice with high field"),
        (volumes, ("difference_percent_mean", "difference_percent_sd"), "Volume difference from high field, %"),
    ):
        values = {
            (row["name"], row["image"]): tuple(row[c] for c in columns)
            for row in rows
            if row["image"] in images and row["n"] >= FEWEST
        }
        if values:
            panels.append((title, values))
    names = [n for n in dict.fromkeys(key[0] for _, values in panels for key in values) if n != TOTAL_INTRACRANIAL]
    if not names:
        return None
    size = 2.1 + 4.4 * len(panels), LINE_INCHES * len(names) * max(1, len(images) / 2) + 0.9
    canvas, grid = _grid(1, len(panels), size, edges=(1.9, 0.15, 0.4, 0.5), gap=(0.25, 0.1))
    for axes, (title, values) in zip(grid[0], panels, strict=True):
        _structures(axes, names, values, images)
        axes.set_xlabel(title, size=9)
        axes.set_yticks(range(len(names)), names if axes is grid[0][0] else [""] * len(names), size=9)
        if "%" in title:
            axes.axvline(0, color="#1d2733", lw=0.9, zorder=1)
    handles, words = grid[0][0].get_legend_handles_labels()
    canvas.legend(handles, words, loc="upper center", ncols=len(images), frameon=False, fontsize=9)
    caption = f"{contrast}. Mean ± SD over subjects of every structure, left and right as one."
    return _finished(canvas, f"structures_{contrast}", "Every structure against high field", caption)


def _structures(axes: Any, names: Sequence[str], values: Mapping, images: Sequence[str]) -> None:
    place = {name: number for number, name in enumerate(names)}
    for number, image in enumerate(images):
        own = [(place[name], *values[name, image]) for name in names if (name, image) in values]
        if own:
            y, mean, sd = np.array(own, float).T
            y = y + 0.62 * ((number + 0.5) / len(images) - 0.5)
            colour = colour_of(image, images)
            axes.errorbar(
                mean, y, xerr=np.nan_to_num(sd), fmt="o", ms=4.5, lw=1.2, color=colour, label=name_of(image), zorder=3
            )
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color="#e3e8ed", lw=0.8)
    axes.tick_params(axis="y", length=0)


def agreement_figure(volumes: Figures, contrast: str, seg: str, images: Sequence[str]) -> Figure | None:
    """Bland–Altman plots against high field, a row per image, and below them all images against high field."""
    session = next(iter(volumes.labels()), "")
    panels = {}
    for name in shown_structures(volumes, contrast, seg):
        high = volumes.get(contrast, HIGH, seg, name, "volume_mm3")
        for image in images:
            own = volumes.get(contrast, image, seg, name, "volume_mm3")
            panels[name, image] = volumes.paired(own, high, session)
    caption = (
        f"{contrast}, mL. One dot per subject. Upper rows: volume minus high field against the mean of both; solid: "
        "bias, dashed: limits of agreement (bias ± 1.96 SD), shaded: 95 % intervals; zero is perfect agreement. Last "
        "row: volume against high field; the line is equality, r is Pearson's."
    )
    return _panels(panels, images, f"bland-altman_{contrast}", "Agreement with high field", caption, True)


def retest_figure(volumes: Figures, contrast: str, seg: str, images: Sequence[str]) -> Figure | None:
    """Bland–Altman plots of the second low-field session against the first."""
    if len(volumes.sessions) < 2:
        return None
    panels = {}
    for name in shown_structures(volumes, contrast, seg):
        for image in images:
            own = volumes.get(contrast, image, seg, name, "volume_mm3")
            both = own[np.isfinite(own[:, 0]) & np.isfinite(own[:, 1])]
            panels[name, image] = both[:, 1], both[:, 0]
    caption = (
        f"{contrast}, mL. Session {volumes.sessions[1]} minus {volumes.sessions[0]} of the same people against the "
        "mean of both. Solid: bias, dashed: limits of agreement, shaded: 95 % intervals."
    )
    return _panels(panels, images, f"retest_{contrast}", "Test–retest", caption, False)


def shown_structures(volumes: Figures, contrast: str, seg: str) -> list[str]:
    """Those with a panel of their own: the deep ones, or all where there are none of them."""
    names = [key[3] for key in volumes.cells if (key[0], key[2]) == (contrast, seg) and not has_side(key[3])]
    present = [name for name in dict.fromkeys(names) if name != TOTAL_INTRACRANIAL]
    return [name for name in DEEP if name in present] or present[: len(DEEP)]


def _panels(
    panels: Mapping, images: Sequence[str], name: str, title: str, caption: str, scatter: bool
) -> Figure | None:
    """A column per structure; a row per image and, where asked for, one of all images against the reference."""
    panels = {key: pair for key, pair in panels.items() if pair[0].size >= FEWEST}
    structures = list(dict.fromkeys(key[0] for key in panels))
    images_there = [image for image in images if any(key[1] == image for key in panels)]
    if not images_there:
        return None
    width, height = SMALL_INCHES
    rows = len(images_there) + scatter
    size = max(4.6, width * len(structures) + 0.7), height * rows + 0.5
    canvas, grid = _grid(rows, len(structures), size, edges=(0.95, 0.1, 0.3, 0.45), gap=(0.5, 0.5))
    for axes_of, structure in zip(grid.T, structures, strict=True):
        axes_of[0].set_title(structure.capitalize() if structure.islower() else structure, size=10)
        drawn = [
            (axes, image) for axes, image in zip(axes_of, images_there, strict=False) if (structure, image) in panels
        ]
        for axes, image in drawn:
            values, reference = panels[structure, image]
            _bland_altman(axes, values / 1000, reference / 1000, colour_of(image, images))
        _share_scales([axes for axes, _ in drawn])
        if scatter:
            for image in images_there:
                values, reference = panels.get((structure, image), (np.array([]), np.array([])))
                _scatter(axes_of[-1], values / 1000, reference / 1000, colour_of(image, images))
            _correlations(axes_of[-1], panels, structure, images_there, images)
            axes_of[-1].set_xlabel("high field, mL", size=8)
        axes_of[len(images_there) - 1].set_xlabel("mean of both, mL", size=8, labelpad=1)
    for axes, image in zip(grid[:, 0], images_there, strict=False):
        axes.set_ylabel(f"{name_of(image)}\ndifference, mL", size=9)
    if scatter:
        grid[-1, 0].set_ylabel("All images\nvolume, mL", size=9)
    return _finished(canvas, name, title, caption)


def _share_scales(axes: Sequence[Any]) -> None:
    """One scale for the plots of a structure, along both axes: a narrower band is then a narrower band.

    Only the lowest plot says what the horizontal one is.
    """
    for ends_of, name in (("get_xlim", "set_xlim"), ("get_ylim", "set_ylim")):
        ends = [getattr(one, ends_of)() for one in axes]
        for one in axes:
            getattr(one, name)(min(low for low, _ in ends), max(high for _, high in ends))
    for one in axes[:-1]:
        one.tick_params(axis="x", labelbottom=False)


def _correlations(axes: Any, panels: Mapping, structure: str, present: Sequence[str], images: Sequence[str]) -> None:
    for number, image in enumerate(present):
        if (structure, image) in panels:
            r = pearson(*panels[structure, image])[0].value
            if np.isfinite(r):
                place = (0.03, 0.97 - 0.11 * number)
                colour = colour_of(image, images)
                axes.text(*place, f"r = {r:.2f}", transform=axes.transAxes, va="top", size=8, color=colour)


def _bland_altman(axes: Any, values: np.ndarray, reference: np.ndarray, colour: str) -> None:
    axes.axhline(0, color="#1d2733", lw=0.7)
    axes.scatter((values + reference) / 2, values - reference, s=13, color=colour, alpha=0.75, lw=0)
    if values.size > 1:
        limits = bland_altman(values, reference)
        for line, style in ((limits.bias, "-"), (limits.lower, "--"), (limits.upper, "--")):
            axes.axhline(line.value, color=colour, lw=1.1, ls=style)
            axes.axhspan(line.low, line.high, color=colour, alpha=0.12, lw=0)


def _scatter(axes: Any, values: np.ndarray, reference: np.ndarray, colour: str) -> None:
    axes.scatter(reference, values, s=13, color=colour, alpha=0.7, lw=0)
    if values.size:
        ends = [min(values.min(), reference.min()), max(values.max(), reference.max())]
        axes.plot(ends, ends, color="#1d2733", lw=0.8)


def _grid(
    rows: int,
    columns: int,
    size: tuple[float, float],
    edges: tuple[float, float, float, float],
    gap: tuple[float, float] = (0.5, 0.3),
) -> tuple[Any, Any]:
    """A canvas and its axes; ``edges`` left, right, top, bottom and ``gap`` between axes in inches: nothing is laid out
    by trial, which takes most of the time.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import MaxNLocator

    canvas = Canvas(figsize=size, facecolor="white")
    FigureCanvasAgg(canvas)
    style = {"xtick.labelsize": 8, "ytick.labelsize": 8, "axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(dict[Any, Any](style)):  # set before, not changed after: a tick is made once
        grid = canvas.subplots(rows, columns, squeeze=False)
    left, right, top, bottom = edges
    inner = (size[0] - left - right - gap[0] * (columns - 1)) / columns
    tall = (size[1] - top - bottom - gap[1] * (rows - 1)) / rows
    canvas.subplots_adjust(
        *(left / size[0], bottom / size[1], 1 - right / size[0], 1 - top / size[1]), gap[0] / inner, gap[1] / tall
    )
    for axes in grid.flat:
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    return canvas, grid


def _finished(canvas: Any, name: str, title: str, caption: str) -> Figure:
    import matplotlib

    content = []
    for kind in ("png", "svg"):
        buffer = io.BytesIO()
        about = {"Date": None} if kind == "svg" else {"Software": None}
        with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
            canvas.savefig(buffer, format=kind, dpi=DPI, metadata=about)
        content.append(buffer.getvalue())
    return Figure(name, title, caption, *content)
