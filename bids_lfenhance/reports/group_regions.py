"""The tables of structures on the group page: low field and enhanced side by side, and everything in rows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..evaluation.cohort import BASELINE, MEASURES
from ..evaluation.structures import has_side
from ..evaluation.subject_values import ALL
from .group_figures import name_of
from .group_tables import (
    SIGNIFICANT,
    Cell,
    Rows,
    Table,
    coefficient,
    decimals_for,
    fixed,
    interval,
    known,
    p_text,
    plain,
    session_text,
    side_by_side,
    spread,
)
from .tables import number

Row = Mapping[str, Any]

QUANTITIES: Mapping[str, tuple[str, str, int]] = {
    "psnr": ("PSNR, dB", "Peak signal-to-noise ratio inside the brain, protocol brain-fit", 1),
    "ssim": ("SSIM", "Structural similarity inside the brain, protocol brain-fit", 1),
    "lpips": ("LPIPS", "Learned perceptual distance: lower is better", -1),
    "dice": ("Dice", "Overlap with high field, mean over all structures (left and right as one)", 1),
    "dice_deep": ("Dice, deep", "Mean over thalamus, caudate, putamen, pallidum, hippocampus, amygdala", 1),
    "volume_error_percent": (
        "Volume error, %",
        "Mean over all structures of |V − V_ref| / V_ref; V_ref: high field",
        -1,
    ),
    "volume_error_percent_deep": ("Volume error, deep, %", "The same over the deep structures", -1),
    "repeat_percent": (
        "Retest, %",
        "Difference between two low-field sessions, |V₂ − V₁| over their mean; mean over all structures",
        -1,
    ),
}
"""What is one figure per subject and stands in the first table → its title, what it is, and which way is better."""

SEGMENTATIONS = {"regions": "Regions", "synthseg": "Regions by SynthSeg", "tissue": "Tissue"}
"""What ``seg-`` is called on the page, the finest first."""


def segmentations_of(rows: Rows) -> list[str]:
    """The segmentations of some rows, the finest first."""
    present = {row["segmentation"] for row in rows} - {"n/a"}
    return [seg for seg in SEGMENTATIONS if seg in present] + sorted(present - set(SEGMENTATIONS))


def of_finest(rows: Rows) -> list[Row]:
    """The rows of the finest segmentation there is, and those of no segmentation."""
    seg = next(iter(segmentations_of(rows)), "n/a")
    return [row for row in rows if row["segmentation"] in (seg, "n/a")]


def overall(rows: Rows) -> list[Row]:
    """The rows of all sessions averaged, or of the only session (for two sessions against each other: of the first)."""
    sessions = [row["session"] for row in rows]
    chosen = ALL if ALL in sessions else next(iter(sessions), "")
    return [row for row in rows if row["session"] == chosen]


def headline_rows(summary: Rows) -> dict[tuple[str, str], dict[str, Row]]:
    """(contrast, image) → quantity → its row, over all sessions, of the finest segmentation there is."""
    by_image: dict[tuple[str, str], dict[str, Row]] = {}
    for quantity in QUANTITIES:
        own = [row for row in of_finest(summary) if row["quantity"] == quantity]
        for row in overall(own):
            by_image.setdefault((row["contrast"], row["image"]), {})[quantity] = row
    contrasts = list(dict.fromkeys(row["contrast"] for row in summary))
    return dict(
        sorted(by_image.items(), key=lambda item: (contrasts.index(item[0][0]), item[0][1] != BASELINE, item[0][1]))
    )


def verdict(row: Row, way: int) -> str:
    """better, worse, even (no difference was shown) or untested (too few subjects), against the low-field baseline."""
    p, change = row.get("p_holm"), row.get("difference_mean")
    if not known(p) or not known(change):
        return "untested"
    return "even" if p >= SIGNIFICANT or not change else "better" if change * way > 0 else "worse"


def headline_table(summary: Rows) -> Table:
    """The first table of the page: a row per contrast and image, the change to low field below each figure."""
    by_image = headline_rows(summary)
    quantities = [quantity for quantity in QUANTITIES if any(quantity in of for of in by_image.values())]
    columns = [("Contrast", ""), ("Image", ""), ("n", "subjects")]
    columns += [
        (title, f"{meaning}; mean ± SD over subjects") for title, meaning, _ in (QUANTITIES[q] for q in quantities)
    ]
    rows = []
    for (contrast, image), of in by_image.items():
        line = [Cell(contrast), Cell(name_of(image), image), counted(of.values())]
        line += [_headline_cell(of.get(quantity), quantity) for quantity in quantities]
        rows.append(line)
    return Table("Headline", columns, rows, 2)


def _headline_cell(row: Row | None, quantity: str) -> Cell:
    if row is None:
        return Cell("–")
    cell = spread(row["mean"], row["sd"])
    if row["image"] == BASELINE or not known(row.get("difference_mean")):
        return cell
    word = verdict(row, QUANTITIES[quantity][2])
    tested = p_text(row.get("p_holm"), row["pairs"])
    tested = tested if word == "untested" else f"p {tested}"
    note = f"{_change_text(row)}, {tested}"
    return Cell(cell.text, cell.value, word, note=note)


def _change_text(row: Row) -> str:
    """The change with its sign, to the decimals of the figure above it."""
    change, sd = row["difference_mean"], row["sd"]
    decimals = decimals_for(sd) if known(sd) and sd > 0 else len(number(row["mean"]).partition(".")[2])
    text = fixed(change, decimals)
    return f"+{text}" if change > 0 and float(text) else text


def findings(summary: Rows) -> Iterator[tuple[str, list[tuple[str, list[str]]]]]:
    """One line per contrast and method: what it is of, and (better, worse, even or untested; in which quantities)."""
    for (contrast, image), of in headline_rows(summary).items():
        verdicts: dict[str, list[str]] = {"better": [], "worse": [], "even": [], "untested": []}
        for quantity, row in of.items():
            if image != BASELINE and known(row.get("difference_mean")):
                title, _, way = QUANTITIES[quantity]
                verdicts[verdict(row, way)].append(title.removesuffix(", dB").removesuffix(", %"))
        if any(verdicts.values()):
            yield f"{contrast}, {name_of(image).lower()}", [item for item in verdicts.items() if item[1]]


def counted(rows: Sequence[Row] | Any) -> Cell:
    """The subjects of some rows: one number, or those that differ."""
    numbers = sorted({int(row["n"]) for row in rows}, reverse=True)
    return Cell(" / ".join(map(str, numbers)) or "–", numbers[0] if numbers else None)


def structure_rows(rows: Rows, contrast: str, seg: str) -> list[Row]:
    """Those of structures without a side, by label, over all sessions."""
    return [row for row in overall(_chosen(rows, contrast, seg)) if not has_side(row["name"])]


def _side_by_side(rows: Rows, contrast: str, seg: str, images: Sequence[str]) -> dict[str, dict[str, Row]]:
    """Structure → image → its row of ``structure_rows``."""
    by_structure: dict[str, dict[str, Row]] = {}
    for row in structure_rows(rows, contrast, seg):
        if row["image"] in images:
            by_structure.setdefault(row["name"], {})[row["image"]] = row
    return by_structure


def _chosen(rows: Rows, contrast: str, seg: str) -> list[Row]:
    of = [row for row in rows if (row["contrast"], row["segmentation"]) == (contrast, seg)]
    return [row for row in of if row.get("measure", MEASURES[0]) == MEASURES[0]]


def overlap_page_table(rows: Rows, contrast: str, seg: str, images: Sequence[str]) -> Table:
    """Dice per structure: low field, then each method with its change and p."""
    by_structure = _side_by_side(rows, contrast, seg, images)
    head = [("Structure", "left and right as one"), ("n", "subjects")]
    dice = ("Dice", "mean ± SD over subjects")
    change = [("Change", "image minus low field"), ("p", "Wilcoxon signed-rank, Holm-corrected over this table")]

    def columns(image: str) -> list[tuple[str, str]]:
        return [dice] if image == BASELINE else [dice, *change]

    lines = [([Cell(name), counted(of.values())], of) for name, of in by_structure.items()]
    return side_by_side(contrast, head, lines, images, columns, _overlap_cells)


def _overlap_cells(row: Row, image: str) -> list[Cell]:
    cells = [spread(row.get("mean"), row.get("sd"))]
    if image == BASELINE:
        return cells
    p, word = row.get("p_holm"), verdict(row, 1)
    change = spread(row.get("difference_mean"), row.get("difference_sd"), sign=True)
    return [*cells, change, Cell(p_text(p, row.get("pairs")), p, word if word in ("better", "worse") else "")]


def bias_table(rows: Rows, contrast: str, seg: str, images: Sequence[str], retest: bool = False) -> Table:
    """Difference, bias and limits of agreement of volumes (by label) per structure, images side by side."""
    by_structure = _side_by_side(rows, contrast, seg, images)
    reference = "first session" if retest else "high field"
    bias = (
        f"mean of volume minus {reference} [95 % interval]; below it the limits of agreement, bias ± 1.96 SD: rest on "
        "them for their 95 % intervals"
    )
    columns = [("Difference, %", f"100 (V − V_ref) / V_ref, mean ± SD over subjects; V_ref: {reference}")]
    columns += [("Bias and limits, mL", bias)]
    columns += [("CV, %", "within-subject coefficient of variation")] if retest else []
    head = [("Structure", "left and right as one"), ("n", "subjects")]
    head += [] if retest else [("High field, mL", "mean ± SD over subjects")]
    lines = []
    for name, of in by_structure.items():
        row = next(iter(of.values()))
        high = [] if retest else [spread(row["reference_mean"], row["reference_sd"], scale=1000)]
        lines.append(([Cell(name), counted(of.values()), *high], of))

    def cells(row: Row, _: str) -> list[Cell]:
        percent = spread(row.get("difference_percent_mean"), row.get("difference_percent_sd"), sign=True)
        return [percent, _bias_cell(row), *([plain(row.get("within_subject_cv_percent"))] if retest else [])]

    return side_by_side(contrast, head, lines, images, lambda _: columns, cells)


def _bias_cell(row: Row) -> Cell:
    bias, ends = interval(row, "bias", scale=1000), limits(row)
    return Cell(bias.text, bias.value, note="" if ends.text == "–" else f"limits {ends.text}", help=ends.help)


def limits(row: Row) -> Cell:
    """Both limits of agreement in mL; their intervals for those who rest on them."""
    if not known(row.get("lower")):
        return Cell("–")
    ends = [interval(row, name, scale=1000).text for name in ("lower", "upper")]
    decimals = decimals_for((row["upper"] - row["lower"]) / 4000)
    text = f"{fixed(row['lower'] / 1000, decimals)} to {fixed(row['upper'] / 1000, decimals)}"
    return Cell(text, row["lower"], help=f"lower {ends[0]}, upper {ends[1]}")


def agreement_table(rows: Rows, contrast: str, seg: str, images: Sequence[str]) -> Table:
    """Correlation and agreement of volumes per structure, low field and enhanced side by side."""
    by_structure = _side_by_side(rows, contrast, seg, images)
    columns = [("r", "Pearson; p in the TSV"), ("ICC(2,1)", "absolute agreement"), ("CCC", "Lin's concordance")]

    def cells(row: Row, _: str) -> list[Cell]:
        return [coefficient(row, name) for name in ("r", "icc", "ccc")]

    lines = [([Cell(name)], of) for name, of in by_structure.items()]
    return side_by_side(contrast, [("Structure", "left and right as one")], lines, images, lambda _: columns, cells)


def every_volume_table(rows: Rows, contrast: str, seg: str, retest: bool = False) -> Table:
    """Agreement of volumes (by label), a row per region, session and image, each side for itself too."""
    reference = "first session" if retest else "high field"
    columns = [
        *(("Region", ""), ("Sessions" if retest else "Session", ""), ("Image", ""), ("Subjects", "n")),
        ("Volume, mL", "second session, mean ± SD" if retest else "mean ± SD over subjects"),
        (f"{reference.capitalize()}, mL", "mean ± SD over the same subjects"),
        ("Difference, %", "100 (V − V_ref) / V_ref, mean ± SD over subjects"),
        ("Bias, mL", f"mean of volume minus {reference} [95 % interval]"),
        ("Limits of agreement, mL", "bias ± 1.96 SD; rest on one for its 95 % intervals"),
        *([("Within-subject CV, %", "")] if retest else []),
        *(("r", "Pearson; interval and p in the TSV"), ("ICC(2,1)", "absolute agreement [95 % interval]")),
        ("CCC", "Lin's concordance correlation; interval in the TSV"),
    ]
    lines = []
    for row in _chosen(rows, contrast, seg):
        lines.append(
            [
                *(Cell(row["name"]), Cell(session_text(row["session"]), row["session"])),
                *(Cell(name_of(row["image"]), row["image"]), plain(row["n"])),
                spread(row["mean"], row["sd"], scale=1000),
                spread(row["reference_mean"], row["reference_sd"], scale=1000),
                spread(row["difference_percent_mean"], row["difference_percent_sd"], sign=True),
                *(interval(row, "bias", scale=1000), limits(row)),
                *([plain(row["within_subject_cv_percent"])] if retest else []),
                *(plain(row["r"]), interval(row, "icc"), plain(row["ccc"])),
            ]
        )
    return Table(contrast, columns, lines, 3)


def every_overlap_table(rows: Rows, contrast: str, seg: str) -> Table:
    """Dice, a row per region, session and image, each side for itself too."""
    columns = [("Region", ""), ("Session", ""), ("Image", ""), ("Subjects", "n"), ("Dice", "mean ± SD")]
    columns += [("Change", "image minus low field"), ("p", "Wilcoxon signed-rank, Holm-corrected")]
    lines = []
    for row in _chosen(rows, contrast, seg):
        head = [Cell(row["name"]), Cell(session_text(row["session"]), row["session"])]
        cells = _overlap_cells(row, row["image"])
        cells += [Cell("baseline", ""), Cell("")] if row["image"] == BASELINE else []
        lines.append([*head, Cell(name_of(row["image"]), row["image"]), plain(row["n"]), *cells])
    return Table(contrast, columns, lines, 3)
