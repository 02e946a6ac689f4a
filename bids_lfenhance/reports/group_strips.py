"""The group page's strips, a dot per session for each measure, and its small pictures, linked to the subjects' pages.

Neither needs high field.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..config import CONTRASTS, TISSUES, TOTAL_INTRACRANIAL
from ..evaluation.structures import with_both_sides
from ..evaluation.usable import WORDS
from .cohort import COMPLETE, NO_SESSION, UNMEASURED, Cohort
from .group_figures import FEWEST
from .rendering import data_uri
from .session_figures import THUMBNAIL
from .tables import number

MEASURES: Mapping[str, tuple[str, str]] = {
    "snr_min": ("SNR", "lowest of the session's scans"),
    "rotation_max_deg": ("Rotation, °", "largest between stacks"),
    "translation_max_mm": ("Shift, mm", "largest between stacks"),
    "coverage_min": ("Coverage", "smallest share of the expected brain in a scan's field of view"),
    "mask_ml": ("Brain, mL", "volume of the mask"),
    "confidence_min": ("Confidence", "lowest mean confidence of the regions of an image"),
}
"""Column of ``quality.tsv`` → its title, and what it is."""

SHOWN_REGIONS = (
    *(TOTAL_INTRACRANIAL, "cerebral cortex", "cerebral white matter", "lateral ventricle"),
    *("thalamus", "hippocampus", "amygdala"),
)
"""Regions with a strip of their own, left and right as one."""

FENCE, FEWEST_FENCED = 1.5, 5
"""Interquartile ranges beyond the quartiles from which a session stands out (Tukey 1977), of so many and more: of fewer
none can lie that far out.
"""

NARROWEST = 0.05
"""Least interquartile range that counts, a share of the median: where half of the sessions are equal it would be 0."""

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
    def few(self) -> bool:
        """Whether there are too few sessions to tell what stands out."""
        return len(self.dots) < FEWEST_FENCED

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
    pages = {name: cohort.page(name) for name in cohort.subjects}
    found = ((about, [row for row in cohort.quality if row.get(of) is not None], of) for of, about in MEASURES.items())
    return [strip for about, rows, of in found if (strip := _strip(about, [(row, row[of]) for row in rows], pages))]


def volume_strips(cohort: Cohort) -> list[Strip]:
    """The volumes of the enhanced images of one contrast: the head's in mL, of what is in it the share in %.

    The contrast and the method are the first with regions, or with tissues where there are none.
    """
    volumes, pages = with_both_sides(cohort.volumes), {name: cohort.page(name) for name in cohort.subjects}
    kinds = ((c, m, seg) for c in CONTRASTS for m in cohort.methods for seg in ("regions", "synthseg", "tissue"))
    measured = {key[:3] for key in volumes.cells}
    of = min((kind for kind in kinds if kind in measured), key=lambda kind: kind[2] == "tissue", default=None)
    if of is None:
        return []
    names = TISSUES if of[2] == "tissue" else SHOWN_REGIONS
    each = {name: volumes.get(*of, name, "volume_mm3") for name in names}
    whole = sum(each.values()) if of[2] == "tissue" else each[TOTAL_INTRACRANIAL]
    image, base = f"{of[0]}, enhanced ({of[1]})", "all tissue" if of[2] == "tissue" else "the intracranial volume"
    strips = []
    for name, values in each.items():
        total = name == TOTAL_INTRACRANIAL
        shown = values / 1000 if total else 100 * values / np.where(whole > 0, whole, np.nan)
        meaning = image if total else f"{image}; share of {base}"
        dots = [
            ({"subject": volumes.subjects[i], "session": volumes.sessions[j]}, float(shown[i, j]))
            for i, j in np.argwhere(np.isfinite(shown)).tolist()
        ]
        strips.append(_strip((f"{name[:1].upper()}{name[1:]}, {'mL' if total else '%'}", meaning), dots, pages))
    return [strip for strip in strips if strip]


def _strip(
    about: tuple[str, str], measured: Sequence[tuple[Mapping[str, Any], float]], pages: Mapping[str, str]
) -> Strip | None:
    """(session, value) of every session as dots; None of fewer than three subjects."""
    if len({row["subject"] for row, _ in measured}) < FEWEST:
        return None
    measured = sorted(measured, key=lambda item: item[1])
    values = np.array([value for _, value in measured], float)
    dots = _dots([row for row, _ in measured], values, pages)
    return Strip(*about, number(values[0], 3), number(values[-1], 3), dots)


@dataclass(frozen=True)
class Thumbnail:
    """An enhanced image, small: its ``data:`` address, what it says, its page, whether it is to look at."""

    picture: str
    text: str
    link: str
    word: str


def thumbnails(cohort: Cohort) -> list[Thumbnail]:
    """One of every enhanced image, those that are not to be looked at first; none of fewer than three subjects."""
    found, looks = [], _looks(cohort)
    for row in cohort.quality:
        session = "" if row["session"] == NO_SESSION else f"_ses-{row['session']}"
        folder = cohort.out_dir / f"sub-{row['subject']}" / "figures"
        for contrast in CONTRASTS:
            path = folder / f"sub-{row['subject']}{session}_{THUMBNAIL}_{contrast}.jpg"
            word = looks.get((row["subject"], row["session"], contrast))
            if word is not None and path.is_file():
                text, page = f"{_name(row)} {contrast}: to look at {word}", cohort.page(row["subject"])
                found.append((row["subject"], Thumbnail(data_uri(path.read_bytes()), text, page, word)))
    if len({subject for subject, _ in found}) < FEWEST:
        return []
    return sorted((one for _, one in found), key=lambda one: -WORDS.index(one.word))


def _looks(cohort: Cohort) -> dict[tuple[str, str, str], str]:
    """(subject, session, contrast) → whether to look at the first enhanced image of those that are on disk."""
    looks: dict[tuple[str, str, str], str] = {}
    for row in cohort.images:
        if row["image"] in cohort.methods and row["status"] in (COMPLETE, UNMEASURED):
            word = row.get("look")
            looks.setdefault((row["subject"], row["session"], row["contrast"]), word if word in WORDS else WORDS[1])
    return looks


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
    """(n,) bool: which of some values lie beyond Tukey's fences; none of few, and none that is nearly the median.

    >>> outside(np.array([1.0, 2, 3, 4, 20])).tolist()
    [False, False, False, False, True]
    """
    low, middle, high = np.percentile(values, [25, 50, 75])
    spread = max(high - low, NARROWEST * abs(middle))
    reach = FENCE * spread if spread and values.size >= FEWEST_FENCED else np.inf
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
