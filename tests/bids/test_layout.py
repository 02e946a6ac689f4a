import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from bids_lfenhance.bids import layout
from bids_lfenhance.bids.layout import DATABASE, index_tree, list_images

from ..refusals import refused
from .conftest import MakeTree


def names(images: dict[str, list[Path]]) -> dict[str, list[str]]:
    return {subject: sorted(path.name for path in paths) for subject, paths in images.items()}


def test_only_anat_of_the_requested_subjects_is_indexed(make_tree: MakeTree, low: dict[str, Any]) -> None:
    root = make_tree({"01/HFC/acq-axi_T1w": low, "011/HFC/T1w": low, "02/-/T2w": low})
    for folder in ("sub-01/ses-HFC/func", "sub-01/anat", "derivatives/x/sub-01/anat", "sourcedata/sub-01/anat"):
        (root / folder).mkdir(parents=True)
        (root / folder / "sub-01_FLAIR.nii.gz").touch()
    indexed = {Path(path).relative_to(root).as_posix() for path in index_tree(root, ["01"]).files}
    assert indexed == {
        "sub-01/anat/sub-01_FLAIR.nii.gz",
        "sub-01/ses-HFC/anat/sub-01_ses-HFC_acq-axi_T1w.json",
        "sub-01/ses-HFC/anat/sub-01_ses-HFC_acq-axi_T1w.nii.gz",
    }


def test_dangling_links_are_listed(make_tree: MakeTree, low: dict[str, Any]) -> None:
    root = make_tree({"01/-/T1w": low})
    (root / "sub-01" / "anat" / "sub-01_T2w.nii.gz").symlink_to(root / ".git" / "annex" / "gone")
    images, _ = list_images(root, ["01"])
    assert names(images) == {"01": ["sub-01_T1w.nii.gz", "sub-01_T2w.nii.gz"]}


def test_odd_folders_are_walked(make_tree: MakeTree, low: dict[str, Any], tmp_path: Path) -> None:
    root = make_tree({"01/A/T1w": low, "02/A/T1w": low}).rename(tmp_path / "a b#c%20(d)+[e]?")
    moved = (root / "sub-02").rename(tmp_path / "elsewhere")
    (root / "sub-02").symlink_to(moved)
    (tmp_path / "link").symlink_to(root)
    for start in (root, tmp_path / "link"):
        images, _ = list_images(start, ["01", "02"])
        assert names(images) == {"01": ["sub-01_ses-A_T1w.nii.gz"], "02": ["sub-02_ses-A_T1w.nii.gz"]}
        assert all(path.is_relative_to(start) for paths in images.values() for path in paths)


def test_database_is_made_once_and_then_answers(
    make_tree: MakeTree, low: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, database = make_tree({"01/-/T1w": low, "02/-/T1w": low}), tmp_path / "db" / "here"
    first, _ = list_images(root, ["01"], database)
    assert [path.name for path in database.iterdir()] == [DATABASE]
    before = (database / DATABASE).read_bytes()
    monkeypatch.setattr(layout, "index_tree", None)  # nothing is listed anew
    second, warnings = list_images(root, ["01"], database)
    assert names(first) == names(second) == {"01": ["sub-01_T1w.nii.gz"]}
    assert warnings == ()
    assert (database / DATABASE).read_bytes() == before
    assert names(list_images(root, ["02"], database)[0]) == {"02": ["sub-02_T1w.nii.gz"]}


def test_database_that_is_out_of_date_says_so(make_tree: MakeTree, low: dict[str, Any], tmp_path: Path) -> None:
    root = make_tree({"01/-/T1w": low, "01/-/T2w": low})
    list_images(root, ["01"], tmp_path / "db")
    make_tree({"03/-/T1w": low})
    (root / "sub-01" / "anat" / "sub-01_T2w.nii.gz").unlink()
    images, warnings = list_images(root, ["01", "03"], tmp_path / "db")
    assert names(images) == {"01": ["sub-01_T1w.nii.gz"], "03": ["sub-03_T1w.nii.gz"]}
    assert len(warnings) == 2
    assert "sub-01_T2w.nii.gz" in warnings[0]
    assert "sub-03" in warnings[1]


def test_images_and_sessions_that_came_since_are_not_passed_over(
    make_tree: MakeTree, low: dict[str, Any], tmp_path: Path
) -> None:
    root = make_tree({"01/A/acq-axi_T1w": low, "02/A/acq-axi_T1w": low})
    list_images(root, ["01", "02"], tmp_path / "db")
    make_tree({"01/A/acq-cor_T1w": low, "01/B/acq-axi_T1w": low})
    images, (warning,) = list_images(root, ["01", "02"], tmp_path / "db")
    assert {path.name for path in images["01"]} == {
        *("sub-01_ses-A_acq-axi_T1w.nii.gz", "sub-01_ses-A_acq-cor_T1w.nii.gz", "sub-01_ses-B_acq-axi_T1w.nii.gz")
    }
    assert "sub-01" in warning
    assert "sub-02" not in warning


def test_database_of_another_dataset_or_none_at_all(make_tree: MakeTree, low: dict[str, Any], tmp_path: Path) -> None:
    root = make_tree({"01/-/T1w": low})
    list_images(root, ["01"], tmp_path / "db")
    other = root.rename(tmp_path / "other")
    make_tree({"01/-/T1w": low})
    with refused("bad-index", path=tmp_path / "db"):
        list_images(other, ["01"], tmp_path / "db")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / DATABASE).write_bytes(b"no database" * 100)
    with refused("bad-index", path=tmp_path / "broken"):
        list_images(other, ["01"], tmp_path / "broken")
    (tmp_path / "file").touch()
    with refused("bad-index", path=tmp_path / "file"):
        list_images(other, ["01"], tmp_path / "file")


def _list_in_child(arguments: tuple[Path, Path]) -> int:
    root, database = arguments
    images, warnings = list_images(root, ["01", "02"], database)
    return sum(map(len, images.values())) if not warnings else -1


def test_runs_that_start_together_share_a_database(make_tree: MakeTree, low: dict[str, Any], tmp_path: Path) -> None:
    root = make_tree({f"{subject}/HFC/acq-{acq}_T1w": low for subject in ("01", "02") for acq in ("axi", "cor", "sag")})
    with multiprocessing.get_context("fork").Pool(6) as pool:
        counts = pool.map(_list_in_child, [(root, tmp_path / "db")] * 12, chunksize=1)
    assert counts == [6] * 12
    assert [path.name for path in (tmp_path / "db").iterdir()] == [DATABASE]
