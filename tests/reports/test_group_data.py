"""The single figures of a cohort, as a statistician meets them: read by pandas and by readr's rules, and joined."""

import csv
import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bids_lfenhance.data import read_text
from bids_lfenhance.segmentation.regions import regions

from .fake_cohort import TISSUES, Cohort, build
from .group_reader import read
from .test_group import report

SUBJECTS, SESSIONS, METHODS = 3, ("HFC", "HFE"), ("inr", "interp")
KEYS = ["participant_id", "session_id"]


LESIONS = {"Masks": ["a_mask.nii.gz"], "VolumeMl": 1.5, "Count": 2, "Contrast": {"preproc": -0.2, "inr": -0.1}}


@pytest.fixture(scope="module")
def derivative(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "it"
    build(root, Cohort(SUBJECTS, SESSIONS, ("T1w",), METHODS, segmentations=("tissue", "regions")))
    anat = root / "derivative" / "sub-001" / "ses-HFC" / "anat"
    (sidecar,) = anat.glob("*_desc-inr_T1w.json")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"Lesions": LESIONS}))
    (table,) = anat.glob("*_seg-regions_*desc-inrT1w_dseg.tsv")
    head, first, *rest = table.read_text().splitlines()
    lines = [f"{head}\tvolume_error_mm3\tvolume_error_percent", f"{first}\t1234\t5.5"]
    table.write_text("\n".join([*lines, *(f"{row}\tn/a\tn/a" for row in rest)]) + "\n")
    report(root)
    return root / "derivative"


def by_pandas(path: Path) -> dict[str, list[Any]]:
    table = pd.read_csv(path, sep="\t")
    return {name: [None if pd.isna(value) else value for value in table[name]] for name in table}


def by_readr(path: Path) -> dict[str, list[Any]]:
    """As read_tsv(path, na = "n/a") guesses: logical, else double (no leading zeros), else character."""
    head, *rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines(), delimiter="\t", quotechar='"'))
    assert all(len(row) == len(head) for row in rows)
    columns = {}
    for place, name in enumerate(head):
        words = [None if row[place] == "n/a" else row[place] for row in rows]
        known = [word for word in words if word is not None]
        number = all(re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", word) for word in known)
        logical = all(word in ("T", "F", "TRUE", "FALSE", "true", "false") for word in known)
        columns[name] = words if logical or not number else [None if w is None else float(w) for w in words]
    return columns


READERS = pytest.mark.parametrize("reader", [by_pandas, by_readr])
TABLES = ("volumes_long", "volumes_wide", "metrics_long", "quality", "images")


@READERS
@pytest.mark.parametrize("name", TABLES)
def test_the_keys_are_those_of_participants_and_of_files(derivative: Path, reader: Any, name: str) -> None:
    people, table = reader(derivative / "participants.tsv"), reader(derivative / "group" / f"{name}.tsv")
    assert set(table["participant_id"]) == set(people["participant_id"]), "joined without a cast, nobody is lost"
    assert set(table["session_id"]) <= {"ses-HFC", "ses-HFE", "ses-GE"}
    assert len(table["session_id"]) > 0
    for person, session in zip(table["participant_id"], table["session_id"], strict=True):
        assert (derivative / person / session).is_dir()


@READERS
@pytest.mark.parametrize("name", TABLES)
def test_figures_are_numbers_and_no_cell_is_empty(derivative: Path, reader: Any, name: str) -> None:
    path = derivative / "group" / f"{name}.tsv"
    told = json.loads(path.with_suffix(".json").read_text())
    for column, values in reader(path).items():
        if "Units" in told[column] or column == "value":
            assert all(value is None or isinstance(value, int | float) for value in values), column
    assert not re.search(r"\t(\t|\n)|\bnan\b|\bNone\b", path.read_text())


def test_every_volume_is_there_once_and_says_its_share(derivative: Path) -> None:
    rows = read(derivative / "group" / "volumes_long.tsv")
    images = SUBJECTS * (len(SESSIONS) * (1 + len(METHODS)) + 1)
    assert len(rows) == images * (len(TISSUES) + len(regions()) + 1)
    names = ["participant_id", "session_id", "image", "seg", "name"]
    assert len({tuple(row[key] for key in names) for row in rows}) == len(rows)
    assert {row["session_id"] for row in rows if row["image"] == "high"} == {"ses-GE"}
    for row in rows[:400]:
        person, session = row["participant_id"], row["session_id"]
        image = "preproc" if row["image"] == "high" else row["image"]
        (table,) = (derivative / person / session / "anat").glob(f"*_seg-{row['seg']}_*desc-{image}T1w_dseg.tsv")
        source = {one["name"]: one for one in read(table)}
        assert float(row["volume_mm3"]) == pytest.approx(float(source[row["name"]]["volume_mm3"]), rel=1e-5)
        if row["seg"] == "regions":
            share = 100 * float(source[row["name"]]["volume_mm3"]) / float(source["total intracranial"]["volume_mm3"])
            assert float(row["volume_etiv_percent"]) == pytest.approx(share, rel=1e-4)
        else:
            assert row["volume_etiv_percent"] == row["freesurfer_name"] == "n/a"


def test_names_beside_ours_are_those_of_freesurfer(derivative: Path) -> None:
    rows = [row for row in read(derivative / "group" / "volumes_long.tsv") if row["seg"] == "regions"]
    names = {row["name"]: (row["index"], row["freesurfer_name"]) for row in rows}
    assert names["left inferior lateral ventricle"] == ("5", "Left-Inf-Lat-Vent")
    assert names["right ventral DC"] == ("60", "Right-VentralDC")
    assert names["total intracranial"] == ("n/a", "EstimatedTotalIntraCranialVol")
    sides = [(one.freesurfer, next(other for other in regions() if other.index == one.mirror)) for one in regions()]
    assert all(name.replace("Left-", "Right-", 1) == other.freesurfer for name, other in sides if "Left-" in name)
    assert len({one.freesurfer for one in regions()}) == json.loads(read_text("regions.json"))["regions"].__len__()


def test_long_and_wide_and_synthsegs_table_agree(derivative: Path) -> None:
    folder = derivative / "group"
    long = pd.read_csv(folder / "volumes_long.tsv", sep="\t")
    long = long[long["seg"] == "regions"]
    wide = pd.read_csv(folder / "volumes_wide.tsv", sep="\t").set_index([*KEYS, "image"])
    keys = [*KEYS, "image"]
    expected = long.pivot_table("volume_mm3", keys, "freesurfer_name")
    pd.testing.assert_frame_equal(wide[expected.columns].sort_index(), expected, check_names=False, check_dtype=False)
    table = pd.read_csv(folder / "volumes_synthseg.csv")
    assert list(table.columns[:3]) == ["subject", "total intracranial", "left cerebral white matter"]
    assert {"brain-stem", "csf", "right ventral DC"} <= set(table.columns)
    assert (len(table), table["subject"].nunique(), table.isna().sum().sum()) == (len(wide), len(wide), 0)
    soft = long.pivot_table("volume_soft_mm3", keys, "name")["left thalamus"]
    assert sorted(table["left thalamus"]) == pytest.approx(sorted(soft), rel=1e-4)


def test_every_figure_of_an_image_is_there_once(derivative: Path) -> None:
    rows = read(derivative / "group" / "metrics_long.tsv")
    names = [*KEYS, "contrast", "image", "protocol", "region", "metric"]
    found = {tuple(row[name] for name in names): float(row["value"]) for row in rows}
    assert len(found) == len(rows)
    expected = {}
    for path in derivative.glob("sub-*/ses-*/anat/*_qc.tsv"):
        where = path.relative_to(derivative).parts[:2]
        expected |= {(*where, *(row[name] for name in names[2:])): float(row["value"]) for row in read(path)}
    assert found == pytest.approx({key: value for key, value in expected.items() if math.isfinite(value)}, rel=1e-5)


def test_a_dataset_without_sessions_has_none(tmp_path: Path) -> None:
    """``n/a``, as BIDS writes what is not there: no word that could be taken for a session."""
    from bids_lfenhance.reports.group_data import bids_keys

    assert bids_keys({"subject": "01", "session": "n/a"}) == {"participant_id": "sub-01", "session_id": None}


def test_the_expected_error_stands_beside_the_volume_it_is_of(derivative: Path) -> None:
    rows = read(derivative / "group" / "volumes_long.tsv")
    (row,) = [row for row in rows if row["volume_error_mm3"] != "n/a"]
    assert (row["participant_id"], row["session_id"], row["image"]) == ("sub-001", "ses-HFC", "inr")
    assert (float(row["volume_error_mm3"]), float(row["volume_error_percent"])) == (1234, 5.5)


def test_an_image_is_one_row_under_the_keys_of_its_volumes(derivative: Path) -> None:
    """High field too, though several low-field sessions are compared with it."""

    def keys(name: str) -> list[tuple[str, ...]]:
        rows = read(derivative / "group" / f"{name}.tsv")
        return [tuple(row[key] for key in ("participant_id", "session_id", "contrast", "image")) for row in rows]

    images = keys("images")
    assert len(images) == len(set(images))
    assert set(keys("volumes_long")) <= set(images)


def test_lesions_stand_beside_the_image_they_are_seen_in(derivative: Path) -> None:
    rows = [row for row in read(derivative / "group" / "images.tsv") if row["lesion_ml"] != "n/a"]
    assert {(row["participant_id"], row["session_id"], row["lesion_ml"]) for row in rows} == {
        ("sub-001", "ses-HFC", "1.5"),
        ("sub-001", "ses-GE", "1.5"),
    }
    found = {row["image"]: row["lesion_contrast"] for row in rows}
    assert found == {"preproc": "-0.2", "inr": "-0.1", "high": "n/a"}
