"""Strips of quality control: a dot per session, which leads to its subject's page; needs no high field."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cohort import NO_SESSION, Cohort
from .group_figures import FEWEST
from .tables import number

MEASURES: Mapping[str, tuple[str, str]] = {
    "snr_min": ("SNR", "lowest of the session's scans"),
    "rotation_max_deg": ("Rotation, °", "largest between stacks"),
    "translation_max_mm": ("Shift, mm", "largest between stacks"),
    "coverage_min": ("Coverage", "smallest share of the brain in a scan's field of view"),
    "mask_ml": ("Brain, mL", "volume of the mask"),
    "confidence_min": ("Confidence", "lowest mean confidence of the regions of an image"),
}
"""Column of ``quality.tsv`` → its title, and what it is."""

FENCE = 1.5
"""Interquartile ranges beyond the quartiles from which a session stands out (Tukey 1977)."""

WIDTH, STEP = 100.0, 1.4
"""Width of a strip, and that of a dot in its units: two nearer than that stand above each other."""


@dataclass(frozen=True)
class Dot:
    """One session: where it is (``x`` 0 to ``WIDTH``; ``level`` 0, 1, −1 …), what it says, its page, if it is far."""

    x: float
    level: int
    text: str
    link: str
    far: bool


@dataclass(frozen=True)
class Strip:
    """One measure of all sessions, sorted; ``low`` and ``high`` are its ends as text."""

    title: str
    meaning: str
    low: str
    high: str
    dots: tuple[Dot, ...]

    @property
    def far(self) -> tuple[Dot, ...]:
        """Sessions that stand out."""
        return tuple(dot for dot in self.dots if dot.far)

    @property
    def height(self) -> int:
        """Levels on either side that dots take."""
        return max(abs(dot.level) for dot in self.dots)


def quality_strips(cohort: Cohort) -> list[Strip]:
    """A strip for each measure that three subjects and more have."""
    strips = []
    for column, (title, meaning) in MEASURES.items():
        rows = [row for row in cohort.quality if row.get(column) is not None]
        if len({row["subject"] for row in rows}) >= FEWEST:
            rows.sort(key=lambda row: row[column])
            values = np.array([row[column] for row in rows], float)
            dots = _dots(rows, values, {name: _page(cohort, name) for name in cohort.subjects})
            strips.append(Strip(title, meaning, number(values[0], 3), number(values[-1], 3), dots))
    return strips


def _page(cohort: Cohort, subject: str) -> str:
    name = f"sub-{subject}.html"
    return name if (cohort.out_dir / name).is_file() else ""


def _dots(rows: Sequence[Mapping[str, Any]], values: np.ndarray, pages: Mapping[str, str]) -> tuple[Dot, ...]:
    span = values[-1] - values[0]
    places = WIDTH * (values - values[0]) / span if span else np.full(values.size, WIDTH / 2)
    levels, far = _levels(places.tolist()), outside(values)
    return tuple(
        Dot(round(x, 2), level, f"{_name(row)}: {number(value, 3)}", pages[row["subject"]], bool(out))
        for x, level, row, value, out in zip(places.tolist(), levels, rows, values.tolist(), far, strict=True)
    )


def _name(row: Mapping[str, Any]) -> str:
    session = "" if row["session"] == NO_SESSION else f" ses-{row['session']}"
    return f"sub-{row['subject']}{session}"


def outside(values: np.ndarray) -> np.ndarray:
    """(n,) bool: which of some values lie beyond Tukey's fences.

    >>> outside(np.array([1.0, 2, 3, 4, 20])).tolist()
    [False, False, False, False, True]
    """
    low, high = np.percentile(values, [25, 75])
    reach = FENCE * (high - low)
    return (values < low - reach) | (values > high + reach)


def _levels(places: Iterable[float]) -> list[int]:
    """The level of each dot, from left to right: the one nearest the middle on which it covers no other.

    >>> _levels([0.0, 0.5, 1.0, 9.0])
    [0, 1, -1, 0]
    """
    last: dict[int, float] = {}
    levels = []
    for x in places:
        level = next(n for n in _outwards() if x - last.get(n, -WIDTH) >= STEP)
        last[level] = x
        levels.append(level)
    return levels


def _outwards() -> Iterable[int]:
    yield 0
    n = 1
    while True:
        yield from (n, -n)
        n += 1
