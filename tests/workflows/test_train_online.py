"""The train level for methods that simulate as they learn: high field alone will do, and so will a pack of it."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from bids_lfenhance.cli.run import main
from bids_lfenhance.imaging.volume import Stack, volume_from_channels
from bids_lfenhance.nn.weights import load_weights
from bids_lfenhance.simulators.labelmap import label_classes
from bids_lfenhance.training import jobs
from bids_lfenhance.training.examples import list_examples
from bids_lfenhance.training.heads import as_bytes, brain_labels
from bids_lfenhance.training.pack import read_pack
from bids_lfenhance.training.sessions import Session
from bids_lfenhance.workflows import train
from tests.simulators.online.phantoms import label_image
from tests.simulators.sources import phantom_source
from tests.workflows.simulated import HIGH, LOW, write_scan

SMALL = [
    *("--method", "fusionnet", "--precision", "fp32", "--omp-nthreads", "1", "--nprocs", "1"),
    *("--set", "width=8", "levels=2", "patch=16", "train_steps=2", "pool=2"),
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phantoms for heads, whose brain need not be looked for, and no other processes."""
    torch.set_num_threads(1)
    source = phantom_source("T1w", size=24)
    found = volume_from_channels(source.grid, {"T1w": source.image}), source.mask
    monkeypatch.setattr(jobs, "_brain_of", lambda job: found)

    def in_turn(work, tasks, nprocs, ended):
        for name, task in tasks.items():
            ended(name, work(task), "")

    monkeypatch.setattr(train, "run_in_workers", in_turn)


def write_heads(folder: Path) -> Path:
    """A dataset of three people's high field; beside it, which of them is for what."""
    root = folder / "high"
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "Phantoms", "BIDSVersion": "1.10.0", "License": "CC0"}')
    for person in ("01", "02", "03"):
        write_scan(root, f"sub-{person}", "T1w")
    (folder / "split-given.json").write_text(json.dumps({"train": ["01"], "validation": ["02"], "test": ["03"]}))
    return root


def test_high_field_that_is_thick_is_warned_of_before_it_is_learned_from(dataset: Path, tmp_path: Path, capsys) -> None:
    path = dataset / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((60, 60, 20), np.float32), np.diag([1, 1, 5, 1])), path)
    words = ["train", *SMALL, "--split", str(tmp_path / "split-given.json"), "--dry-run"]
    assert main([str(dataset), str(tmp_path / "out"), *words]) == 0
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "5 mm" in line]
    assert path.name in said


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_heads(tmp_path)


def run(dataset: Path, out: Path, *more: str) -> int:
    return main([str(dataset), str(out), "train", *SMALL, "--split", str(dataset.parent / "split-given.json"), *more])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training on high field alone."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        quick.__wrapped__(patch)  # type: ignore[attr-defined]
        assert run(write_heads(folder), folder / "out") == 0
    return folder / "out"


def test_high_field_alone_makes_weights_that_enhance(dataset: Path, trained: Path, tmp_path: Path, capsys) -> None:
    assert run(dataset, tmp_path / "out", "--dry-run") == 0
    assert "train fusionnet (tiny) · 3 heads" in capsys.readouterr().out
    loaded = load_weights(trained, "fusionnet", ("T1w",))
    assert loaded.trained_on == ("Phantoms/01", "Phantoms/02")
    assert loaded.settings["width"] == 8
    card = (trained / "card.md").read_text()
    assert "| train | Phantoms | simulated (online) | 1 | 1 | CC0 |" in card
    assert "| psnr-mean-of-stacks |" in card
    assert (trained / "test.tsv").read_text().startswith("person\tpsnr\t")


def test_pairs_are_learned_from_beside_high_field(dataset: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    for person in ("01", "02"):
        write_scan(dataset, f"sub-{person}/ses-LF", "T1w", LOW)
    for path in dataset.glob("sub-*/anat/*.nii.gz"):
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(HIGH))
    source = phantom_source("T1w", size=24)
    stack = Stack("acq-axi_T1w", "T1w", source.image, source.grid.affine, source.grid.affine, (1.0, 1.0, 4.0), 1.0)
    low = volume_from_channels(source.grid, {"T1w": source.image}, (stack,))
    made = Session(low, volume_from_channels(source.grid, {"T1w": source.image}), source.mask, np.eye(4), {})
    monkeypatch.setattr(jobs, "paired", lambda job: made)
    assert run(dataset, tmp_path / "out", "--dry-run") == 0
    assert "3 heads · 2 real pairs" in capsys.readouterr().out
    assert run(dataset, tmp_path / "out") == 0
    assert "psnr-pair" in (tmp_path / "out" / "curves.csv").read_text()
    assert "| train | Phantoms | acquired | 1 | 1 | CC0 |" in (tmp_path / "out" / "card.md").read_text()
    assert run(dataset, tmp_path / "out", "--pack", str(tmp_path / "pack")) == 0
    packed = {example.kind: example for example in read_pack(tmp_path / "pack").examples}
    kept = {example.kind: example for example in list_examples(tmp_path / "out" / "examples")}
    for name in ("slots", "covered", "high", "mask"):
        np.testing.assert_array_equal(getattr(packed["stacks"], name), getattr(kept["stacks"], name))


def test_a_pack_has_no_test_people_and_goes_on_from_given_weights(
    dataset: Path, trained: Path, tmp_path: Path, capsys
) -> None:
    more = ("--pack", str(tmp_path / "pack"), "--init-weights", str(trained))
    assert run(dataset, tmp_path / "out", *more) == 0
    assert "python -m bids_lfenhance.training" in capsys.readouterr().out
    pack = read_pack(tmp_path / "pack")
    assert [one.person for one in pack.examples] == ["Phantoms/01", "Phantoms/02"]
    assert pack.start is not None
    assert pack.start.sha256 == load_weights(trained, "fusionnet", ()).sha256
    assert run(dataset, tmp_path / "out", *more) == 2
    assert "Expected a new folder for --pack" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--augment", "physics"), "simulates low field as it learns"),
        (("--method", "pfsr", "--pack", "there"), "Expected --pack with a method"),
        (("--init-weights", "fusionnet"), "Expected weights of networks of this size"),
        (("--preset", "finetune"), "Expected --init-weights with --preset finetune"),
    ],
)
def test_what_has_no_effect_is_refused(dataset: Path, tmp_path: Path, capsys, more, sentence) -> None:
    words = [word for word in SMALL[:2] if "--method" not in more] if "--method" in more else SMALL
    assert main([str(dataset), str(tmp_path / "out"), "train", *words, *more]) == 2
    assert sentence in capsys.readouterr().err


def test_time_is_of_each_command(dataset: Path, tmp_path: Path, capsys) -> None:
    told: list[str] = []
    while len(told) < 4 and (not told or "goes on" in told[-1]):
        assert run(dataset, tmp_path / "out", "--max-minutes", "0.0001") == 0
        told.append(capsys.readouterr().out)
    assert "1 of 2 steps are done; the same command goes on from there" in told[0]
    assert "goes on" not in told[-1], "the time of one command is not counted in the next"


def test_label_maps_named_as_who_is_tested_are_told(dataset: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "maps").mkdir()
    for name in ("sub-03", "sub-01"):
        nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), tmp_path / "maps" / f"{name}.nii.gz")
    assert run(dataset, tmp_path / "out", "--label-maps", str(tmp_path / "maps"), "--dry-run") == 0
    assert "label maps of sub-03 are learned from" in capsys.readouterr().err


def test_an_estimate_that_saw_who_is_tested_is_refused_before_the_work(
    dataset: Path, trained: Path, tmp_path: Path, capsys
) -> None:
    split = dataset.parent / "split-given.json"
    split.write_text(json.dumps({"train": ["03"], "validation": ["02"], "test": ["01"]}))
    words = ["train", "--method", "cfm", "--split", str(split), "--set", f"estimate_weights={trained}"]
    for more in (["--dry-run"], ["--pack", str(tmp_path / "pack")]):
        assert main([str(dataset), str(tmp_path / "out"), *words, *more]) == 2
        assert "was trained on Phantoms/01" in capsys.readouterr().err


def test_bytes_of_a_brain() -> None:
    image = np.random.default_rng(0).gamma(4, 20, (30, 30, 30)).astype(np.float32)
    mask = np.zeros(image.shape, bool)
    mask[5:-5, 5:-5, 5:-5] = True
    found = as_bytes(image, mask)
    assert ((found > 0) == mask).all()
    assert np.percentile(found[mask], 99.9) == pytest.approx(230, abs=2)
    assert np.corrcoef(found[mask], image[mask])[0, 1] > 0.999


def test_no_label_of_the_brain_is_lost(tmp_path: Path) -> None:
    brain = sorted(label for kind in label_classes() if any(kind.tissue) for label in kind.labels)
    nib.save(nib.Nifti1Image(np.array(brain, np.int32)[None, None], np.eye(4)), tmp_path / "map.nii.gz")
    assert (brain_labels(str(tmp_path / "map.nii.gz")) > 0).sum() == len(brain)


def test_labels_of_the_brain_are_kept_and_parcels_joined(tmp_path: Path) -> None:
    labels = label_image((20, 22, 18)).astype(np.int32)
    labels[labels == 3] = 1012
    labels[0, 0, 0] = 502
    nib.save(nib.Nifti1Image(labels[::-1], np.diag([-1.0, 1, 1, 1])), tmp_path / "map.nii.gz")
    found = brain_labels(str(tmp_path / "map.nii.gz"))
    assert set(np.unique(found)) == {0, 2, 3, 4, 41, 42, 43}
    assert (found > 0).sum() == (label_image((20, 22, 18)) > 0).sum()
    assert (found[: found.shape[0] // 2] == 41).sum() == 0, "left stays left, however the file is stored"
