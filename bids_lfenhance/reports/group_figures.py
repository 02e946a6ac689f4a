"""Figures of a cohort as SVG: one dot per subject, which says whose it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..config import CONTRASTS, TOTAL_INTRACRANIAL
from ..evaluation.agreement import BlandAltman, bland_altman, pearson, subject_means
from ..evaluation.cohort import BASELINE
from ..evaluation.protocols import PRIMARY
from ..evaluation.session_pairs import POOLED
from ..evaluation.structures import DEEP, HIGH, has_side
from ..evaluation.subject_values import SubjectValues
from .svg import FAINT, INK, Limits, Plot, limits_of, tick_texts, ticks, whole
from .tables import HEADLINE, metric_name

FEWEST = 3
"""Subjects below which nothing is drawn: a figure would show persons, not a cohort."""

COLOURS = ("#56667a", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
"""Low field, then the methods: from Okabe and Ito's palette."""

MIDDLE, BOLD = 'text-anchor="middle"', 'text-anchor="middle" font-size="13"'
DASHED = 'stroke-dasharray="5 3"'

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Pair:
    """(n,) values of an image and of its reference in mL, means of the sessions; whose; the limits of one session."""

    values: np.ndarray
    reference: np.ndarray
    names: list[str]
    limits: BlandAltman


@dataclass(frozen=True)
class Figure:
    """``name`` of the file without extension, what it shows, and the picture."""

    name: str
    title: str
    caption: str
    svg: str


NAMES = (
    "metrics",
    *(f"{kind}_{contrast}" for kind in ("structures", "bland-altman", "retest") for contrast in CONTRASTS),
)
"""What a figure may be called."""


def name_of(image: str) -> str:
    """What an image is called in figures and tables."""
    return {BASELINE: "Low field", HIGH: "High field"}.get(image, f"Enhanced ({image})")


def colour_of(image: str, images: Sequence[str]) -> str:
    """The colour of an image among all, the baseline first."""
    return COLOURS[list(images).index(image) % len(COLOURS)]


def metric_figure(metrics: SubjectValues, methods: Sequence[str]) -> Figure | None:
    """Headline metrics under the deciding protocol: a line per subject from low field to each method."""
    images, session = (BASELINE, *methods), next(iter(metrics.labels()), "")
    cells = {
        key: metrics.of(own, session)
        for key, own in metrics.cells.items()
        if key[2:4] == (PRIMARY, "brain") and key[4] in HEADLINE
    }
    cells = {key: own for key, own in cells.items() if np.isfinite(own).sum() >= FEWEST}
    contrasts = list(dict.fromkeys(key[0] for key in cells))
    if not contrasts:
        return None
    wide, tall = max(230, 105 * len(images)), 190
    plots = []
    for row, metric in enumerate(HEADLINE):
        for column, contrast in enumerate(contrasts):
            keys = [(contrast, image, PRIMARY, "brain", metric) for image in images]
            table = np.array([cells.get(key, np.full(len(metrics.subjects), np.nan)) for key in keys])
            place = 75 + column * (wide + 65), 28 + row * (tall + 45), wide, tall
            plot = _metric_plot(place, table, metrics.subjects)
            named = metric_name(metric) + (", dB" if metric == "psnr" else "") if column == 0 else ""
            plot.axes([(i, name_of(image)) for i, image in enumerate(images)], _ticks(plot.y), title_y=named)
            if row == 0:
                plot.text(wide / 2, -12, contrast, BOLD)
            plots.append(plot)
    caption = (
        "One dot per subject, a grey line joins a subject's images; black: mean ± SD over subjects. Protocol "
        f"{PRIMARY}, inside the brain; low field is the plain mean of the stacks."
    )
    size = 75 + len(contrasts) * (wide + 65) - 50, 28 + len(HEADLINE) * (tall + 45) - 10
    return _figure("metrics", "Image quality against high field", caption, size, plots)


def _metric_plot(place: tuple[float, float, float, float], table: np.ndarray, subjects: Sequence[str]) -> Plot:
    """``table``: (images, subjects), NaN where there is none."""
    plot = Plot(place, (-0.4, len(table) - 0.4), limits_of(table))
    joined = [[(i, value) for i, value in enumerate(column) if np.isfinite(value)] for column in table.T]
    faint = max(0.12, min(0.8, 8 / max(len(joined), 1)))
    plot.lines([line for line in joined if len(line) > 1], FAINT, 0.8, f'stroke-opacity="{faint:.2f}"')
    for i, values in enumerate(table):
        known = np.isfinite(values)
        own = values[known]
        whose = [f"sub-{name}: {value:.4g}" for name, value in zip(np.array(subjects)[known], own, strict=True)]
        plot.dots(np.full(own.size, i), own, COLOURS[i % len(COLOURS)], whose)
        if own.size > 1:
            mean, sd, x = float(own.mean()), float(own.std(ddof=1)), i + 0.17
            ends = [[(x - 0.03, y), (x + 0.03, y)] for y in (mean - sd, mean + sd)]
            plot.lines([[(x, mean - sd), (x, mean + sd)], *ends], "#000", 1.3)
            plot.dots(np.array([x]), np.array([mean]), "#000", radius=3)
    return plot


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
    wide, tall = 400, 25 * len(names) * max(1, len(images) / 2)
    plots = [
        _structure_plot((185 + i * (wide + 25), 35, wide, tall), names, values, images, title)
        for i, (title, values) in enumerate(panels)
    ]
    plots[0].axes(_ticks(plots[0].x), [(i, name) for i, name in enumerate(names)], panels[0][0])
    for plot, (title, _) in zip(plots[1:], panels[1:], strict=True):
        plot.axes(_ticks(plot.x), (), title)
    for i, image in enumerate(images):
        x, y = 10 + 150 * i, -16
        plots[0].text(x + 8, y, name_of(image))
        plots[0].text(x, y, "●", MIDDLE, colour_of(image, images))
    caption = f"{contrast}. Mean ± SD over subjects of every structure, left and right as one."
    size = 185 + len(panels) * (wide + 25), tall + 80
    return _figure(f"structures_{contrast}", "Every structure against high field", caption, size, plots)


def _structure_plot(
    place: tuple[float, float, float, float], names: Sequence[str], values: Mapping, images: Sequence[str], title: str
) -> Plot:
    ends = [mean + side * np.nan_to_num(sd) for mean, sd in values.values() for side in (-1, 1)]
    plot = Plot(place, limits_of(ends), (len(names) - 0.4, -0.6))
    edges = plot.y
    plot.lines([[(x, y) for y in edges] for x, _ in _ticks(plot.x)], "#e3e8ed")
    if "%" in title and plot.x[0] < 0 < plot.x[1]:
        plot.lines([[(0, y) for y in edges]], INK)
    for number, image in enumerate(images):
        own = [(i, *values[name, image]) for i, name in enumerate(names) if (name, image) in values]
        if own:
            y, mean, sd = np.array(own, float).T
            y = y + 0.62 * ((number + 0.5) / len(images) - 0.5)
            colour, sd = colour_of(image, images), np.nan_to_num(sd)
            plot.lines([[(m - s, v), (m + s, v)] for m, s, v in zip(mean, sd, y, strict=True)], colour, 1.3)
            plot.dots(mean, y, colour, [f"{m:.3g} ± {s:.2g}" for m, s in zip(mean, sd, strict=True)], 3)
    return plot


def agreement_figure(volumes: SubjectValues, contrast: str, seg: str, images: Sequence[str]) -> Figure | None:
    """Bland–Altman plots against high field, a row per image, and below them all images against high field."""
    session = next(iter(volumes.labels()), "")
    panels = {}
    for name in shown_structures(volumes, contrast, seg):
        high = volumes.get(contrast, HIGH, seg, name, "volume_mm3")
        for image in images:
            own = volumes.get(contrast, image, seg, name, "volume_mm3")
            panels[name, image] = _pair(volumes, *volumes.both(own, high, session))
    caption = (
        f"{contrast}, mL. One dot per subject, the mean of its sessions. Upper rows: volume minus high field against "
        "the mean of both; solid: bias, dashed: limits of agreement of a single session (bias ± 1.96 SD), shaded: 95 % "
        "intervals; zero is perfect agreement. Last row: volume against high field; the line is equality, r is "
        "Pearson's."
    )
    return _panels(panels, images, f"bland-altman_{contrast}", "Agreement with high field", caption, True)


def retest_figure(
    pairs: tuple[SubjectValues, SubjectValues], contrast: str, seg: str, images: Sequence[str], pair: str
) -> Figure | None:
    """Bland–Altman plots of the later against the earlier low-field session of a pair of ``session_pairs``."""
    earlier, later, panels = *pairs, {}
    for name in shown_structures(earlier, contrast, seg):
        for image in images:
            first, second = (one.get(contrast, image, seg, name, "volume_mm3") for one in pairs)
            panels[name, image] = _pair(later, *later.both(second, first, pair))
    caption = (
        f"{contrast}, mL, {pair_text(pair)}: second minus first against the mean of both, one dot per subject. Solid: "
        "bias, dashed: limits of agreement, shaded: 95 % intervals."
    )
    return _panels(panels, images, f"retest_{contrast}", "Test–retest", caption, False)


def pair_text(pair: str) -> str:
    """What a pair of sessions is called."""
    return "each person's first and second session" if pair == POOLED else f"sessions {pair}"


def _pair(volumes: SubjectValues, values: np.ndarray, reference: np.ndarray) -> Pair:
    """In mL, of the subjects that have both, from ``SubjectValues.both``."""
    known = np.isfinite(values).any(axis=1)
    values, reference = values[known] / 1000, reference[known] / 1000
    names = [f"sub-{volumes.subjects[i]}" for i in np.flatnonzero(known)]
    return Pair(subject_means(values), subject_means(reference), names, bland_altman(values, reference))


def shown_structures(volumes: SubjectValues, contrast: str, seg: str) -> list[str]:
    """Those with a panel of their own: the deep ones, or all where there are none of them."""
    names = [key[3] for key in volumes.cells if (key[0], key[2]) == (contrast, seg) and not has_side(key[3])]
    present = [name for name in dict.fromkeys(names) if name != TOTAL_INTRACRANIAL]
    return [name for name in DEEP if name in present] or present[: len(DEEP)]


def _panels(
    panels: Mapping[tuple[str, str], Pair], images: Sequence[str], name: str, title: str, caption: str, scatter: bool
) -> Figure | None:
    """A column per structure; a row per image and, where asked for, one of all images against the reference."""
    panels = {key: pair for key, pair in panels.items() if pair.values.size >= FEWEST}
    structures = list(dict.fromkeys(key[0] for key in panels))
    there = [image for image in images if any(key[1] == image for key in panels)]
    if not there:
        return None
    wide, tall, plots = 150, 130, []
    for column, structure in enumerate(structures):
        left = 85 + column * (wide + 52)
        own = {image: panels[structure, image] for image in there if (structure, image) in panels}
        x, y = _shared_limits(list(own.values()))
        for row, image in enumerate(there):
            plot = Plot((left, 30 + row * (tall + 22), wide, tall), x, y)
            last = row == len(there) - 1
            if image in own:
                _bland_altman(plot, own[image], colour_of(image, images))
                below = [(v, word if last else "") for v, word in _ticks(x, 3)]
                words = "mean of both, mL" if last else "", f"{name_of(image)}\ndifference, mL" if column == 0 else ""
                plot.axes(below, _ticks(y), *words)
            if row == 0:
                plot.text(wide / 2, -12, structure.capitalize() if structure.islower() else structure, BOLD)
            plots.append(plot)
        if scatter:
            plots.append(_scatter((left, 30 + len(there) * (tall + 22) + 34, wide, tall), own, images, column == 0))
    rows = len(there) + scatter
    size = 85 + len(structures) * (wide + 52) - 30, 30 + rows * (tall + 22) + 34 * scatter + 20
    return _figure(name, title, caption, size, plots)


def _shared_limits(pairs: Sequence[Pair]) -> tuple[Limits, Limits]:
    """One scale for the plots of a structure, along both axes: a narrower band is then a narrower band."""
    means = [(pair.values + pair.reference) / 2 for pair in pairs]
    ends: list[Any] = [[0.0]]
    for pair in pairs:
        lines = pair.limits.lower, pair.limits.upper
        known = [end for line in lines for end in (line.value, line.low, line.high)]
        ends += [pair.values - pair.reference, [end for end in known if np.isfinite(end)]]
    return limits_of(*means), limits_of(*ends)


def _bland_altman(plot: Plot, pair: Pair, colour: str) -> None:
    plot.across(0)
    for line, style in ((pair.limits.bias, ""), (pair.limits.lower, DASHED), (pair.limits.upper, DASHED)):
        if np.isfinite([line.value, line.low, line.high]).all():
            plot.band(line.low, line.high, colour)
            plot.across(line.value, colour, 1.1, style)
    difference = pair.values - pair.reference
    labels = [f"{name}: {one:+.2f} mL" for name, one in zip(pair.names, difference, strict=True)]
    plot.dots((pair.values + pair.reference) / 2, difference, colour, labels)


def _scatter(
    place: tuple[float, float, float, float], pairs: Mapping[str, Pair], images: Sequence[str], first: bool
) -> Plot:
    x, y = limits_of(*(one.reference for one in pairs.values())), limits_of(*(one.values for one in pairs.values()))
    plot = Plot(place, x, y)
    low, high = max(x[0], y[0]), min(x[1], y[1])
    plot.lines([[(low, low), (high, high)]] if low < high else [], INK, 0.8)
    for number, (image, pair) in enumerate(pairs.items()):
        colour = colour_of(image, images)
        plot.dots(pair.reference, pair.values, colour, pair.names)
        r = pearson(pair.values, pair.reference)[0].value
        if np.isfinite(r):
            plot.text(6, 12 + 14 * number, f"r = {r:.2f}", colour=colour)
    plot.axes(_ticks(x, 3), _ticks(y), "high field, mL", "All images\nvolume, mL" if first else "")
    return plot


def _ticks(limits: Limits, most: int = 4) -> list[tuple[float, str]]:
    values = ticks(*limits, most)
    return list(zip(values, tick_texts(values), strict=True))


def _figure(name: str, title: str, caption: str, size: tuple[float, float], plots: Sequence[Plot]) -> Figure:
    return Figure(name, title, caption, whole(*size, plots, title))
