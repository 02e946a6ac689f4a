"""participants.tsv and .json as people have them: what age and sex they say, and what is said of the rest."""

import json
from pathlib import Path
from typing import Any

import pytest

from bids_lfenhance.bids.participants import (
    age_and_sex,
    columns_of,
    given_rows,
    merged_participants,
    own_rows,
    participants_notes,
)
from bids_lfenhance.bids.plan import make_plan
from bids_lfenhance.bids.unread_files import absent_participants

from .conftest import MakeTree

MONTHS = {"age": {"Description": "age", "Units": "months"}}


def read(folder: Path, table: str, columns: Any = None, encoding: str = "utf-8") -> dict[str, Any]:
    """Age and sex of sub-01."""
    (folder / "participants.tsv").write_bytes(table.encode(encoding))
    if columns is not None:
        text = columns if isinstance(columns, str) else json.dumps(columns)
        (folder / "participants.json").write_bytes(text.encode(encoding))
    return age_and_sex(own_rows(given_rows(folder), ["sub-01"])["sub-01"], columns_of(folder))


@pytest.mark.parametrize(
    ("column", "cell", "columns", "years"),
    [
        ("age", "30", None, 30),
        ("age", "30.5", None, 30.5),
        ("Age", "30,5", None, 30.5),
        ("age", "24", MONTHS, 2),
        ("age", "24", {"age": {"Units": "Month"}}, 2),
        ("age", "24", {"age": {"Units": "year"}}, 24),
        ("age", "8 months", {"age": {"Units": "years"}}, 8 / 12),
        ("age_months", "24", None, 2),
        ("age (weeks)", "52.17857", None, 1),
        ("Age[days]", "365,25", None, 1),
        ("age_in_years", "30", None, 30),
        ("age_at_scan", "30", None, 30),
        ("age", "030Y", None, 30),
        ("age", "006M", None, 0.5),
        ("age", "89+", None, 89),
        ("age", "30", {"age": {"Units": "decades"}}, None),
        ("age", "n/a", None, None),
        ("age", "NaN", None, None),
        ("age", "-1", None, None),
        ("agent", "3", None, None),
        ("age_group", "3", None, None),
        ("age", "30", "[broken", 30),
        ("age", "30", {"age": "in years"}, 30),
    ],
)
def test_ages_are_years_whatever_they_were_written_in(
    tmp_path: Path, column: str, cell: str, columns: Any, years: float | None
) -> None:
    """Months were taken for years: https://github.com/nipreps/nibabies/issues/388, …/issues/62."""
    age = read(tmp_path, f"participant_id\t{column}\nsub-01\t{cell}\n", columns)["age"]
    assert age == (None if years is None else pytest.approx(years))


@pytest.mark.parametrize(
    ("cell", "column", "sex"),
    [
        ("f", None, "F"),
        ("Male", None, "M"),
        ("2", {"Levels": {"1": "male", "2": "female"}}, "F"),
        ("2", {"Levels": {"2": {"Description": "Female"}}}, "F"),
        ("m", {"Levels": {"M": "the person is a man, as they say"}}, "M"),
        ("x", None, "x"),
        ("NA", None, None),
    ],
)
def test_sex_by_its_levels(tmp_path: Path, cell: str, column: Any, sex: str | None) -> None:
    """Codes that only participants.json explains: https://github.com/bids-standard/bids-examples/pull/446."""
    assert read(tmp_path, f"participant_id\tsex\nsub-01\t{cell}\n", {"sex": column} if column else None)["sex"] == sex


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("between", ["\t", ";"])
def test_encodings_and_signs_between(tmp_path: Path, encoding: str, between: str) -> None:
    table = between.join(["Participant_ID", "ort", "age"]) + "\r\n" + between.join(['"1"', "Köln", '"24,0"']) + "\r\n"
    assert read(tmp_path, table, MONTHS, encoding)["age"] == 2


def test_what_was_not_read_as_it_stands_is_said(make_tree: MakeTree, low: dict[str, Any]) -> None:
    """Several rows a person, ids without zeros, hidden ages (nibabies issue 62)."""
    root = make_tree({f"0{number}/A/T1w": low for number in (1, 2, 3)})
    (root / "participants.tsv").write_text("participant_id\tage\n01\t30\n01\t31\n2\told\n3\t24\nsub-04\t20\n")
    warnings = make_plan(root).warnings
    for words in (
        "participants.tsv has several rows for one person, the first was taken: sub-01.",
        "Labels of participants.tsv were matched by their number: sub-2 for sub-02, sub-3 for sub-03.",
        "Ages that are no number of years were not read: sub-02 has 'old'.",
        "1 of 4 people of participants.tsv is without data: sub-04.",
    ):
        assert len([sentence for sentence in warnings if sentence.startswith(words)]) == 1, words
    assert not [w for w in make_plan(root, ["03"]).warnings if "several rows" in w or "'old'" in w]


@pytest.mark.parametrize(
    ("table", "columns", "words"),
    [
        (b"subject\tage\nsub-01\t3\n", b"{}", "no column participant_id"),
        (b"participant_id\n", b"{}", ""),
        (b"\xff\xfep", b"{}", "UTF-16"),
        (b"participant_id\nsub-01\n", b"{broken", "valid JSON"),
        (b"participant_id\nsub-01\n", b"[]", "JSON object"),
    ],
)
def test_why_a_table_was_not_read(tmp_path: Path, table: bytes, columns: bytes, words: str) -> None:
    (tmp_path / "participants.tsv").write_bytes(table)
    (tmp_path / "participants.json").write_bytes(columns)
    notes = participants_notes(tmp_path, ["01"])
    assert len(notes) == bool(words)
    assert not words or words in notes[0]


def test_white_space_in_a_cell_makes_no_new_row_or_column(tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_text('participant_id,notes\n01,"two\nlines\tand a tab"\n')
    text = merged_participants(tmp_path / "out.tsv", tmp_path, ["01"])
    assert text == "participant_id\tnotes\nsub-01\ttwo lines and a tab\n"


def test_half_a_table_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "participants.tsv").write_bytes("participant_id\tage\n01\t30\n".encode("utf-16")[:-1])
    assert merged_participants(tmp_path / "out.tsv", tmp_path, ["01"]) == "participant_id\nsub-01\n"
    assert "not read" in participants_notes(tmp_path, ["01"])[0]


@pytest.mark.parametrize("written", ["sub-1", "1", "01"])
def test_who_is_listed_and_has_no_folder(tmp_path: Path, written: str) -> None:
    (tmp_path / "participants.tsv").write_text(f"participant_id\n{written}\nsub-07\n")
    absent, listed = absent_participants(tmp_path, ["sub-01"])
    assert absent == ["sub-07"]
    assert len(listed) == 2


def test_columns_a_user_added_to_the_derivative_stay_and_the_dataset_wins_elsewhere(tmp_path: Path) -> None:
    source, own = tmp_path / "raw", tmp_path / "participants.tsv"
    source.mkdir()
    (source / "participants.tsv").write_text("participant_id\tage\nsub-01\t65\n")
    own.write_text("participant_id\tage\tgroup\nsub-01\t6.5\tpatient\n")
    assert merged_participants(own, source, ["01"]).splitlines()[1].split("\t") == ["sub-01", "65", "patient"]
