"""Tables of a cohort from tidy rows: means over subjects, differences to the baseline, agreement, test–retest.

A tidy row is a mapping with ``subject``, ``session`` (the low-field session), ``contrast``, ``image`` ("preproc" is the
baseline, "high" the high field beside that session, any other word a method) and a figure. Statistics are over
subjects: under the session ``ALL`` a subject's sessions are averaged first.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from .agreement import (
    bland_altman,
    difference_percent,
    holm,
    icc_2_1,
    lin_ccc,
    mean_sd,
    pearson,
    signed_rank_p,
    within_subject_cv,
)

BASELINE, HIGH, ALL = "preproc", "high", "all"
MEASURES = ("volume_mm3", "volume_soft_mm3")

Row = Mapping[str, Any]
Rows = Sequence[Row]
Cells = dict[str, dict[str, float]]
"""Subject → session → figure."""


def gathered(rows: Iterable[Row], keys: Sequence[str], value: str = "value") -> dict[tuple, Cells]:
    """The finite figures of the rows by the words under ``keys``, in the order they come."""
    found: dict[tuple, Cells] = {}
    for row in rows:
        figure = row.get(value)
        if isinstance(figure, int | float) and math.isfinite(figure):
            cells = found.setdefault(tuple(row[key] for key in keys), {})
            cells.setdefault(row["subject"], {})[row["session"]] = float(figure)
    return found


def sessions_of(rows: Iterable[Row]) -> list[str]:
    """The session labels of the rows, before them ``ALL`` where there is more than one."""
    labels = sorted({row["session"] for row in rows})
    return [ALL, *labels] if len(labels) > 1 else labels


def subject_values(cells: Cells, session: str) -> dict[str, float]:
    """One figure per subject: of a session, or the mean of the subject's sessions under ``ALL``."""
    if session == ALL:
        return {subject: sum(own.values()) / len(own) for subject, own in sorted(cells.items())}
    return {subject: own[session] for subject, own in sorted(cells.items()) if session in own}


def paired(first: Cells, second: Cells, session: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Figures of the subjects that have both, and who they are; under ``ALL`` over the sessions that have both."""
    both = {
        subject: [label for label in own if label in second.get(subject, {})] for subject, own in sorted(first.items())
    }
    a, b = (
        subject_values({s: {k: cells[s][k] for k in labels} for s, labels in both.items() if labels}, session)
        for cells in (first, second)
    )
    return np.array(list(a.values())), np.array(list(b.values())), list(a)


METRIC_KEYS = ("contrast", "image", "protocol", "region", "metric")


def metric_table(rows: Rows) -> list[dict[str, Any]]:
    """Mean ± SD of every metric over subjects, and the difference to the baseline with Wilcoxon's test.

    Holm's correction is over all tests of one metric in one region under one protocol: contrasts, sessions, methods.
    """
    cells, table = gathered(rows, METRIC_KEYS), []
    sessions = sessions_of(rows)
    for key, own in cells.items():
        contrast, image, *rest = key
        base = cells.get((contrast, BASELINE, *rest), {})
        for session in sessions:
            values = list(subject_values(own, session).values())
            if not values:
                continue
            mean, sd = mean_sd(values)
            row = {"session": session, **dict(zip(METRIC_KEYS, key, strict=True)), "n": len(values)}
            row |= {"mean": mean, "sd": sd}
            table.append(row | (_against(own, base, session) if image != BASELINE else {}))
    _correct(table, ("protocol", "region", "metric"))
    return sorted(table, key=lambda row: (row["protocol"], row["region"], row["metric"], *_place(row)))


def _against(own: Cells, base: Cells, session: str) -> dict[str, Any]:
    ours, theirs, _ = paired(own, base, session)
    mean, sd = mean_sd(ours - theirs)
    p = signed_rank_p(ours, theirs)
    return {"pairs": ours.size, "difference_mean": mean, "difference_sd": sd, "p": p}


def _correct(table: Sequence[dict[str, Any]], family: Sequence[str]) -> None:
    """Gives every tested row its ``p_holm``, corrected within its family."""
    families: dict[tuple, list[dict[str, Any]]] = {}
    for row in table:
        if "p" in row:
            families.setdefault(tuple(row[key] for key in family), []).append(row)
    for members in families.values():
        for row, p in zip(members, holm([row["p"] for row in members]), strict=True):
            row["p_holm"] = p


def _place(row: Row) -> tuple:
    """Order of the tables: contrast, session (ALL first), the baseline before the methods."""
    from ..config import CONTRASTS

    contrast = CONTRASTS.index(row["contrast"]) if row["contrast"] in CONTRASTS else len(CONTRASTS)
    return contrast, row["session"] != ALL, row["session"], row["image"] != BASELINE, row["image"]


def agreement(values: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Every figure of agreement of paired values, one per subject, as columns of a table."""
    limits, (r, p) = bland_altman(values, reference), pearson(values, reference)
    both = np.column_stack([values, reference])
    percent = difference_percent(values, reference)
    found: dict[str, float] = {"n": len(values)}
    for name, figures in (("", values), ("reference_", reference), ("difference_percent_", percent)):
        found[f"{name}mean"], found[f"{name}sd"] = mean_sd(figures[np.isfinite(figures)])
    estimates = {"bias": limits.bias, "lower": limits.lower, "upper": limits.upper, "r": r}
    estimates |= {"icc": icc_2_1(both), "ccc": lin_ccc(values, reference)}
    for name, estimate in estimates.items():
        found |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return found | {"r_p": p}


def volume_table(rows: Rows) -> list[dict[str, Any]]:
    """Agreement of the volume of every region with high field, for the baseline and each method, by both measures."""
    sessions, table = sessions_of(rows), []
    for measure in MEASURES:
        cells = gathered(rows, ("contrast", "image", "name"), measure)
        for (contrast, image, name), own in cells.items():
            high = cells.get((contrast, HIGH, name), {})
            for session in sessions if image != HIGH else ():
                ours, theirs, _ = paired(own, high, session)
                if ours.size:
                    where = {"contrast": contrast, "session": session, "name": name, "image": image, "measure": measure}
                    table.append(where | agreement(ours, theirs))
    return _by_region(table, rows)


def retest_table(rows: Rows) -> list[dict[str, Any]]:
    """Agreement of two low-field sessions of the same people, for every pair of session labels; volumes by region."""
    table = []
    for measure in MEASURES:
        for (contrast, image, name), own in gathered(rows, ("contrast", "image", "name"), measure).items():
            labels = sorted({label for of_one in own.values() for label in of_one}) if image != HIGH else ()
            for first, second in combinations(labels, 2):
                both = [of_one for _, of_one in sorted(own.items()) if first in of_one and second in of_one]
                if both:
                    before, after = (np.array([of_one[label] for of_one in both]) for label in (first, second))
                    where = {"contrast": contrast, "session": f"{first}–{second}", "name": name, "image": image}
                    where |= {"measure": measure, "within_subject_cv_percent": within_subject_cv(before, after)}
                    table.append(where | agreement(after, before))
    return _by_region(table, rows)


def _by_region(table: Sequence[dict[str, Any]], rows: Rows) -> list[dict[str, Any]]:
    order = list(dict.fromkeys(row["name"] for row in rows))

    def place(row: Row) -> tuple:
        contrast, *rest = _place(row)
        return contrast, *rest[:2], order.index(row["name"]), MEASURES.index(row["measure"]), *rest[2:]

    return sorted(table, key=place)


def people_table(quantities: Rows, people: Mapping[str, Row]) -> list[dict[str, Any]]:
    """Every quantity by sex (mean ± SD) and against age (Pearson's r), over subjects, sessions averaged first.

    ``quantities`` are tidy rows with ``quantity``, ``name`` and ``value``; ``people`` maps a subject to its ``sex`` (a
    word or None) and ``age`` (years or None).
    """
    table, keys = [], ("contrast", "image", "quantity", "name")
    for key, cells in gathered(quantities, keys).items():
        values = subject_values(cells, ALL)
        where = dict(zip(keys, key, strict=True))
        for sex in sorted({people[s]["sex"] for s in values if people.get(s, {}).get("sex")}):
            mean, sd = mean_sd(own := [v for s, v in values.items() if people.get(s, {}).get("sex") == sex])
            table.append(where | {"by": "sex", "level": sex, "n": len(own), "mean": mean, "sd": sd})
        aged = {s: v for s, v in values.items() if people.get(s, {}).get("age") is not None}
        if aged:
            mean, sd = mean_sd(list(aged.values()))
            r, p = pearson(np.array([people[s]["age"] for s in aged]), np.array(list(aged.values())))
            row = where | {"by": "age", "level": "", "n": len(aged), "mean": mean, "sd": sd}
            table.append(row | {"r": r.value, "r_low": r.low, "r_high": r.high, "r_p": p})
    words = list(dict.fromkeys((row["quantity"], row["name"]) for row in quantities))

    def place(row: Row) -> tuple:
        contrast, *rest = _place({**row, "session": ALL})
        return contrast, words.index((row["quantity"], row["name"])), *rest

    return sorted(table, key=place)


def percent_rows(rows: Rows) -> list[dict[str, Any]]:
    """Tidy rows of the volume difference to high field in per cent, one for each row that is not high field."""
    high = {
        (row["subject"], row["session"], row["contrast"], row["name"]): row["volume_mm3"]
        for row in rows
        if row["image"] == HIGH
    }
    found = []
    for row in rows:
        truth = high.get((row["subject"], row["session"], row["contrast"], row["name"]))
        if row["image"] != HIGH and truth and row["volume_mm3"] is not None:
            found.append({**row, "value": 100 * (row["volume_mm3"] - truth) / truth})
    return found
