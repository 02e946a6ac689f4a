from pathlib import Path

import pytest

from bids_lfenhance.bids.sidecars import SidecarFinder, bids_uri, merge_sidecars, read_json, split_name

from ..refusals import refused


def test_a_name_is_split_and_can_be_put_together_again() -> None:
    name = "sub-01_ses-HFC_acq-axi_run-02_T1w.nii.gz"
    entities, suffix, extension = split_name(name)
    assert "_".join([*(f"{key}-{value}" for key, value in entities.items()), suffix]) + extension == name


def test_nearer_and_more_specific_sidecars_overrule(tmp_path: Path) -> None:
    anat = tmp_path / "sub-01" / "ses-A" / "anat"
    anat.mkdir(parents=True)
    (tmp_path / "T1w.json").write_text('{"a": 1, "b": 1, "c": 1, "d": 1}')
    (tmp_path / "acq-axi_T1w.json").write_text('{"b": 2, "c": 2, "d": 2}')
    (tmp_path / "acq-cor_T1w.json").write_text('{"a": "of another scan"}')
    (tmp_path / "T2w.json").write_text('{"a": "of another contrast"}')
    (tmp_path / "sub-01" / "ses-A" / "sub-01_ses-A_T1w.json").write_text('{"c": 3, "d": 3}')
    (anat / "sub-01_ses-A_acq-axi_T1w.json").write_text('{"d": 4}')
    (anat / "sub-01_ses-A_acq-axi_run-1_T1w.json").write_text('{"d": "of another run"}')
    found = SidecarFinder(tmp_path).find(anat / "sub-01_ses-A_acq-axi_T1w.nii.gz")
    assert merge_sidecars(found) == {"a": 1, "b": 2, "c": 3, "d": 4}


def test_folders_above_the_dataset_do_not_count(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "sub-01" / "anat").mkdir(parents=True)
    (tmp_path / "T1w.json").write_text('{"a": 1}')
    assert SidecarFinder(root).find(root / "sub-01" / "anat" / "sub-01_T1w.nii.gz") == ()


@pytest.mark.parametrize("content", [b"{broken", b"\xff\xfe\x00", b"[1, 2]", b""])
def test_a_broken_sidecar_is_one_sentence_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sub-01_T1w.json"
    path.write_bytes(content)
    with refused("bad-json", path=path):
        read_json(path)


def test_an_annexed_sidecar_that_was_not_fetched_is_said_to_be_that(tmp_path: Path) -> None:
    path = tmp_path / "sub-01_T1w.json"
    path.symlink_to(tmp_path / ".git" / "annex" / "gone")
    with refused("missing-file", path=path):
        read_json(path)


def test_uri_of_a_file_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match="subpath"):
        bids_uri("/elsewhere/a.nii.gz", "/data")
