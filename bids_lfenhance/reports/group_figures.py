"""Figures of a cohort: one dot per subject. Drawn on figures of their own (Agg), as PNG and SVG."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..evaluation.agreement import bland_altman
from ..evaluation.cohort import BASELINE, HIGH, gathered, paired, sessions_of, subject_values
from .tables import HEADLINE, PRIMARY, metric_name

COLOURS = ("#56667a", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
"""Low field, then the methods: from Okabe and Ito's palette."""

TITLES = {
    "bland-altman": "Bland–Altman plots against high field",
    "volumes": "Volumes against high field",
    "retest": "Test–retest",
}
"""What the beginning of a figure's name stands for."""

DPI = 110
ROW_INCHES, COLUMN_INCHES = 2.3, 3.1

Rows = Sequence[Mapping[str, Any]]


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


def metric_figure(rows: Rows, methods: Sequence[str]) -> Figure | None:
    """Headline metrics under the deciding protocol: a line per subject from low field to each method."""
    shown = [row for row in rows if row["protocol"] == PRIMARY and row["region"] == "brain"]
    cells = gathered(shown, ("contrast", "metric", "image"))
    contrasts = list(dict.fromkeys(contrast for contrast, _, _ in cells))
    if not contrasts:
        return None
    canvas, grid = _grid(len(HEADLINE), len(contrasts))
    images = (BASELINE, *methods)
    session = sessions_of(shown)[0]
    for line, metric in zip(grid, HEADLINE, strict=True):
        for axes, contrast in zip(line, contrasts, strict=True):
            columns = [subject_values(cells.get((contrast, metric, image), {}), session) for image in images]
            _dots(axes, columns)
            axes.set_xticks(range(len(images)), [name_of(image) for image in images], size=8)
            axes.set_title(contrast, size=10) if metric == HEADLINE[0] else None
        line[0].set_ylabel(metric_name(metric) + (", dB" if metric == "psnr" else ""))
    caption = (
        "One dot per subject, a grey line joins a subject's images; black: mean ± SD over subjects. Protocol "
        f"{PRIMARY}, inside the brain; low field is the plain mean of the stacks."
    )
    return _finished(canvas, "metrics", "Image quality against high field", caption)


def _dots(axes: Any, columns: Sequence[Mapping[str, float]]) -> None:
    from matplotlib.collections import LineCollection

    people = sorted({subject for column in columns for subject in column})
    faint = max(0.12, min(0.8, 8 / max(len(people), 1)))
    lines = [[(i, column[subject]) for i, column in enumerate(columns) if subject in column] for subject in people]
    axes.add_collection(LineCollection(lines, colors="#9aa5b1", linewidths=0.7, alpha=faint, zorder=1))
    for i, column in enumerate(columns):
        values = np.array(list(column.values()))
        axes.scatter(np.full(values.size, i), values, s=13, color=COLOURS[i % len(COLOURS)], alpha=0.75, lw=0, zorder=2)
        if values.size > 1:
            axes.errorbar(
                i + 0.17, values.mean(), values.std(ddof=1), fmt="o", ms=4, color="black", capsize=3, zorder=3
            )
    axes.set_xlim(-0.4, len(columns) - 0.4)


def volume_figures(rows: Rows, methods: Sequence[str]) -> list[Figure]:
    """Per contrast: Bland–Altman plots and volumes, both against high field; a row of axes per region."""
    cells = gathered(rows, ("contrast", "name", "image"), "volume_mm3")
    found = []
    for contrast in dict.fromkeys(key[0] for key in cells):
        session = sessions_of(rows)[0]
        panels = {
            (name, image): paired(own, cells.get((contrast, name, HIGH), {}), session)[:2]
            for (of, name, image), own in cells.items()
            if of == contrast and image != HIGH
        }
        images = [i for i in (BASELINE, *methods) if any(key[1] == i and v[0].size for key, v in panels.items())]
        if not images:
            continue
        titles = [name_of(image) for image in images]
        caption = (
            f"{contrast}. One dot per subject; solid: bias, dashed: limits of agreement (bias ± 1.96 SD), shaded: 95 % "
            "intervals. Zero is perfect agreement. The plots of a region share their scale."
        )
        found.append(_panels(panels, images, titles, _bland_altman, f"bland-altman_{contrast}", caption))
        caption = f"{contrast}. One dot per subject; the line is equality."
        found.append(_panels(panels, images, titles, _scatter, f"volumes_{contrast}", caption))
    return found


def retest_figures(rows: Rows, methods: Sequence[str]) -> list[Figure]:
    """Per contrast: Bland–Altman plots of the second low-field session against the first."""
    labels = [label for label in sessions_of(rows) if label != "all"][:2]
    found: list[Figure] = []
    if len(labels) < 2:
        return found
    first, second = (
        gathered([r for r in rows if r["session"] == s], ("contrast", "name", "image"), "volume_mm3") for s in labels
    )
    for contrast in dict.fromkeys(key[0] for key in second):
        panels = {}
        for key in (k for k in second if k[0] == contrast and k[2] != HIGH):
            before, after = subject_values(first.get(key, {}), labels[0]), subject_values(second[key], labels[1])
            both = [subject for subject in after if subject in before]
            panels[key[1:]] = (np.array([after[s] for s in both]), np.array([before[s] for s in both]))
        images = [i for i in (BASELINE, *methods) if any(key[1] == i and v[0].size for key, v in panels.items())]
        if images:
            caption = (
                f"{contrast}, session {labels[1]} minus {labels[0]} of the same people. Solid: bias, dashed: limits of "
                "agreement, shaded: 95 % intervals."
            )
            titles = [name_of(image) for image in images]
            found.append(_panels(panels, images, titles, _bland_altman, f"retest_{contrast}", caption))
    return found


def _panels(
    panels: Mapping, images: Sequence[str], titles: Sequence[str], draw: Any, name: str, caption: str
) -> Figure:
    """A grid of regions and images."""
    regions = list(dict.fromkeys(key[0] for key in panels))
    canvas, grid = _grid(len(regions), len(images), sharey=True)
    for line, region in zip(grid, regions, strict=True):
        for number, (axes, image) in enumerate(zip(line, images, strict=True)):
            values, reference = panels.get((region, image), (np.array([]), np.array([])))
            draw(axes, values / 1000, reference / 1000, COLOURS[number % len(COLOURS)])
            if region == regions[0]:
                axes.set_title(titles[number], size=10)
            if region == regions[-1]:
                axes.set_xlabel("mean of both, mL" if draw is _bland_altman else "high field, mL", size=9)
        line[0].set_ylabel(f"{region}\n" + ("difference, mL" if draw is _bland_altman else "mL"), size=9)
    return _finished(canvas, name, TITLES[name.partition("_")[0]], caption)


def _bland_altman(axes: Any, values: np.ndarray, reference: np.ndarray, colour: str) -> None:
    axes.axhline(0, color="#b9c4cf", lw=0.8)
    axes.scatter((values + reference) / 2, values - reference, s=15, color=colour, alpha=0.75, lw=0)
    if values.size > 1:
        limits = bland_altman(values, reference)
        for line, style in ((limits.bias, "-"), (limits.lower, "--"), (limits.upper, "--")):
            axes.axhline(line.value, color=colour, lw=1.1, ls=style)
            axes.axhspan(line.low, line.high, color=colour, alpha=0.12, lw=0)


def _scatter(axes: Any, values: np.ndarray, reference: np.ndarray, colour: str) -> None:
    axes.scatter(reference, values, s=15, color=colour, alpha=0.75, lw=0)
    if values.size:
        ends = [min(values.min(), reference.min()), max(values.max(), reference.max())]
        axes.plot(ends, ends, color="#56667a", lw=0.9)


def _grid(rows: int, columns: int, sharey: bool = False) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    size = (max(COLUMN_INCHES * columns + 0.6, 4.6), ROW_INCHES * rows + 0.4)
    canvas = Canvas(figsize=size, facecolor="white", layout="constrained")
    FigureCanvasAgg(canvas)
    grid = canvas.subplots(rows, columns, squeeze=False, sharey="row" if sharey else False)
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return canvas, grid


def _finished(canvas: Any, name: str, title: str, caption: str) -> Figure:
    import matplotlib

    content = []
    canvas.get_layout_engine().execute(canvas)
    canvas.set_layout_engine("none")  # laid out once, not again for each format
    for kind in ("png", "svg"):
        buffer = io.BytesIO()
        about = {"Date": None} if kind == "svg" else {"Software": None}
        with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
            canvas.savefig(buffer, format=kind, dpi=DPI, metadata=about)
        content.append(buffer.getvalue())
    return Figure(name, title, caption, *content)
