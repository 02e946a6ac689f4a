"""Reading participants.tsv, however it was written: the row of each subject, age and sex."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from .scans import shorten
from .sidecars import optional_json, read_json
from .tables import optional_table, read_table, table_text

TABLE = "participants.tsv"

Row = Mapping[str, str]

NOTHING = ("", "n/a", "na", "nan", "none", "null")
"""Texts of a cell without a value, in lower case."""

SEXES = {"f": "F", "female": "F", "woman": "F", "m": "M", "male": "M", "man": "M"}

UNITS = {
    1.0: r"y|yrs?|years?|years? old|a",
    12.0: r"m|mos?|months?|months? old",
    365.25 / 7: r"w|wks?|weeks?|weeks? old",
    365.25: r"d|days?|days? old",
}
"""Spellings of a unit of time, by how many of it are a year."""

_AGE = re.compile(
    rf"age(?:[ _.-]?at[ _.-]?[a-z]+)?(?:(?:[ _.-]+(?:in[ _.-]+)?|\s*[\[(])(?P<unit>{'|'.join(UNITS.values())})[\])]?)?",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"0*(?P<number>\d+(?:[.,]\d+)?)\+?\s*(?P<unit>[a-z ]*)\.?", re.IGNORECASE)


def given_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of a dataset's participants.tsv, ``sub-`` added where it was left out.

    Empty where there is no table or it cannot be read: ``participants_notes`` says so.
    """
    rows = optional_table(folder / TABLE)
    key = next((name for row in rows[:1] for name in row if name.lower() == "participant_id"), "participant_id")
    return [
        {"participant_id": _prefixed(row[key])} | {name: value for name, value in row.items() if name != key}
        for row in rows
        if row.get(key)
    ]


def columns_of(folder: Path) -> dict[str, Any]:
    """What participants.json says of the columns; empty where there is none to be read."""
    return optional_json(folder / TABLE.replace(".tsv", ".json"))


def own_rows(given: Sequence[Row], asked: Iterable[str]) -> dict[str, Row]:
    """The row of each person asked for (``sub-01``): the first that bears the label, else the one of the same number.

    A spreadsheet makes 1 of 01: sub-1 is taken for sub-01 where no other label has that number.
    """
    rows: dict[str, Row] = {}
    for row in given:
        rows.setdefault(row["participant_id"], row)
    asked = set(asked)
    numbers = Counter(_number(label) for label in {*rows, *asked} if label not in rows or label in asked)
    own = {}
    for label in asked:
        alike = [row for name, row in rows.items() if name == label] or [
            row for name, row in rows.items() if _number(name) == _number(label) and name not in asked
        ]
        if alike and (label in rows or (label[4:].isdigit() and numbers[_number(label)] == 1)):
            own[label] = alike[0]
    return own


def merged_participants(path: Path, source: Path, subjects: Iterable[str]) -> str:
    """participants.tsv with a row for each subject, ``sub-`` added where the source left it out."""
    asked = {f"sub-{subject}" for subject in subjects}
    before = read_table(path)
    columns, given = columns_of(source), given_rows(source)
    own = {
        label: {key: _spelled(value, columns.get(key)) for key, value in row.items()} | {"participant_id": label}
        for label, row in own_rows(given, asked).items()
    }
    rows = {row["participant_id"]: row for row in before if "participant_id" in row}
    rows |= {subject: rows.get(subject, {"participant_id": subject}) for subject in asked}
    rows |= {label: rows.get(label, {}) | row for label, row in own.items()}
    head = list(dict.fromkeys(["participant_id", *(key for row in [*given[:1], *before[:1]] for key in row)]))
    return table_text(head, [[row.get(key) or "n/a" for key in head] for _, row in sorted(rows.items())])


def age_and_sex(row: Row, columns: Mapping[str, Any]) -> dict[str, Any]:
    """``age`` in years and ``sex`` (F, M, or as it stands) of a row of the table, None where it does not say.

    The unit of age is that of the value ("8 months"), else of participants.json, else of the column's name
    (``age_months``), else years; a decimal comma is read, and "89+", which hides higher ages, as 89. Levels of
    participants.json are what codes stand for.
    """
    cells = {key.lower(): (key, value.strip()) for key, value in row.items() if value.strip().lower() not in NOTHING}
    ages = [_years(key, value, columns.get(key)) for key, value in cells.values() if _AGE.fullmatch(key)]
    key, sex = cells.get("sex") or cells.get("gender") or ("", "")
    levels = _levels(columns.get(key))
    meaning = levels.get(sex, sex)
    words = str(meaning.get("Description", sex) if isinstance(meaning, Mapping) else meaning).strip()
    known = SEXES.get(words.lower()) or SEXES.get(sex.lower(), sex)
    return {"age": next((age for age in ages if age is not None), None), "sex": known or None}


def participants_notes(folder: Path, subjects: Iterable[str]) -> tuple[str, ...]:
    """Sentences on rows that were not read as they stand: of several one was taken, an age that is no number."""
    given = given_rows(folder)
    try:
        read_table(folder / TABLE)
        read_json(folder / TABLE.replace(".tsv", ".json"))
    except InputError as error:
        if error.code != "missing-file":
            return (f"{error} It was not read.",)
    if not given:
        rows = read_table(folder / TABLE)
        return (f"{TABLE} was not read: no column participant_id with a label in it.",) if rows else ()
    own = dict(sorted(own_rows(given, [f"sub-{subject}" for subject in subjects]).items()))
    columns, count = columns_of(folder), Counter(row["participant_id"] for row in given)
    several = [label for label, row in own.items() if count[row["participant_id"]] > 1]
    other = [f"{row['participant_id']} for {label}" for label, row in own.items() if row["participant_id"] != label]
    unread = [
        f"{label} has {ages[0]!r}"
        for label, row in own.items()
        if (ages := _ages(row)) and age_and_sex(row, columns)["age"] is None
    ]
    sentences = (
        (several, f"{TABLE} has several rows for one person, the first was taken"),
        (other, f"Labels of {TABLE} were matched by their number"),
        (unread, "Ages that are no number of years were not read"),
    )
    return tuple(f"{words}: {shorten(items, 4)}." for items, words in sentences if items)


def _ages(row: Row) -> list[str]:
    """What stands in the columns of age."""
    return [value for key, value in row.items() if _AGE.fullmatch(key) and value.strip().lower() not in NOTHING]


def _years(name: str, value: str, column: Any) -> float | None:
    units = column.get("Units", column.get("units")) if isinstance(column, Mapping) else None
    match, named = _NUMBER.fullmatch(value), _AGE.fullmatch(name)
    if not match:
        return None
    unit = match["unit"].strip() or units or (named and named["unit"]) or "years"
    per_year = next((many for many, spelt in UNITS.items() if re.fullmatch(spelt, str(unit).strip().lower())), None)
    years = float(match["number"].replace(",", ".")) / per_year if per_year else math.nan
    return years if math.isfinite(years) else None


def _levels(column: Any) -> Mapping[str, Any]:
    levels = column.get("Levels") if isinstance(column, Mapping) else None
    return levels if isinstance(levels, Mapping) else {}


def _number(label: str) -> str:
    """A label without the zeros before a number: sub-01 and sub-1 are one."""
    return label.removeprefix("sub-").lstrip("0") or "0"


def _spelled(value: str, column: Any) -> str:
    """A value as its column's Levels spell it: "m" where they have "M", which the validator takes for an error.

    >>> _spelled("m", {"Levels": {"M": "male", "F": "female"}}), _spelled("x", None)
    ('M', 'x')
    """
    levels = _levels(column)
    alike = [level for level in levels if level.lower() == value.lower()]
    return alike[0] if alike and value not in alike else value


def _prefixed(label: str) -> str:
    return label if label.startswith("sub-") else f"sub-{label}"
