"""The tables of structures on the group page: low field and enhanced side by side, and everything in rows."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from ..evaluation.cohort import BASELINE, MEASURES
from ..evaluation.session_pairs import POOLED
from ..evaluation.structures import has_side
from .group_figures import name_of
from .group_tables import (
    UNTESTED,
    Cell,
    Rows,
    Table,
    change_cells,
    coefficient,
    decimals_for,
    fixed,
    interval,
    known,
    plain,
    session_text,
    shown_p,
    side_by_side,
    spread,
    verdict,
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
    """The rows of all sessions averaged, or of the only session; of pairs of sessions those of the one to show."""
    first = min((row["place"] for row in rows), default=0)
    return [row for row in rows if row["place"] == first]


def headline_rows(summary: Rows) -> dict[tuple[str, str], dict[str, Row]]:
    """(contrast, image) → quantity → its row, over all sessions, of the finest segmentation there is."""
    by_image: dict[tuple[str, str], dict[str, Row]] = {}
    contrasts = list(dict.fromkeys(row["contrast"] for row in summary))
    for quantity, contrast in product(QUANTITIES, contrasts):
        own = [row for row in of_finest(summary) if (row["quantity"], row["contrast"]) == (quantity, contrast)]
        for row in overall(own):
            by_image.setdefault((contrast, row["image"]), {})[quantity] = row
    return dict(
        sorted(by_image.items(), key=lambda item: (contrasts.index(item[0][0]), item[0][1] != BASELINE, item[0][1]))
    )


def headline_table(summary: Rows) -> Table:
    """The first table of the page: a row per contrast and image, the change to low field below each figure."""
    by_image = headline_rows(summary)
    quantities = [quantity for quantity in QUANTITIES if any(quantity in of for of in by_image.values())]
    columns = [("Contrast", ""), ("Image", ""), ("n", "subjects; in a cell where it has fewer")]
    columns += [
        (title, f"{meaning}; mean ± SD over subjects") for title, meaning, _ in (QUANTITIES[q] for q in quantities)
    ]
    rows = []
    for (contrast, image), of in by_image.items():
        n, baseline = max(row["n"] for row in of.values()), by_image.get((contrast, BASELINE), {})
        line = [Cell(contrast), Cell(name_of(image), image), plain(n)]
        line += [_headline_cell(of.get(quantity), quantity, n, baseline.get(quantity, {})) for quantity in quantities]
        rows.append(line)
    return Table("Headline", columns, rows, 2)


def _headline_cell(row: Row | None, quantity: str, n: int, baseline: Row) -> Cell:
    """``n``: what the line says; ``baseline``: the row of low field, whose mean may be over other sessions."""
    if row is None:
        return Cell("–")
    cell, word, notes = spread(row["mean"], row["sd"]), "", []
    if row["image"] != BASELINE and known(row.get("difference_mean")):
        word, tested = verdict(row, QUANTITIES[quantity][2]), shown_p(row)
        change = _change_text(row, row["difference_mean"])
        if word == "mixed":
            change = f"mean {change}, median {_change_text(row, row['difference_hodges_lehmann'])}"
        notes.append(f"{change}, {tested}" if word == "untested" else f"{change}, p {tested}")
        there, everywhere = (spread(mean, baseline["sd"]).text for mean in (row["baseline_mean"], baseline["mean"]))
        if there != everywhere:
            notes.append(f"low field there {there.partition(' ±')[0]}")
    notes += [f"{row['n']} subjects"] if row["n"] != n else []
    return Cell(cell.text, cell.value, word, note="; ".join(notes))


def _change_text(row: Row, change: float) -> str:
    """The change with its sign, to the decimals of the figure above it."""
    sd = row["sd"]
    decimals = decimals_for(sd) if known(sd) and sd > 0 else len(number(row["mean"]).partition(".")[2])
    text = fixed(change, decimals)
    return f"+{text}" if change > 0 and float(text) else text


def findings(summary: Rows) -> Iterator[tuple[str, list[tuple[str, list[str]]]]]:
    """One line per contrast and method: what it is of, and (a word of ``verdict``; in which quantities)."""
    for (contrast, image), of in headline_rows(summary).items():
        verdicts: dict[str, list[str]] = {word: [] for word in ("better", "worse", "mixed", "even", "untested")}
        for quantity, row in of.items():
            if image != BASELINE and known(row.get("difference_mean")):
                title, _, way = QUANTITIES[quantity]
                verdicts[verdict(row, way)].append(title.removesuffix(", dB").removesuffix(", %"))
        if any(verdicts.values()):
            yield f"{contrast}, {name_of(image).lower()}", [item for item in verdicts.items() if item[1]]


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
    dice = [_SUBJECTS, ("Dice", "mean ± SD over subjects")]
    change = [("Change", "image minus low field")]
    change += [("p", f"Wilcoxon signed-rank, Holm-corrected over this table; {UNTESTED}")]

    def columns(image: str) -> list[tuple[str, str]]:
        return dice if image == BASELINE else [*dice, *change]

    lines = [([Cell(name)], of) for name, of in by_structure.items()]
    return side_by_side(_caption("Dice", contrast, seg), [_STRUCTURE], lines, images, columns, _overlap_cells)


def _overlap_cells(row: Row, image: str) -> list[Cell]:
    cells = [plain(row.get("n")), spread(row.get("mean"), row.get("sd"))]
    return cells if image == BASELINE else [*cells, *change_cells(row)]


_STRUCTURE, _SUBJECTS = ("Structure", "left and right as one"), ("n", "subjects")


def _caption(what: str, contrast: str, seg: str) -> str:
    return f"{what}, {contrast}, {SEGMENTATIONS.get(seg, seg).lower()}"


def bias_table(rows: Rows, contrast: str, seg: str, images: Sequence[str], retest: bool = False) -> Table:
    """Difference, bias and limits of agreement of volumes (by label) per structure, images side by side."""
    by_structure = _side_by_side(rows, contrast, seg, images)
    reference = "first session" if retest else "high field"
    bias = (
        f"mean of volume minus {reference} [95 % interval]; below it the limits of agreement of a single session, "
        "bias ± 1.96 SD: their 95 % intervals are in the folded table"
    )
    columns = [_SUBJECTS, ("Difference, %", f"100 (V − V_ref) / V_ref, mean ± SD over subjects; V_ref: {reference}")]
    columns += [("Bias and limits, mL", bias)]
    columns += [("CV, %", "within-subject coefficient of variation")] if retest else []
    head = [_STRUCTURE]
    head += [] if retest else [("High field, mL", "mean ± SD over the subjects of the image that most have")]
    lines = []
    for name, of in by_structure.items():
        row = max(of.values(), key=lambda one: one["n"])
        high = [] if retest else [spread(row["reference_mean"], row["reference_sd"], scale=1000)]
        lines.append(([Cell(name), *high], of))

    def cells(row: Row, _: str) -> list[Cell]:
        percent = spread(row.get("difference_percent_mean"), row.get("difference_percent_sd"), sign=True)
        shown = [plain(row.get("n")), percent, _bias_cell(row)]
        return [*shown, plain(row.get("within_subject_cv_percent"))] if retest else shown

    caption = _caption("bias and limits of agreement", contrast, seg)
    return side_by_side(caption, head, lines, images, lambda _: columns, cells)


def _bias_cell(row: Row) -> Cell:
    bias, ends = interval(row, "bias", scale=1000), limits(row)
    return Cell(bias.text, bias.value, note="" if ends.text == "–" else f"limits {ends.text}")


def limits(row: Row) -> Cell:
    """Both limits of agreement in mL, their intervals below them."""
    if not known(row.get("lower")):
        return Cell("–")
    ends = [interval(row, name, scale=1000).text for name in ("lower", "upper")]
    decimals = decimals_for((row["upper"] - row["lower"]) / 4000)
    text = f"{fixed(row['lower'] / 1000, decimals)} to {fixed(row['upper'] / 1000, decimals)}"
    return Cell(text, row["lower"], note=f"lower {ends[0]}, upper {ends[1]}")


def agreement_table(rows: Rows, contrast: str, seg: str, images: Sequence[str]) -> Table:
    """Correlation and agreement of volumes per structure, low field and enhanced side by side."""
    by_structure = _side_by_side(rows, contrast, seg, images)
    columns = [("r", "Pearson; p in the TSV"), ("ICC(2,1)", "absolute agreement"), ("CCC", "Lin's concordance")]

    def cells(row: Row, _: str) -> list[Cell]:
        return [coefficient(row, name) for name in ("r", "icc", "ccc")]

    lines = [([Cell(name)], of) for name, of in by_structure.items()]
    caption = _caption("correlation and agreement", contrast, seg)
    return side_by_side(caption, [_STRUCTURE], lines, images, lambda _: columns, cells)


def every_volume_table(rows: Rows, contrast: str, seg: str, retest: bool = False) -> Table:
    """Agreement of volumes (by label), a row per region, session and image, each side for itself too."""
    reference = "first session" if retest else "high field"
    columns = [
        ("Region", ""),
        ("Sessions", f"{POOLED}: each person's own first two") if retest else ("Session", ""),
        *(("Image", ""), ("Subjects", "n")),
        ("Volume, mL", "second session, mean ± SD" if retest else "mean ± SD over subjects"),
        (f"{reference.capitalize()}, mL", "mean ± SD over the same subjects"),
        ("Difference, %", "100 (V − V_ref) / V_ref, mean ± SD over subjects"),
        ("Bias, mL", f"mean of volume minus {reference} [95 % interval]"),
        ("Limits of agreement, mL", "of a single session, bias ± 1.96 SD, and their 95 % intervals"),
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
    return Table(_caption("every session", contrast, seg), columns, lines, 3)


def every_overlap_table(rows: Rows, contrast: str, seg: str) -> Table:
    """Dice, a row per region, session and image, each side for itself too."""
    columns = [("Region", ""), ("Session", ""), ("Image", ""), ("Subjects", "n"), ("Dice", "mean ± SD")]
    columns += [("Change", "image minus low field"), ("p", f"Wilcoxon signed-rank, Holm-corrected; {UNTESTED}")]
    lines = []
    for row in _chosen(rows, contrast, seg):
        head = [Cell(row["name"]), Cell(session_text(row["session"]), row["session"])]
        cells = _overlap_cells(row, row["image"])
        cells += [Cell("baseline", ""), Cell("")] if row["image"] == BASELINE else []
        lines.append([*head, Cell(name_of(row["image"]), row["image"]), *cells])
    return Table(_caption("every session", contrast, seg), columns, lines, 3)
