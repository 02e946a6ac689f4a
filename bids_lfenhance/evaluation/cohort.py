"""Tables of a cohort: means over subjects, differences to the baseline, agreement with high field, test–retest.

Statistics are over subjects: under the session ``ALL`` a subject's sessions are averaged first. The image "preproc" is
the baseline, "high" the high field beside a low-field session, any other word a method. ``place`` of a row is that of
its session: 0 for the one to show first, whose tests are a family of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .agreement import (
    bland_altman,
    difference_percent,
    hodges_lehmann,
    holm,
    icc_2_1,
    least_p,
    lin_ccc,
    mean_sd,
    pearson,
    signed_rank_ps,
    subject_means,
    within_subject_cv,
)
from .structures import HIGH, has_side
from .subject_values import ALL, SubjectValues

BASELINE = "preproc"
MEASURES = ("volume_mm3", "volume_soft_mm3")

METRIC_KEYS = ("contrast", "image", "protocol", "region", "metric")
PEOPLE_KEYS = ("contrast", "image", "segmentation", "quantity", "name")

Row = Mapping[str, Any]
Table = list[dict[str, Any]]


def metric_table(data: SubjectValues) -> Table:
    """Mean ± SD of every metric over subjects, and the difference to the baseline with Wilcoxon's test.

    Holm's correction is over all tests of one metric in one region under one protocol. The sessions to show first
    (averaged, if there are several), of all contrasts and methods, are one family, all others another.
    """
    table = _compared(data)
    _correct(table, ("protocol", "region", "metric"))
    return sorted(table, key=lambda row: (row["protocol"], row["region"], row["metric"], *_place(row)))


def summary_table(data: Sequence[SubjectValues]) -> Table:
    """As ``metric_table``, of quantities with one figure per subject; corrected over one quantity."""
    table = [row for some in data for row in _compared(some)]
    _correct(table, ("segmentation", "quantity"))
    order = list(dict.fromkeys((row["segmentation"], row["quantity"]) for row in table))
    return sorted(table, key=lambda row: (order.index((row["segmentation"], row["quantity"])), *_place(row)))


def overlap_table(data: SubjectValues) -> Table:
    """As ``metric_table``, of the Dice of every structure.

    Corrected over the structures and methods of one contrast and session: those with a side apart from those without.
    """
    table = _compared(data)
    for row in table:
        row["sided"] = has_side(row["name"])
    _correct(table, ("contrast", "session", "segmentation", "sided"))
    return _by_structure(table, data)


def _compared(data: SubjectValues) -> Table:
    table, tested, image_at, sessions = [], [], data.names.index("image"), data.labels()
    for key, own in data.cells.items():
        base = data.get(*key[:image_at], BASELINE, *key[image_at + 1 :])
        for place, session in enumerate(sessions):
            values = data.of(own, session)
            values = values[np.isfinite(values)]
            if values.size:
                mean, sd = mean_sd(values)
                row = {"session": session, "place": place, **dict(zip(data.names, key, strict=True)), "n": values.size}
                row |= {"sessions": int(np.isfinite(data.columns(own, session)).sum())}
                table.append(row | {"mean": mean, "sd": sd})
                if key[image_at] not in (BASELINE, HIGH):
                    tested.append((table[-1], *data.paired(own, base, session)))
    p_values = signed_rank_ps([enhanced - baseline for _, enhanced, baseline in tested])
    for (row, enhanced, baseline), p in zip(tested, p_values, strict=True):
        mean, sd = mean_sd(enhanced - baseline)
        row |= {"pairs": baseline.size, "baseline_mean": mean_sd(baseline)[0], "difference_mean": mean}
        row |= {"difference_sd": sd, "difference_hodges_lehmann": hodges_lehmann(enhanced - baseline), "p": p}
    return table


def _correct(table: Sequence[dict[str, Any]], family: Sequence[str]) -> None:
    """Add to every tested row ``p_holm``, corrected within its family, and the least that so many pairs can reach."""
    families: dict[tuple, list[dict[str, Any]]] = {}
    for row in table:
        if "p" in row:
            families.setdefault((row["place"] == 0, *(row[key] for key in family)), []).append(row)
    for members in families.values():
        least = holm([least_p(row["pairs"]) for row in members])
        for row, p, lowest in zip(members, holm([row["p"] for row in members]), least, strict=True):
            row |= {"p_holm": p, "p_holm_least": lowest}


def _place(row: Row) -> tuple:
    """Order of the tables: contrast, session, the baseline before the methods, high field before both."""
    from ..config import CONTRASTS

    contrast = CONTRASTS.index(row["contrast"]) if row["contrast"] in CONTRASTS else len(CONTRASTS)
    images = {HIGH: 0, BASELINE: 1}
    return contrast, row["place"], images.get(row["image"], 2), row["image"]


def agreement(values: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Every figure of agreement of paired values as columns of a table.

    One value per subject, or (n, sessions): limits of a single session then, all else of the means of subjects.
    """
    limits, values, reference = bland_altman(values, reference), subject_means(values), subject_means(reference)
    r, p = pearson(values, reference)
    both = np.column_stack([values, reference])
    percent = difference_percent(values, reference)
    row: dict[str, float] = {"n": len(values)}
    for name, data in (("", values), ("reference_", reference), ("difference_percent_", percent)):
        row[f"{name}mean"], row[f"{name}sd"] = mean_sd(data[np.isfinite(data)])
    estimates = {"bias": limits.bias, "lower": limits.lower, "upper": limits.upper, "r": r}
    estimates |= {"icc": icc_2_1(both), "ccc": lin_ccc(values, reference)}
    for name, estimate in estimates.items():
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row | {"r_p": p}


def volume_table(volumes: SubjectValues) -> Table:
    """Agreement of the volume of every region with high field, for the baseline and each method, by both measures."""
    table, sessions = [], volumes.labels()
    for key, own, where in _images_of(volumes):
        high = volumes.get(key[0], HIGH, *key[2:])
        for place, session in enumerate(sessions):
            measured, reference = volumes.both(own, high, session)
            known = np.isfinite(measured).any(axis=1)
            if known.any():
                row = where | {"session": session, "place": place}
                table.append(row | agreement(measured[known], reference[known]))
    return _by_structure(table, volumes)


def retest_table(earlier: SubjectValues, later: SubjectValues) -> Table:
    """Agreement of the volumes of two low-field sessions, for every pair of ``session_pairs``."""
    table = []
    for key, own, where in _images_of(earlier):
        for place, pair in enumerate(earlier.sessions):
            before, after = earlier.paired(own, later.cells[key], pair)
            if before.size:
                row = where | {"session": pair, "place": place}
                row |= {"within_subject_cv_percent": within_subject_cv(before, after)}
                table.append(row | agreement(after, before))
    return _by_structure(table, earlier)


def _images_of(volumes: SubjectValues) -> Iterator[tuple[tuple[str, ...], np.ndarray, dict[str, Any]]]:
    for key, own in volumes.cells.items():
        where: dict[str, Any] = dict(zip(volumes.names, key, strict=True))
        if where["image"] != HIGH:
            yield key, own, where


def _by_structure(table: Table, data: SubjectValues) -> Table:
    at = data.names.index("segmentation")  # the name comes after it
    order = {name: number for number, name in enumerate(dict.fromkeys(key[at : at + 2] for key in data.cells))}

    def place(row: Row) -> tuple:
        contrast, *rest = _place(row)
        segmented = (row["segmentation"] == "tissue", row["segmentation"])
        return (
            contrast,
            *segmented,
            rest[0],
            order[row["segmentation"], row["name"]],
            row.get("measure", ""),
            *rest[1:],
        )

    return sorted(table, key=place)


def people_table(quantities: SubjectValues, people: Mapping[str, Row]) -> Table:
    """Every quantity by sex (mean ± SD) and against age (Pearson's r), over subjects, sessions averaged first.

    ``quantities`` by ``PEOPLE_KEYS``; ``people`` maps a subject to its ``sex`` (a word or None) and ``age`` (years or
    None).
    """
    persons = [people.get(subject, {}) for subject in quantities.subjects]
    sexes = np.array([str(person.get("sex") or "") for person in persons])
    ages = np.array([np.nan if person.get("age") is None else float(person["age"]) for person in persons])
    table: Table = []
    for key, cells in quantities.cells.items():
        values, where = quantities.of(cells, ALL), dict(zip(quantities.names, key, strict=True))
        known = np.isfinite(values)
        for sex in sorted(set(sexes[known]) - {""}):
            own = values[known & (sexes == sex)]
            mean, sd = mean_sd(own)
            table.append(where | {"by": "sex", "level": sex, "n": own.size, "mean": mean, "sd": sd})
        aged = known & np.isfinite(ages)
        if aged.any():
            mean, sd = mean_sd(values[aged])
            r, p = pearson(ages[aged], values[aged])
            row = where | {"by": "age", "level": "", "n": int(aged.sum()), "mean": mean, "sd": sd}
            table.append(row | {"r": r.value, "r_low": r.low, "r_high": r.high, "r_p": p})
    words = {word: number for number, word in enumerate(dict.fromkeys(key[2:] for key in quantities.cells))}

    def place(row: Row) -> tuple:
        contrast, *rest = _place({**row, "place": 0})
        return contrast, words[row["segmentation"], row["quantity"], row["name"]], *rest

    return sorted(table, key=place)
