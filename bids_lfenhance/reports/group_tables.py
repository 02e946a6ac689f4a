"""The tables of the group page: rows of the TSVs as cells, each with its text and the figure it is sorted by."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeGuard

from ..evaluation.cohort import BASELINE
from ..evaluation.protocols import PRIMARY
from ..evaluation.structures import HIGH
from ..evaluation.subject_values import ALL
from ..evaluation.thresholds import PURPOSES
from .cohort import COMPLETE, Cohort
from .group_figures import name_of
from .tables import HEADLINE, metric_name, number, signed

Rows = Sequence[Mapping[str, Any]]

SHOWN = (*HEADLINE, "ncc", "nmse", "lpips")
"""Metrics in the table of image quality; the others are in the TSV."""

MOST_DECIMALS = 5
"""Most decimals of a mean and its SD as they are printed."""

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Cell:
    """``text`` as it is read, ``value`` what it is sorted by (nothing: the text), ``style`` a CSS class, ``link``.

    ``note`` stands smaller below the text, in the same style.
    """

    text: str
    value: Any = None
    style: str = ""
    link: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A caption, (title, explanation) of every column, and rows of cells; the first ``text_columns`` hold text.

    ``groups``: (title, number of columns) above the columns, where several belong together.
    """

    caption: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[Cell]]
    text_columns: int = 1
    groups: Sequence[tuple[str, int]] = ()

    @property
    def starts(self) -> set[int]:
        """The columns at which a group begins, but for the first."""
        return set(accumulate(span for _, span in self.groups[:-1]))


def side_by_side(
    caption: str,
    head: Sequence[tuple[str, str]],
    lines: Sequence[tuple[Sequence[Cell], Mapping[str, Mapping[str, Any]]]],
    images: Sequence[str],
    columns: Callable[[str], Sequence[tuple[str, str]]],
    cells: Callable[[Mapping[str, Any], str], Sequence[Cell]],
) -> Table:
    """A table with a group of columns for each image that has a row, beside the columns ``head`` that all share.

    ``lines``: first cells of a line, and its row by image; ``columns(image)`` and ``cells(row, image)`` of one image.
    """
    images = [image for image in images if any(image in by for _, by in lines)]
    own = [(image, columns(image)) for image in images]
    groups = [("", len(head)), *((name_of(image), len(titles)) for image, titles in own)]
    rows = [[*first, *(cell for image in images for cell in cells(by.get(image, {}), image))] for first, by in lines]
    return Table(caption, [*head, *(title for _, titles in own for title in titles)], rows, 1, groups)


def plain(value: Any, digits: int = 3) -> Cell:
    """One figure."""
    return Cell(number(value, digits) if known(value) else "–", value)


def known(value: Any) -> TypeGuard[float]:
    """Whether there is a figure."""
    return isinstance(value, int | float) and not math.isnan(value)


def spread(mean: Any, sd: Any, scale: float = 1, sign: bool = False) -> Cell:
    """Mean ± SD, both to the second digit of the SD; without an SD where there is one subject.

    >>> spread(0.66541, 0.0137).text, spread(-512.3, 48.2, sign=True).text, spread(3.14159, None).text
    ('0.665 ± 0.014', '−512 ± 48', '3.14')
    """
    if not known(mean):
        return Cell("–")
    if not known(sd) or not math.isfinite(sd) or sd <= 0:
        shown = signed(mean / scale) if sign else number(mean / scale)
        return Cell(shown + (" ± 0" if known(sd) else ""), mean)
    decimals = decimals_for(sd / scale)
    shown = fixed(mean / scale, decimals)
    plus = "+" if sign and mean > 0 and shown != fixed(0, decimals) else ""
    return Cell(f"{plus}{shown} ± {fixed(sd / scale, decimals)}", mean)


def interval(row: Mapping[str, Any], name: str, scale: float = 1) -> Cell:
    """A figure with its 95 % interval in brackets, to the second digit of the interval's half width."""
    value, low, high = (row.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    if not known(value):
        return Cell("–")
    if not known(low) or not known(high) or not low < high:
        return plain(value / scale)
    decimals = decimals_for((high - low) / 2 / scale)
    shown = [fixed(figure / scale, decimals) for figure in (value, low, high)]
    return Cell(f"{shown[0]} [{shown[1]}, {shown[2]}]", value)


def coefficient(row: Mapping[str, Any], name: str) -> Cell:
    """A coefficient between −1 and 1, and its 95 % interval below it."""
    value, low, high = (row.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    if not known(value):
        return Cell("–")
    note = f"[{fixed(low, 2)}, {fixed(high, 2)}]" if known(low) and known(high) and low < high else ""
    return Cell(fixed(value, 3), value, note=note)


def decimals_for(width: float) -> int:
    """So many decimals that two digits of a width are seen, and no more than ``MOST_DECIMALS``.

    >>> decimals_for(12.3), decimals_for(0.123), decimals_for(1e-9)
    (0, 2, 5)
    """
    return min(MOST_DECIMALS, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else MOST_DECIMALS


def fixed(value: float, decimals: int) -> str:
    """A figure with so many decimals, and no minus before a zero.

    >>> fixed(-0.0012, 2), fixed(-1.25, 1)
    ('0.00', '−1.2')
    """
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def verdict(row: Mapping[str, Any], way: int) -> str:
    """What the signed-rank test says of an image against the low-field baseline; ``way`` 1: more is better, else −1.

    better, worse or even (no difference was shown); mixed: the mean went the other way; untested: too few pairs, of
    which no result could be significant.
    """
    p, change = row.get("p_holm"), row.get("difference_hodges_lehmann")
    if known(p) and p < SIGNIFICANT and change:
        mixed = row["difference_mean"] * change < 0
        return "mixed" if mixed else "better" if change * way > 0 else "worse"
    return "even" if known(p) and row["p_holm_least"] < SIGNIFICANT else "untested"


UNTESTED = "n = pairs where they are too few for any result to fall below 0.05 after the correction"
"""What ``shown_p`` says, in the heading of a column."""


def shown_p(row: Mapping[str, Any]) -> str:
    """The p of a row as it is printed, or the number of pairs where they are too few."""
    if "pairs" in row and verdict(row, 1) == "untested":
        return f"n = {row['pairs']}"
    return p_text(row.get("p_holm"))


def p_text(p: Any) -> str:
    """A p value as it is printed.

    >>> p_text(0.0004), p_text(0.0312), p_text(float("nan"))
    ('< 0.001', '0.031', '–')
    """
    if not known(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def session_text(session: str) -> str:
    """A session as it is called on the page."""
    return {ALL: "all, averaged", "n/a": "–"}.get(session, session)


def quality_table(metrics: Rows) -> Table:
    """Image metrics under the primary protocol, the baseline above the methods."""
    cells = {
        (row["contrast"], row["session"], row["image"], row["metric"]): row
        for row in metrics
        if row["protocol"] == PRIMARY and row["region"] == "brain"
    }
    columns = [("Contrast", ""), ("Session", "low-field session"), ("Image", ""), ("Subjects", "n")]
    more = [metric for metric in SHOWN[len(HEADLINE) :] if any(key[3] == metric for key in cells)]
    for metric in HEADLINE:
        unit = ", dB" if metric == "psnr" else ""
        columns += [(f"{metric_name(metric)}{unit}", "mean ± SD over subjects")]
        columns += [(f"Change of {metric_name(metric)}", "image minus low field, mean ± SD over subjects")]
        columns += [("p", f"Wilcoxon signed-rank, Holm-corrected; {UNTESTED}")]
    columns += [(metric_name(metric), "mean ± SD over subjects") for metric in more]
    rows = []
    for contrast, session, image in dict.fromkeys(key[:3] for key in cells):
        values = {metric: cells.get((contrast, session, image, metric), {}) for metric in SHOWN}
        n = max((row.get("n", 0) for row in values.values()), default=0)
        line = [Cell(contrast), Cell(session_text(session), session), Cell(name_of(image), image), plain(n)]
        for metric in HEADLINE:
            row = values[metric]
            line.append(spread(row.get("mean"), row.get("sd")))
            line += change_cells(row) if image != BASELINE else [Cell("baseline", ""), Cell("")]
        line += [spread(values[metric].get("mean"), values[metric].get("sd")) for metric in more]
        rows.append(line)
    return Table("Image quality", columns, rows, 3)


def change_cells(row: Mapping[str, Any]) -> list[Cell]:
    """The difference to the baseline, of what is better if more, and its p, coloured where the test shows one."""
    word = verdict(row, 1)
    change = spread(row.get("difference_mean"), row.get("difference_sd"), sign=True)
    return [change, Cell(shown_p(row), row.get("p_holm"), word if word in ("better", "worse", "mixed") else "")]


def people_page_table(rows: Rows, titles: Mapping[str, str]) -> Table:
    """What is one figure per subject (``titles``: quantity → its name), by sex side by side, and against age."""
    shown = [row for row in rows if row["quantity"] in titles]
    sexes = sorted({row["level"] for row in shown if row["by"] == "sex"})
    columns = [("Quantity", ""), ("Contrast", ""), ("Image", "")]
    columns += [(f"Sex {sex}", "mean ± SD over subjects (n)") for sex in sexes]
    columns += [("r with age", "Pearson [95 % interval]"), ("p", "of r, not corrected"), ("Subjects with age", "n")]
    lines = []
    for (quantity, _, contrast, image), by in _by_people(shown).items():
        line = [Cell(titles[quantity], quantity), Cell(contrast), Cell(name_of(image), image)]
        for sex in sexes:
            row = by.get(sex, {})
            cell = spread(row.get("mean"), row.get("sd"))
            line.append(Cell(f"{cell.text} ({row['n']})" if row else "–", cell.value))
        lines.append([*line, *_age_cells(by.get("age", {}))])
    return Table("By sex and age", columns, lines, 3)


def age_table(rows: Rows, contrast: str, images: Sequence[str]) -> Table:
    """Correlation of volumes with age, a row per structure: high field, low field and enhanced side by side."""
    shown = [r for r in rows if r["quantity"] == "volume_mm3" and r["by"] == "age" and r["contrast"] == contrast]
    by_structure: dict[str, dict[str, Mapping[str, Any]]] = {}
    for (_, name, _, image), by in _by_people(shown).items():
        by_structure.setdefault(name, {})[image] = by["age"]
    columns = [("r with age", "Pearson [95 % interval]"), ("p", "not corrected"), ("n", "subjects with age")]
    lines, head = [([Cell(name)], by) for name, by in by_structure.items()], [("Structure", "")]
    caption, images = f"Volumes and age, {contrast}", (HIGH, *images)
    return side_by_side(caption, head, lines, images, lambda _: columns, lambda row, _: _age_cells(row))


def _age_cells(row: Mapping[str, Any]) -> list[Cell]:
    return [interval(row, "r"), Cell(p_text(row.get("r_p")), row.get("r_p")), plain(row.get("n"))]


def _by_people(rows: Rows) -> dict[tuple, dict[str, Mapping[str, Any]]]:
    """(quantity, name, contrast, image) → sex or "age" → row."""
    groups: dict[tuple, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("quantity", "name", "contrast", "image"))
        groups.setdefault(key, {})[row["level"] or "age"] = row
    return groups


def control_table(cohort: Cohort) -> Table:
    """One row per session: quality control."""
    risks: dict[tuple, Mapping[str, Any]] = {}
    for image in cohort.images:
        key = (image["subject"], image["session"])
        if known(image.get("risk_ml")) and image["risk_ml"] > risks.get(key, {}).get("risk_ml", -1):
            risks[key] = image
    columns = [
        *(("Subject", "its page"), ("Session", "")),
        *((purpose.capitalize(), f"usable {words}?") for purpose, words in PURPOSES.items()),
        ("Scans", ""),
        *(("SNR", "lowest of its scans"), ("Rotation, °", "largest between stacks")),
        *(("Shift, mm", "largest between stacks"), ("Coverage, %", "smallest, of the brain")),
        *(("Similarity", "lowest after alignment"), ("Template", "correlation with it"), ("Brain, mL", "mask")),
        ("Confidence", "lowest mean confidence of the regions of an image, 0 to 1"),
        ("Risk volume, mL", "largest over contrasts and methods"),
    ]
    rows = []
    for row in cohort.quality:
        name = f"sub-{row['subject']}"
        coverage, risk = row["coverage_min"], risks.get((row["subject"], row["session"]), {})
        where = f" ({risk['contrast']}, {risk['image']})" if risk else ""
        rows.append(
            [
                *(Cell(name, link=cohort.page(row["subject"])), Cell(session_text(row["session"]), row["session"])),
                *(Cell(row[purpose], style=f"verdict {row[purpose]}") for purpose in PURPOSES),
                plain(row["scans"]),
                *(plain(row["snr_min"]), plain(row["rotation_max_deg"], 2), plain(row["translation_max_mm"], 2)),
                Cell(f"{100 * coverage:.0f}" if known(coverage) else "–", coverage),
                *(plain(row["similarity_min"], 2), plain(row["template_correlation"], 2), plain(row["mask_ml"], 4)),
                *(plain(row["confidence_min"], 2), Cell(number(risk.get("risk_ml"), 2) + where, risk.get("risk_ml"))),
            ]
        )
    return Table("Quality control", columns, rows, 5)


def missing_table(cohort: Cohort) -> Table:
    """One row per image that is not as it should be."""
    columns = [(title, "") for title in ("Subject", "Session", "Contrast", "Image", "What", "Detail")]
    rows = [
        [
            *(Cell(f"sub-{row['subject']}"), Cell(session_text(row["session"]), row["session"]), Cell(row["contrast"])),
            *(Cell(name_of(row["image"]) if row["image"] != "n/a" else "–"), Cell(row["status"]), Cell(row["detail"])),
        ]
        for row in cohort.images
        if row["status"] != COMPLETE
    ]
    return Table("What is missing", columns, rows, 6)
