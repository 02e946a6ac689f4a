"""The page of a cohort: one HTML file that opens anywhere, made from the tidy rows and the tables of the group."""

import base64
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import CONTRASTS
from ..evaluation.cohort import (
    BASELINE,
    MEASURES,
    metric_table,
    people_table,
    percent_rows,
    retest_table,
    volume_table,
)
from . import group_tables as tab
from .cohort import NO_SESSION, Cohort
from .group_dictionary import TABLES
from .group_figures import Figure, metric_figure, retest_figures, volume_figures
from .tables import HEADLINE, PRIMARY, judged, metric_name, number, signed

TEMPLATE = "group.html.jinja"

Tables = Mapping[str, Sequence[Mapping[str, Any]]]


def group_tables(cohort: Cohort) -> dict[str, list[dict[str, Any]]]:
    """The rows of every table of ``group_dictionary.TABLES``."""
    primary = [row for row in cohort.metrics if (row["protocol"], row["region"]) == (PRIMARY, "brain")]
    quantities = [row | {"quantity": row["metric"], "name": NO_SESSION} for row in primary]
    quantities += [row | {"quantity": "volume_difference_percent"} for row in percent_rows(cohort.volumes)]
    return {
        "metrics": metric_table(cohort.metrics),
        "volumes": volume_table(cohort.volumes),
        "retest": retest_table(cohort.volumes),
        "people": people_table(quantities, cohort.people),
        "quality": cohort.quality,
        "images": cohort.images,
    }


def group_figures(cohort: Cohort) -> list[Figure]:
    """Every figure that there is something to draw in."""
    first = metric_figure(cohort.metrics, cohort.methods)
    figures = volume_figures(cohort.volumes, cohort.methods) + retest_figures(cohort.volumes, cohort.methods)
    return ([first] if first else []) + figures


def group_page(cohort: Cohort, tables: Tables, figures: Sequence[Figure]) -> str:
    """The HTML text; every string from the dataset is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from .. import __version__
    from ..data import data_path, read_text

    environment = Environment(
        loader=FileSystemLoader(data_path(TEMPLATE).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    contrasts = sorted({row["contrast"] for row in tables["volumes"]}, key=_order)
    repeated = sorted({row["contrast"] for row in tables["retest"]}, key=_order)
    return environment.get_template(TEMPLATE).render(
        cohort=cohort,
        facts=facts(cohort),
        findings=list(findings(tables)),
        problems=problems(cohort),
        verdicts=Counter(row["verdict"] for row in cohort.quality),
        quality=tab.quality_table(tables["metrics"]),
        volumes=[tab.volume_page_table(tables["volumes"], contrast) for contrast in contrasts],
        dice=tab.dice_table(tables["metrics"]),
        retest=[tab.volume_page_table(tables["retest"], contrast, retest=True) for contrast in repeated],
        people=tab.people_page_table(tables["people"]),
        control=tab.control_table(cohort),
        missing=tab.missing_table(cohort),
        figures=[(figure, _picture(figure)) for figure in figures],
        files=[(name, len(tables[name]), list(TABLES[name])) for name in TABLES],
        protocol=PRIMARY,
        version=__version__,
        style=Markup(read_text("report.css") + read_text("group.css")),  # our own files, not the dataset's
        script=Markup(read_text("group.js")),
    )


def facts(cohort: Cohort) -> list[tuple[str, str]]:
    """The first things to know of a cohort: (what, value)."""
    sessions = sorted({row["session"] for row in cohort.quality})
    contrasts = sorted({row["contrast"] for row in cohort.images} - {NO_SESSION}, key=_order)
    paired = {row["subject"] for row in cohort.quality if row["high_field"]}
    people = [cohort.people.get(subject, {}) for subject in cohort.subjects]
    ages = [person["age"] for person in people if person.get("age") is not None]
    sexes = Counter(person["sex"] for person in people if person.get("sex"))
    found = [
        ("Subjects", str(len(cohort.subjects))),
        ("With high field", str(len(paired))),
        ("Low-field sessions", ", ".join(s for s in sessions if s != NO_SESSION) or ("1 each" if sessions else "none")),
        ("Contrasts", ", ".join(contrasts) or "none"),
        ("Methods", ", ".join(cohort.methods) or "none"),
    ]
    if ages:
        found.append(("Age, years", f"{number(sum(ages) / len(ages))} ({number(min(ages))} to {number(max(ages))})"))
    if sexes:
        found.append(("Sex", ", ".join(f"{n} {sex}" for sex, n in sorted(sexes.items()))))
    return found


def findings(tables: Tables) -> Iterator[tuple[str, str]]:
    """(better, worse or even; a sentence) on every method and contrast: quality, then volumes, sessions averaged."""
    rows = [row for row in tables["metrics"] if (row["protocol"], row["region"]) == (PRIMARY, "brain")]
    for row in _first_session(rows):
        change = row.get("difference_mean")
        if row["metric"] not in HEADLINE or not tab.known(change):
            continue
        p, n = row.get("p_holm"), row["pairs"]
        unit = " dB" if row["metric"] == "psnr" else ""
        tested = f"p {tab.p_text(p)}, " if tab.known(p) else ""
        word = judged(row["metric"], row["mean"] - change, row["mean"])
        word = word if tab.known(p) and p < tab.SIGNIFICANT else "even"
        told = f"{signed(change)}{unit} over the plain mean of the stacks ({tested}{n} subject{'s' * (n != 1)})"
        less = "" if tab.known(p) else "; too few for a test" if n < 6 else ""
        yield word, f"{row['contrast']}, {row['image']}: {metric_name(row['metric'])} {told}{less}."
    yield from _volume_findings(tables["volumes"])


def _volume_findings(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Mean absolute bias over regions, low field beside each method; a description, not a test."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in _first_session([row for row in rows if row["measure"] == MEASURES[0]]):
        if tab.known(row["difference_percent_mean"]):
            of = found.setdefault(row["contrast"], {})
            of.setdefault(row["image"], []).append(abs(row["difference_percent_mean"]))
    named = {BASELINE: "low field"}
    for contrast, images in found.items():
        means = {image: sum(values) / len(values) for image, values in images.items()}
        parts = ", ".join(f"{named.get(image, image)} {number(value, 2)} %" for image, value in means.items())
        count = len(images.get(BASELINE) or next(iter(images.values())))
        yield "", f"{contrast}: volumes differ from high field, on average over {count} regions, by {parts}."


def _first_session(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of all sessions averaged, or of the only session."""
    sessions = {row["session"] for row in rows}
    chosen = "all" if "all" in sessions else min(sessions, default="")
    return sorted((row for row in rows if row["session"] == chosen), key=lambda row: _order(row["contrast"]))


def problems(cohort: Cohort) -> list[str]:
    """Sentences on what keeps the page from being whole, the gravest first."""
    found = []
    if not cohort.subjects:
        found.append(
            "There is no subject in this derivative: no sub-… folder. Run the participant level first: "
            "bids_lfenhance BIDS_DIR OUT_DIR participant."
        )
    counts = Counter(row["status"] for row in cohort.incomplete)
    for status, count in counts.items():
        people = len({row["subject"] for row in cohort.incomplete if row["status"] == status})
        what = "image" if count == 1 else "images"
        found.append(f"{count} {what} of {people} subject{'s' * (people != 1)}: {status}; listed at the end.")
    if cohort.subjects and not cohort.metrics:
        found.append("No image was compared with high field, so there are no metrics.")
    if cohort.absent:
        some = ", ".join(f"sub-{name}" for name in cohort.absent[:8]) + (" and more" if len(cohort.absent) > 8 else "")
        found.append(
            f"{len(cohort.absent)} in participants.tsv of the dataset, but not in this derivative (not run yet, or "
            f"without low field): {some}."
        )
    return found + cohort.notes


def _order(contrast: str) -> tuple[int, str]:
    return (CONTRASTS.index(contrast) if contrast in CONTRASTS else len(CONTRASTS)), contrast


def _picture(figure: Figure) -> str:
    return "data:image/png;base64," + base64.b64encode(figure.png).decode("ascii")


def figure_paths(folder: Path, figures: Sequence[Figure]) -> dict[Path, bytes]:
    """Where each figure goes, and its bytes."""
    return {
        folder / f"{figure.name}.{kind}": content
        for figure in figures
        for kind, content in (("png", figure.png), ("svg", figure.svg))
    }
