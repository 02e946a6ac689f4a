"""The train level for the network of the regions: label maps alone will do, and what cannot be trained is refused."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_lfenhance.cli.run import main
from bids_lfenhance.segmentation import warps
from bids_lfenhance.simulators import labelmap
from bids_lfenhance.workflows import train
from bids_lfenhance.workflows.training_plan import LABEL_MAPS
from tests.segmentation.heads import STRAIGHT, head_of_blocks


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    folder = tmp_path / "maps"
    folder.mkdir()
    for number in range(4):
        nib.save(nib.Nifti1Image(head_of_blocks(), np.eye(4)), folder / f"head_{number}.nii.gz")
    return folder


def planned(bids: Path, out: Path, *more: str) -> int:
    return main([str(bids), str(out), "train", "--method", "regions", "--dry-run", *more])


def test_a_folder_of_label_maps_is_enough(maps, tmp_path, capsys):
    assert planned(maps, tmp_path / "out") == 0
    assert "train regions" in capsys.readouterr().out


def test_a_training_is_tested_by_dice_and_ends_well(maps, tmp_path, monkeypatch):
    """Its heads are of blocks, so no template is warped on to them: tests/segmentation/test_warps.py."""

    def in_turn(work, tasks, nprocs, ended):
        for name, task in tasks.items():
            ended(name, work(task), "")

    monkeypatch.setattr(train, "run_in_workers", in_turn)
    monkeypatch.setattr(labelmap, "fit_affine", lambda *_: (np.eye(4), None))
    monkeypatch.setattr(warps, "warp_to_template", lambda *_: STRAIGHT)
    out = tmp_path / "out"
    tiny = ("--set", "width=4", "steps=1", "patch=64", "batch=1")
    assert main([str(maps), str(out), "train", "--method", "regions", "--preset", "tiny", "--nprocs", "1", *tiny]) == 0
    assert (out / "test.tsv").read_text().splitlines()[0] == "person\tdice\tdice_low\tdice_thin"
    card = (out / "card.md").read_text()
    for said in (
        "# regions: any contrast",
        "Finds the regions",
        "Mean Dice over the regions",
        "no acquired image",
        "| dice_low |",
    ):
        assert said in card
    assert "PSNR" not in card


def test_a_dataset_may_stand_beside_the_label_maps(maps, tmp_path, capsys):
    dataset = tmp_path / "bids"
    dataset.mkdir()
    (dataset / "dataset_description.json").write_text('{"Name": "Real", "BIDSVersion": "1.10.0"}')
    assert planned(dataset, tmp_path / "out", "--label-maps", str(maps)) == 0
    assert "train regions" in capsys.readouterr().out


def test_label_maps_that_the_split_keeps_for_the_test_are_not_called_learned_from(maps, tmp_path, capsys):
    split = tmp_path / "split.json"
    parts = {"train": ["head_0", "head_1"], "validation": ["head_2"], "test": ["head_3"]}
    names = {part: [f"{LABEL_MAPS}/{name}" for name in parts[part]] for part in parts}
    split.write_text(json.dumps(names))
    assert planned(maps, tmp_path / "out", "--split", str(split)) == 0
    told = capsys.readouterr()
    assert "train: 2 subjects" in told.out
    assert "learned from" not in told.err


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--set", "patch=63"), "Expected an even patch"),
        (("--augment", "physics"), "Expected label maps alone for regions"),
        (("--contrasts", "T2w"), "Expected no --contrasts for regions"),
        (("--participant-label", "nosuch"), "Expected label maps of nosuch"),
    ],
)
def test_what_cannot_be_trained_is_refused(maps, tmp_path, capsys, more, sentence):
    assert planned(maps, tmp_path / "out", *more) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert "Traceback" not in told


def test_all_maps_of_a_person_are_in_one_part(maps, tmp_path, capsys):
    for number, path in enumerate(sorted(maps.iterdir())):
        path.rename(maps / f"sub-0{number // 2}_ses-{number % 2}.nii.gz")
    path = next(maps.iterdir())
    for session in (0, 1):
        (maps / f"sub-09_ses-{session}_dseg.nii.gz").write_bytes(path.read_bytes())
    assert planned(maps, tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert "6 label maps" in told
    assert [told.count(f"sub-0{number}") for number in (0, 1, 9)] == [1, 1, 1]
    assert planned(maps, tmp_path / "out", "--participant-label", "00", "09") == 2, "too few for three parts"
    assert "at least" in capsys.readouterr().err


def test_no_label_maps_at_all_are_refused(tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert planned(empty, tmp_path / "out") == 2
    assert "name their folder with --label-maps" in capsys.readouterr().err


def test_other_methods_still_want_a_dataset(maps, tmp_path, capsys):
    assert main([str(maps), str(tmp_path / "out"), "train", "--method", "pfsr", "--dry-run"]) == 2
    assert "dataset_description.json" in capsys.readouterr().err
