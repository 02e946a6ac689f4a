"""What the group page says of what is not as it should be."""

import json
from pathlib import Path

import pytest

from .fake_cohort import Cohort, build
from .group_reader import read
from .test_group import report


def test_an_image_that_is_not_usable_to_measure_is_named_and_its_volumes_say_it(tmp_path: Path) -> None:
    _, out = build(tmp_path, Cohort(3, ("A",), ("T1w",), segmentations=("tissue", "regions")))
    (sidecar,) = out.glob("sub-002/ses-A/anat/*_desc-inr_T1w.json")
    no = dict.fromkeys(("look", "segment", "measure"), "no")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"Usable": no}))
    outcome = report(tmp_path)
    (sentence,) = [one for one in outcome.problems if "sub-002" in one]
    assert "T1w (inr)" in sentence
    for name in ("volumes_long", "volumes_wide"):
        rows = read(out / "group" / f"{name}.tsv")
        judged = {(r["participant_id"], r["measure"]) for r in rows if r["image"] == "inr"}
        assert judged == {("sub-001", "yes"), ("sub-002", "no"), ("sub-003", "yes")}
        assert {r["look"] for r in rows if r["image"] != "inr"} == {"n/a"}


def test_a_report_on_some_says_of_how_many_and_one_on_all_does_not(tmp_path: Path) -> None:
    build(tmp_path, Cohort(3, ("A", "B"), ("T1w",), segmentations=()))
    (sentence,) = report(tmp_path, participant_label=("001", "003"), session_label=("A",)).problems
    assert "2 of 3 subjects" in sentence
    assert "session A" in sentence
    assert sentence in (tmp_path / "derivative" / "group.html").read_text()
    assert report(tmp_path, participant_label=("001", "002", "003")).problems == report(tmp_path).problems == ()


def test_an_image_that_nobody_has_is_missing_where_a_record_asks_for_it(tmp_path: Path) -> None:
    _, out = build(tmp_path, Cohort(3, ("A",), ("T1w",)))
    for path in out.glob("sub-*/ses-A/anat/*_desc-inr*"):
        path.unlink()
    for path in out.glob("sub-*/ses-A/anat/*_desc-preproc_qc.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"Method": "inr"}))
    outcome = report(tmp_path, drawn=True)
    assert (outcome.exit_code, outcome.incomplete) == (1, ("001", "002", "003"))
    rows = [r for r in read(out / "group" / "images.tsv") if r["status"] == "missing"]
    assert {(r["image"], r["contrast"]) for r in rows} == {("inr", "T1w")}


@pytest.mark.parametrize("scans", [5, {"a": 1}, "all"])
def test_a_damaged_record_is_named(tmp_path: Path, scans: object) -> None:
    _, out = build(tmp_path, Cohort(2, ("A",), ("T1w",)))
    (path,) = out.glob("sub-002/ses-A/anat/*_desc-preproc_qc.json")
    path.write_text(json.dumps({"Scans": scans}))
    assert report(tmp_path).incomplete == ("002",)
    details = [r["detail"] for r in read(out / "group" / "images.tsv") if r["participant_id"] == "sub-002"]
    assert any(path.name in detail for detail in details)
