import json
import multiprocessing
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from bids_lfenhance.bids.dataset import (
    APP,
    check_same_source,
    check_source,
    generated_by,
    newest_change,
    raw_link,
    source_dataset,
    write_dataset_files,
)
from bids_lfenhance.bids.tables import read_table

from ..refusals import refused
from .conftest import MakeTree

METHODS = {"inr": "Implicit neural representation", "interp": "Interpolation"}


@pytest.fixture
def source(make_tree: MakeTree) -> Path:
    """What lies at the root of ds006557: a DOI, releases, participants without ``sub-``."""
    root = make_tree({})
    (root / "participants.tsv").write_text("participant_id\tage\tsex\n01\t31.5\tM\n02\t\tF\n03\t40\tF\n")
    (root / "participants.json").write_text('{"age": {"Units": "year"}, "sex": {"Description": "sex"}}')
    (root / "CHANGES").write_text("1.0.2 2025-09-29\n  - link\n1.0.0 2025-08-13\n  - first\n")
    (root / "dataset_description.json").write_text(
        json.dumps(
            {
                "Name": "Tiny",
                "BIDSVersion": "1.2.1",
                "License": "CC0",
                "DatasetDOI": "doi:10.18112/openneuro.ds006557.v1.0.2",
                "Authors": ["A"],
            }
        )
    )
    return root


def test_what_the_source_says_is_carried_over(source: Path, tmp_path: Path) -> None:
    write_dataset_files(tmp_path / "out", source, METHODS, "0.1.0", subjects=["01", "02"])
    description = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert description["SourceDatasets"] == [
        {
            "URL": "https://doi.org/10.18112/openneuro.ds006557.v1.0.2",
            "DOI": "doi:10.18112/openneuro.ds006557.v1.0.2",
            "Version": "1.0.2",
        }
    ]
    assert (description["DatasetType"], description["License"]) == ("derivative", "CC0")
    assert description["DatasetLinks"]["raw"] == source.as_uri()
    assert (description["GeneratedBy"][0]["Name"], description["GeneratedBy"][0]["Version"]) == (APP, "0.1.0")
    assert read_table(tmp_path / "out" / "participants.tsv") == [
        {"participant_id": "sub-01", "age": "31.5", "sex": "M"},
        {"participant_id": "sub-02", "age": "n/a", "sex": "F"},
    ]
    assert read_table(tmp_path / "out" / "seg-tissue_dseg.tsv")[2] == {"index": "3", "name": "WM"}


def test_a_second_method_adds_and_a_repeat_changes_nothing(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_dataset_files(out, source, {"inr": METHODS["inr"]}, "0.1.0", subjects=["01"])
    (out / "README.md").write_text("my own words\n")
    with (out / ".bidsignore").open("a") as file:
        file.write("mine\n")
    write_dataset_files(out, source, {"interp": "new\tin two\nlines"}, "0.1.0", subjects=["02"])
    rows = {row["desc_id"]: row["description"] for row in read_table(out / "descriptions.tsv")}
    wanted = ["preproc", "brain", "preprocT2w", "inr", "inrStd", "inrRisk", "inrT1w", "interp", "interpRisk"]
    assert {f"desc-{name}" for name in wanted} <= set(rows)
    assert rows["desc-interp"] == "new in two lines"
    assert [row["participant_id"] for row in read_table(out / "participants.tsv")] == ["sub-01", "sub-02"]
    before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.is_file()}
    write_dataset_files(out, source, {"interp": "new in two lines"}, "0.1.0", subjects=["01"])
    assert {path: path.stat().st_mtime_ns for path in out.iterdir() if path.is_file()} == before
    assert (out / "README.md").read_text() == "my own words\n"
    assert (out / ".bidsignore").read_text().splitlines()[-1] == "mine"


def test_the_dataset_of_another_program_is_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "GeneratedBy": [{"Name": "fMRIPrep"}]}')
    with refused("out-dir-taken", path=tmp_path):
        write_dataset_files(tmp_path, source, METHODS, "0.1.0")
    with refused("out-dir-taken", path=source):
        write_dataset_files(source, source, METHODS, "0.1.0")


def test_a_source_that_says_little_is_enough(tmp_path: Path, make_tree: MakeTree, low: dict[str, Any]) -> None:
    root = make_tree({"01/-/T1w": low})
    (root / "dataset_description.json").write_text("{broken")
    (root / "participants.tsv").write_text("participant_id\tage\n\n01\nsub-02\t3\t4\n")
    write_dataset_files(tmp_path / "out", root, METHODS, "0.1.0", subjects=["01", "09"])
    assert "SourceDatasets" not in json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert read_table(tmp_path / "out" / "participants.tsv") == [
        {"participant_id": "sub-01", "age": "n/a"},
        {"participant_id": "sub-09", "age": "n/a"},
    ]


@pytest.mark.parametrize(
    ("changes", "version"),
    [
        ("1.0.2 2025-09-29\n - x\n1.0.1 2025-09-28\n", "1.0.2"),
        ("Revision history for x\n\nv2.1.0 2020-01-01\n  - y", "2.1.0"),
        ("# Changelog\n\n## [3.0.0-rc1] - 2024-05-06\n", "3.0.0-rc1"),
        ("nothing of the kind\n", None),
    ],
)
def test_newest_change(tmp_path: Path, changes: str, version: str | None) -> None:
    (tmp_path / "CHANGES").write_text(changes)
    assert newest_change(tmp_path) == version
    assert source_dataset(tmp_path, {"DatasetDOI": 3}) == ({"Version": version} if version else {})


def test_links_are_relative_only_inside_the_source(tmp_path: Path) -> None:
    assert raw_link(tmp_path / "derivatives" / "x", tmp_path) == "../.."
    assert raw_link(tmp_path / "out", tmp_path / "in") == (tmp_path / "in").as_uri()


@pytest.mark.parametrize(
    ("environment", "container"),
    [
        ({}, None),
        ({"BIDS_LFENHANCE_IMAGE": "lf:0.1"}, {"Type": "docker", "Tag": "lf:0.1"}),
        (
            {"APPTAINER_CONTAINER": "/images/lf.sif", "BIDS_LFENHANCE_IMAGE": "lf:0.1"},
            {"Type": "apptainer", "Tag": "lf:0.1", "URI": "file:///images/lf.sif"},
        ),
    ],
)
def test_container_only_where_there_is_one(environment: dict[str, str], container: dict[str, str] | None) -> None:
    assert generated_by("1", environment).get("Container") == container


def _write_in_child(arguments: tuple[Path, Path, str]) -> None:
    out, source, label = arguments
    write_dataset_files(out, source, {f"method{label}": f"about {label}"}, "0.1.0", subjects=[label])


def test_sixteen_processes_lose_no_row(source: Path, tmp_path: Path) -> None:
    labels = [f"{number:02d}" for number in range(48)]
    with multiprocessing.get_context("fork").Pool(16) as pool:
        pool.map(_write_in_child, [(tmp_path / "out", source, label) for label in labels], chunksize=1)
    described = {row["desc_id"] for row in read_table(tmp_path / "out" / "descriptions.tsv")}
    assert {f"desc-method{label}" for label in labels} <= described
    listed = [row["participant_id"] for row in read_table(tmp_path / "out" / "participants.tsv")]
    assert listed == [f"sub-{label}" for label in labels]
    assert not list((tmp_path / "out").glob(".tmp-*"))


@pytest.mark.parametrize(
    ("description", "code"),
    [
        ('{"Name": "x", "BIDSVersion": "1.8.0"}', None),
        ('{"Name": "x", "BIDSVersion": "1.8.0", "DatasetType": "derivative"}', "not-raw"),
        ('{"Name": "x"}', "not-bids"),
        ("[]", "bad-json"),
        (None, "not-bids"),
    ],
)
def test_what_does_not_declare_itself_raw_is_refused(tmp_path: Path, description: str | None, code: str | None) -> None:
    """No participant found, and not why: https://github.com/nipreps/nibabies/issues/448."""
    if description:
        (tmp_path / "dataset_description.json").write_text(description)
    with refused(code) if code else nullcontext():
        check_source(tmp_path)


def test_people_of_two_datasets_are_not_made_one(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert check_same_source(out, source) == ""
    write_dataset_files(out, source, {}, "1")
    assert check_same_source(out, source) == ""
    moved = source.rename(source.with_name("moved"))
    assert check_same_source(out, moved) == "", "the same dataset elsewhere"
    path = moved / "dataset_description.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"Name": "Another"}))
    with refused("out-dir-taken") as caught:
        check_same_source(out, moved)
    ours = out / "dataset_description.json"
    before = ours.read_text()
    assert "set Name in OUT_DIR's dataset_description.json to 'Another'" in str(caught.value)
    ours.write_text(json.dumps(json.loads(before) | {"Name": "Another"}))
    assert check_same_source(out, moved) == "", "what the sentence advises"
    ours.write_text(before)
    source.mkdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"Name": "Tiny"}))
    assert str(moved) in check_same_source(out, moved), "a copy, or another dataset of the same name"
    source.rmdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"Name": "Another"}))
    moved.rename(source)
    assert "Another" in check_same_source(out, source), "at the same place: a new name, or another dataset"


def test_a_name_that_was_never_filled_in_tells_no_two_datasets_apart(source: Path, tmp_path: Path) -> None:
    """Converters leave such a name; people of the same label would replace each other."""
    path = source / "dataset_description.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"Name": "TODO: name of the dataset"}))
    other = tmp_path / "other"
    shutil.copytree(source, other)
    write_dataset_files(tmp_path / "out", source, {}, "1")
    assert check_same_source(tmp_path / "out", source) == ""
    with refused("out-dir-taken"):
        check_same_source(tmp_path / "out", other)


def test_an_ignore_file_of_windows_is_kept(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".bidsignore").write_bytes(b"caf\xe9/\n")
    write_dataset_files(tmp_path / "out", source, {}, "1")
    assert "café/" in (tmp_path / "out" / ".bidsignore").read_text(encoding="utf-8")
