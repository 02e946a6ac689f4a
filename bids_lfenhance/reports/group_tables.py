"""The tables of the group page: rows of the TSVs as cells, each with its text and the figure it is sorted by."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from ..evaluation.cohort import ALL, BASELINE, MEASURES
from .cohort import COMPLETE, Cohort
from .group_figures import name_of
from .tables import HEADLINE, PRIMARY, judged, metric_name, number, signed

Rows = Sequence[Mapping[str, Any]]

SHOWN = (*HEADLINE, "ncc", "nmse")
"""Metrics in the table of image quality; the others are in the TSV."""

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Cell:
    """``text`` as it is read, ``value`` what it is sorted by (nothing: the text), ``style`` a CSS class, ``link``."""

    text: str
    value: Any = None
    style: str = ""
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A caption, (title, explanation) of every column, and rows of cells; the first ``words`` columns hold words."""

    caption: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[Cell]]
    words: int = 1


def plain(value: Any, digits: int = 3, unit: str = "") -> Cell:
    """One figure."""
    text = number(value, digits)
    return Cell(f"{text}{unit}" if known(value) else "–", value)


def known(value: Any) -> TypeGuard[float]:
    """Whether there is a figure."""
    return isinstance(value, int | float) and not math.isnan(value)


def spread(mean: Any, sd: Any, digits: int = 3, scale: float = 1, sign: bool = False) -> Cell:
    """Mean ± SD, both to the second digit of the SD; without an SD where there is one subject.

    >>> spread(0.66541, 0.0137).text, spread(-512.3, 48.2, sign=True).text, spread(3.14159, None).text
    ('0.665 ± 0.014', '−512 ± 48', '3.14')
    """
    if not known(mean):
        return Cell("–")
    if not known(sd) or not math.isfinite(sd) or sd <= 0:
        shown = signed(mean / scale, digits) if sign else number(mean / scale, digits)
        return Cell(shown + (" ± 0" if known(sd) else ""), mean)
    decimals = max(0, 1 - math.floor(math.log10(sd / scale)))
    texts = f"{mean / scale:{'+' if sign else ''}.{decimals}f}", f"{sd / scale:.{decimals}f}"
    return Cell(" ± ".join(texts).replace("-", "−"), mean)


def interval(row: Mapping[str, Any], name: str, scale: float = 1) -> Cell:
    """A figure with its 95 % interval in brackets, to the second digit of the interval's half width."""
    value, low, high = (row.get(key) for key in (name, f"{name}_low", f"{name}_high"))
    if not known(value):
        return Cell("–")
    if not known(low) or not known(high) or not low < high:
        return plain(value / scale)
    decimals = min(3, max(0, 1 - math.floor(math.log10((high - low) / 2 / scale))))
    shown = [f"{figure / scale:.{decimals}f}".replace("-", "−") for figure in (value, low, high)]
    return Cell(f"{shown[0]} [{shown[1]}, {shown[2]}]", value)


def p_text(p: Any, n: Any = None) -> str:
    """A p value as it is printed; why there is none where there are too few pairs.

    >>> p_text(0.0004), p_text(0.0312), p_text(float("nan"), 4)
    ('< 0.001', '0.031', 'n = 4')
    """
    if not known(p):
        return f"n = {n}" if n is not None else "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def session_text(session: str) -> str:
    """A session as it is called on the page."""
    return {ALL: "all, averaged", "n/a": "–"}.get(session, session)


def quality_table(metrics: Rows) -> Table:
    """Image metrics under the deciding protocol, the baseline above the methods."""
    cells = {
        (row["contrast"], row["session"], row["image"], row["metric"]): row
        for row in metrics
        if row["protocol"] == PRIMARY and row["region"] == "brain"
    }
    columns = [("Contrast", ""), ("Session", "low-field session"), ("Image", ""), ("Subjects", "n")]
    for metric in HEADLINE:
        unit = ", dB" if metric == "psnr" else ""
        columns += [(f"{metric_name(metric)}{unit}", "mean ± SD over subjects")]
        columns += [(f"Change of {metric_name(metric)}", "image minus low field, mean ± SD over subjects")]
        columns += [("p", "Wilcoxon signed-rank, Holm-corrected; n = pairs where there are fewer than 6")]
    columns += [(metric_name(metric), "mean ± SD over subjects") for metric in SHOWN[len(HEADLINE) :]]
    rows = []
    for contrast, session, image in dict.fromkeys(key[:3] for key in cells):
        found = {metric: cells.get((contrast, session, image, metric), {}) for metric in SHOWN}
        n = max((row.get("n", 0) for row in found.values()), default=0)
        line = [Cell(contrast), Cell(session_text(session), session), Cell(name_of(image), image), plain(n)]
        for metric in HEADLINE:
            row = found[metric]
            line.append(spread(row.get("mean"), row.get("sd")))
            line += _change(row, metric) if image != BASELINE else [Cell("baseline", ""), Cell("")]
        line += [spread(found[metric].get("mean"), found[metric].get("sd")) for metric in SHOWN[len(HEADLINE) :]]
        rows.append(line)
    return Table("Image quality", columns, rows, 3)


def _change(row: Mapping[str, Any], metric: str) -> list[Cell]:
    """The difference to the baseline, coloured only where the test says that it is one."""
    p, change = row.get("p_holm"), row.get("difference_mean")
    style = ""
    if known(p) and p < SIGNIFICANT and known(change):
        style = judged(metric, row["mean"] - change, row["mean"])
    return [spread(change, row.get("difference_sd"), sign=True), Cell(p_text(p, row.get("pairs")), p, style)]


def volume_page_table(rows: Rows, contrast: str, retest: bool = False) -> Table:
    """Agreement of volumes (by label), a row per region, session and image: low field above enhanced."""
    shown = [row for row in rows if row["contrast"] == contrast and row["measure"] == MEASURES[0]]
    reference = "first session" if retest else "high field"
    columns = [
        *(("Region", ""), ("Sessions" if retest else "Session", ""), ("Image", ""), ("Subjects", "n")),
        ("Volume, mL", "second session, mean ± SD" if retest else "mean ± SD over subjects"),
        (f"{reference.capitalize()}, mL", "mean ± SD over the same subjects"),
        ("Difference, %", "100 (V − V_ref) / V_ref, mean ± SD over subjects"),
        ("Bias, mL", f"mean of volume minus {reference} [95 % interval]"),
        ("Limits of agreement, mL", "bias ± 1.96 SD"),
        *([("Within-subject CV, %", "")] if retest else []),
        *(("r", "Pearson; interval and p in the TSV"), ("ICC(2,1)", "absolute agreement [95 % interval]")),
        ("CCC", "Lin's concordance correlation; interval in the TSV"),
    ]
    lines = []
    for row in shown:
        limits = f"{number(row['lower'] / 1000)} to {number(row['upper'] / 1000)}" if known(row["lower"]) else "–"
        lines.append(
            [
                *(Cell(row["name"]), Cell(session_text(row["session"]), row["session"])),
                *(Cell(name_of(row["image"]), row["image"]), plain(row["n"])),
                *(
                    spread(row["mean"], row["sd"], scale=1000),
                    spread(row["reference_mean"], row["reference_sd"], scale=1000),
                ),
                spread(row["difference_percent_mean"], row["difference_percent_sd"], sign=True),
                *(interval(row, "bias", scale=1000), Cell(limits, row["lower"])),
                *([plain(row["within_subject_cv_percent"])] if retest else []),
                *(plain(row["r"]), interval(row, "icc"), plain(row["ccc"])),
            ]
        )
    return Table(contrast, columns, lines, 3)


def dice_table(metrics: Rows) -> Table:
    """Overlap with high field where the derivative has it: metric ``dice``, one region per label."""
    columns = [("Region", ""), ("Contrast", ""), ("Session", ""), ("Image", ""), ("Subjects", "n")]
    columns += [("Dice", "mean ± SD"), ("Change", "image minus low field"), ("p", "Wilcoxon, Holm-corrected")]
    rows = []
    for row in (row for row in metrics if row["metric"] == "dice"):
        head = [Cell(row["region"]), Cell(row["contrast"]), Cell(session_text(row["session"]), row["session"])]
        head += [Cell(name_of(row["image"]), row["image"]), plain(row["n"]), spread(row["mean"], row["sd"])]
        rows.append(head + (_change(row, "dice") if row["image"] != BASELINE else [Cell("baseline", ""), Cell("")]))
    return Table("Dice", columns, rows, 4)


def people_page_table(rows: Rows) -> Table:
    """Every quantity by sex side by side, and its correlation with age."""
    shown = [row for row in rows if row["quantity"] in (*HEADLINE, "volume_difference_percent")]
    sexes = sorted({row["level"] for row in shown if row["by"] == "sex"})
    columns = [("Quantity", ""), ("Contrast", ""), ("Image", "")]
    columns += [(f"Sex {sex}", "mean ± SD over subjects (n)") for sex in sexes]
    columns += [("r with age", "Pearson [95 % interval]"), ("p", "of r, not corrected"), ("Subjects with age", "n")]
    keys = ("quantity", "name", "contrast", "image")
    found: dict[tuple, dict[str, Mapping[str, Any]]] = {}
    for row in shown:
        found.setdefault(tuple(row[key] for key in keys), {})[row["level"] or "age"] = row
    lines = []
    for (quantity, name, contrast, image), by in found.items():
        title = metric_name(quantity) if quantity in HEADLINE else f"{name} volume difference, %"
        line = [Cell(title), Cell(contrast), Cell(name_of(image), image)]
        for sex in sexes:
            row = by.get(sex, {})
            cell = spread(row.get("mean"), row.get("sd"))
            line.append(Cell(f"{cell.text} ({row['n']})" if row else "–", cell.value))
        row = by.get("age", {})
        line += [interval(row, "r"), Cell(p_text(row.get("r_p")), row.get("r_p")), plain(row.get("n"))]
        lines.append(line)
    return Table("By sex and age", columns, lines, 3)


def control_table(cohort: Cohort) -> Table:
    """One row per session: what a person looks at before trusting its figures."""
    risks: dict[tuple, Mapping[str, Any]] = {}
    for image in cohort.images:
        key = (image["subject"], image["session"])
        if known(image.get("risk_ml")) and image["risk_ml"] > risks.get(key, {}).get("risk_ml", -1):
            risks[key] = image
    columns = [
        *(("Subject", "its page"), ("Session", ""), ("Verdict", "as on the subject's page"), ("Scans", "")),
        *(("SNR", "lowest of its scans"), ("Rotation, °", "largest between stacks")),
        *(("Shift, mm", "largest between stacks"), ("Coverage, %", "smallest, of the brain")),
        *(("Similarity", "lowest after alignment"), ("Template", "correlation with it"), ("Brain, mL", "mask")),
        ("Risk volume, mL", "largest over contrasts and methods"),
    ]
    rows = []
    for row in cohort.quality:
        name = f"sub-{row['subject']}"
        page = f"{name}.html" if (cohort.out_dir / f"{name}.html").is_file() else ""
        coverage, risk = row["coverage_min"], risks.get((row["subject"], row["session"]), {})
        where = f" ({risk['contrast']}, {risk['image']})" if risk else ""
        rows.append(
            [
                *(Cell(name, link=page), Cell(session_text(row["session"]), row["session"])),
                *(Cell(row["verdict"], style=f"verdict {row['verdict']}"), plain(row["scans"])),
                *(plain(row["snr_min"]), plain(row["rotation_max_deg"], 2), plain(row["translation_max_mm"], 2)),
                Cell(f"{100 * coverage:.0f}" if known(coverage) else "–", coverage),
                *(plain(row["similarity_min"], 2), plain(row["template_correlation"], 2), plain(row["mask_ml"], 4)),
                Cell(number(risk.get("risk_ml"), 2) + where, risk.get("risk_ml")),
            ]
        )
    return Table("Quality control", columns, rows, 3)


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
