"""The page of a cohort: one HTML file that opens anywhere, made from the figures and the tables of the group."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..bids.scans import shorten
from ..config import CONTRASTS
from ..evaluation.agreement import difference_percent
from ..evaluation.cohort import (
    BASELINE,
    MEASURES,
    PEOPLE_KEYS,
    metric_table,
    overlap_table,
    people_table,
    retest_table,
    summary_table,
    volume_table,
)
from ..evaluation.protocols import PRIMARY
from ..evaluation.session_pairs import session_pairs
from ..evaluation.structures import (
    HIGH,
    SUMMARY_KEYS,
    has_side,
    overlap_summary,
    repeat_summary,
    volume_summary,
    with_both_sides,
)
from ..evaluation.subject_values import SubjectValues
from ..evaluation.thresholds import PURPOSES
from ..evaluation.usable import WORDS
from . import group_data as data
from . import group_regions as regions
from . import group_tables as tab
from .cohort import NO_SESSION, Cohort
from .group_change import change_table, longitudinal
from .group_dictionary import TABLES
from .group_figures import FEWEST, Figure, agreement_figure, metric_figure, pair_text, retest_figure, structure_figure
from .group_strips import quality_strips, thumbnails, volume_strips
from .rendering import render
from .session_order import labels_in_time
from .tables import number

TEMPLATE = "group.html.jinja"

Tables = Mapping[str, Sequence[Mapping[str, Any]]]


def group_tables(cohort: Cohort) -> dict[str, list[dict[str, Any]]]:
    """The rows of every table of ``group_dictionary.TABLES``."""
    volumes = with_both_sides(cohort.volumes)
    pairs = session_pairs(volumes, cohort.order)
    summaries = [
        _metric_summary(cohort.metrics),
        overlap_summary(cohort.overlaps),
        volume_summary(volumes),
        repeat_summary(*pairs),
    ]
    return {
        "summary": summary_table(summaries),
        "metrics": metric_table(cohort.metrics),
        "overlap": overlap_table(cohort.overlaps),
        "volumes": volume_table(volumes),
        "retest": retest_table(*pairs),
        "people": people_table(_quantities(summaries[:3], volumes), cohort.people),
        "quality": [data.bids_keys(row) for row in cohort.quality],
        "images": [data.bids_keys(row) for row in cohort.images],
        "volumes_long": data.volumes_long(cohort),
        "volumes_wide": data.volumes_wide(cohort),
        "metrics_long": data.metrics_long(cohort),
        "longitudinal": longitudinal(cohort),
    }


def _metric_summary(metrics: SubjectValues) -> SubjectValues:
    """The metrics that are one figure per subject: inside the brain, under the deciding protocol."""
    summary = metrics.like(SUMMARY_KEYS)
    for quantity in regions.QUANTITIES:
        for key, cells in metrics.cells.items():
            if key[2:] == (PRIMARY, "brain", quantity):
                summary.cells[key[0], key[1], NO_SESSION, quantity] = cells
    return summary


def _quantities(summaries: Sequence[SubjectValues], volumes: SubjectValues) -> SubjectValues:
    """What is tabulated by sex and age: the summaries, and volume and relative difference of every structure."""
    quantities = volumes.like(PEOPLE_KEYS)
    for some in summaries:
        quantities.cells |= {(*key, NO_SESSION): cells for key, cells in some.cells.items()}
    for (contrast, image, seg, name, measure), cells in volumes.cells.items():
        if measure == MEASURES[0] and not has_side(name):
            quantities.cells[contrast, image, seg, measure, name] = cells
            percent = difference_percent(cells, volumes.get(contrast, HIGH, seg, name, measure))
            if image != HIGH:
                quantities.cells[contrast, image, seg, "volume_difference_percent", name] = percent
    return quantities


def group_figures(cohort: Cohort, tables: Tables) -> list[Figure]:
    """Every figure that there is something to draw in."""
    volumes, images = with_both_sides(cohort.volumes), (BASELINE, *cohort.methods)
    pairs = session_pairs(volumes, cohort.order)
    figures = [metric_figure(cohort.metrics, cohort.methods)]
    structures = [row for name in ("volumes", "retest", "overlap") for row in tables[name]]
    for contrast in _contrasts(tables, "volumes", "retest", "overlap"):
        for seg in regions.segmentations_of([row for row in structures if row["contrast"] == contrast])[:1]:
            dice, sizes = (regions.structure_rows(tables[name], contrast, seg) for name in ("overlap", "volumes"))
            figures.append(structure_figure(dice, sizes, contrast, images))
            figures.append(agreement_figure(volumes, contrast, seg, images))
            for row in regions.structure_rows(tables["retest"], contrast, seg)[:1]:
                figures.append(retest_figure(pairs, contrast, seg, images, row["session"]))
    return [figure for figure in figures if figure]


def _contrasts(tables: Tables, *names: str) -> list[str]:
    return sorted({row["contrast"] for name in names for row in tables[name]}, key=_order)


def group_page(cohort: Cohort, tables: Tables, figures: Sequence[Figure]) -> str:
    """The HTML text; every string from the dataset is escaped."""
    from markupsafe import Markup

    images = (BASELINE, *cohort.methods)
    titles = {name: title for name, (title, _, _) in regions.QUANTITIES.items()}
    people = regions.of_finest(tables["people"])
    ages = [tab.age_table(people, contrast, images) for contrast in _contrasts(tables, "people")]
    return render(
        TEMPLATE,
        styles=("report.css", "group.css"),
        scripts=("group.js",),
        cohort=cohort,
        facts=facts(cohort),
        segmentation=_segmentation_names(tables),
        headline=regions.headline_table(tables["summary"]),
        pairs=_shown_pairs(tables["summary"]),
        findings=list(regions.findings(tables["summary"])),
        problems=problems(cohort),
        purposes=PURPOSES,
        usable={purpose: _counts(row.get(purpose) for row in cohort.images) for purpose in PURPOSES},
        quality=tab.quality_table(tables["metrics"]),
        overlaps=_sections("Overlap", tables["overlap"], images, _overlap_tables),
        volumes=_sections("Volumes", tables["volumes"], images, _volume_tables),
        retest=_sections("Retest", tables["retest"], images, partial(_volume_tables, retest=True)),
        people=tab.people_page_table(people, titles),
        ages=[table for table in ages if table.rows],
        control=tab.control_table(cohort),
        strips=quality_strips(cohort),
        volume_strips=volume_strips(cohort),
        wall=thumbnails(cohort),
        changes=change_table(tables["longitudinal"], cohort),
        missing=tab.missing_table(cohort),
        figures=[(figure, Markup(figure.svg)) for figure in figures],  # what is of the dataset is escaped there
        files=[(name, len(tables[name]), list(TABLES[name])) for name in TABLES],
        fewest=FEWEST,
    )


def _shown_pairs(summary: Sequence[Mapping[str, Any]]) -> list[str]:
    """The pairs of sessions whose difference is in the first table, as words."""
    rows = (of.get("repeat_percent") for of in regions.headline_rows(summary).values())
    return list(dict.fromkeys(pair_text(row["session"]) for row in rows if row))


def _counts(words: Iterable[str | None]) -> dict[str, int]:
    """How often each verdict occurs, from good to bad."""
    counts = Counter(words)
    return {word: counts[word] for word in WORDS if counts[word]}


def _segmentation_names(tables: Tables) -> str:
    """Whose structures the headline is of."""
    words = {
        "regions": "the regions",
        "synthseg": "SynthSeg's regions",
        "tissue": "the tissue segmentation (CSF, GM, WM)",
    }
    names = regions.segmentations_of(tables["summary"])
    return words.get(names[0], names[0]) if names else ""


@dataclass(frozen=True)
class Section:
    """The tables of one contrast and segmentation; ``details`` are folded, all of it where not ``first``."""

    contrast: str
    title: str
    first: bool
    tables: Sequence[tuple[str, tab.Table]]
    details: tab.Table


def _sections(what: str, rows: Sequence[Mapping[str, Any]], images: Sequence[str], make: Any) -> list[Section]:
    """``what`` begins the name of every table."""
    sections = []

    def named(table: tab.Table) -> tab.Table:
        return replace(table, caption=f"{what}: {table.caption}")

    for contrast in sorted({row["contrast"] for row in rows}, key=_order):
        of = [row for row in rows if row["contrast"] == contrast]
        for number_, seg in enumerate(regions.segmentations_of(of)):
            tables, details = make(of, contrast, seg, images)
            shown = [(title, named(table)) for title, table in tables]
            title = regions.SEGMENTATIONS.get(seg, seg)
            sections.append(Section(contrast, title, number_ == 0, shown, named(details)))
    return sections


def _overlap_tables(rows: Any, contrast: str, seg: str, images: Sequence[str]) -> Any:
    shown = [("", regions.overlap_page_table(rows, contrast, seg, images))]
    return shown, regions.every_overlap_table(rows, contrast, seg)


def _volume_tables(rows: Any, contrast: str, seg: str, images: Sequence[str], retest: bool = False) -> Any:
    pairs = regions.structure_rows(rows, contrast, seg)[:1] if retest else []
    of = "".join(f": {pair_text(row['session'])}" for row in pairs)
    shown = [
        (f"Bias and limits of agreement{of}", regions.bias_table(rows, contrast, seg, images, retest)),
        (f"Correlation and agreement{of}", regions.agreement_table(rows, contrast, seg, images)),
    ]
    return shown, regions.every_volume_table(rows, contrast, seg, retest)


def facts(cohort: Cohort) -> list[tuple[str, str]]:
    """The first things to know of a cohort: (what, value)."""
    sessions = labels_in_time(cohort.dates, (row["session"] for row in cohort.quality))
    contrasts = sorted({row["contrast"] for row in cohort.images} - {NO_SESSION}, key=_order)
    paired = {row["subject"] for row in cohort.quality if row["high_field"]}
    people = [cohort.people.get(subject, {}) for subject in cohort.subjects]
    ages = [person["age"] for person in people if person.get("age") is not None]
    sexes = Counter(person["sex"] for person in people if person.get("sex"))
    lines = [
        ("Subjects", str(len(cohort.subjects))),
        ("With high field", str(len(paired))),
        ("Low-field sessions", ", ".join(s for s in sessions if s != NO_SESSION) or ("1 each" if sessions else "none")),
        ("Contrasts", ", ".join(contrasts) or "none"),
        ("Methods", ", ".join(cohort.methods) or "none"),
    ]
    if ages:
        lines.append(("Age, years", f"{number(sum(ages) / len(ages))} ({number(min(ages))} to {number(max(ages))})"))
    if sexes:
        lines.append(("Sex", ", ".join(f"{n} {sex}" for sex, n in sorted(sexes.items()))))
    return lines


def problems(cohort: Cohort) -> list[str]:
    """Sentences on what keeps the page from being whole, the gravest first."""
    sentences = []
    if not cohort.subjects:
        sentences.append(
            "There is no subject in this derivative: no sub-… folder. Run the participant level first: "
            "bids_lfenhance BIDS_DIR OUT_DIR participant."
        )
    counts = Counter(row["status"] for row in cohort.incomplete)
    for status, count in counts.items():
        people = len({row["subject"] for row in cohort.incomplete if row["status"] == status})
        what = "image" if count == 1 else "images"
        sentences.append(f"{count} {what} of {people} subject{'s' * (people != 1)}: {status}; listed at the end.")
    unfit = [row for row in cohort.images if row.get("measure") == "no" and row["segmentations"]]
    if unfit:
        names = (f"sub-{row['subject']} {row['session']} {row['contrast']} ({row['image']})" for row in unfit)
        sentences.append(
            f"{len(unfit)} image{'s' * (len(unfit) != 1)} not usable to measure volumes, but in every table and figure "
            f"of volumes: {shorten(names, 8)}; look at them, and leave out what "
            "has failed by the column measure of volumes_long.tsv and volumes_wide.tsv."
        )
    if cohort.subjects and not cohort.metrics.cells:
        sentences.append("No image was compared with high field, so there are no metrics.")
    if cohort.absent:
        some = shorten((f"sub-{name}" for name in cohort.absent), 8)
        sentences.append(
            f"{len(cohort.absent)} in participants.tsv of the dataset, but not in this derivative (not run yet, "
            f"refused before it began, or without low field): {some}."
        )
    return sentences + cohort.notes


def _order(contrast: str) -> tuple[int, str]:
    return (CONTRASTS.index(contrast) if contrast in CONTRASTS else len(CONTRASTS)), contrast
