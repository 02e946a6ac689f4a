"""A packed training runs where little is installed, in calls that go on from each other, to the same weights."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bids_lfenhance.errors import InputError
from bids_lfenhance.methods import get_trainable
from bids_lfenhance.nn.weights import load_weights
from bids_lfenhance.training import pack as packing
from bids_lfenhance.training.loop import train
from bids_lfenhance.training.pack import Pack, compressed, expanded, read_pack, write_pack
from bids_lfenhance.training.run import TrainOptions
from bids_lfenhance.training.split import Split
from tests.refusals import refused
from tests.simulators.online.phantoms import head_image, write_people

ABSENT = """
import sys
for name in ("SimpleITK bids jinja2 matplotlib nibabel nilearn nipype nitransforms pandas psutil scipy "
             "skimage templateflow tensorboard threadpoolctl tqdm").split():
    sys.modules[name] = None  # cannot be imported, and is not found
import torch
torch.set_num_threads(1)
from bids_lfenhance.training.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
"""A Python that has torch, numpy and safetensors, and nothing else of what the app needs."""

SETTINGS = {"width": 8, "levels": 2, "train_steps": 4, "batch": 2, "patch": 16, "pool": 2, "renew": 2}
SPLIT = Split(("ds/a", "ds/b"), ("ds/c",), ("ds/d",))
OPTIONS = {"seed": 3, "precision": "fp32"}


@pytest.fixture
def people(tmp_path: Path) -> Pack:
    torch.set_num_threads(1)
    examples = write_people(tmp_path / "heads", "abcd", (20, 22, 18))
    return Pack("fusionnet", SETTINGS, SPLIT, OPTIONS, examples)


def call(folder: Path, out: Path, minutes: float) -> str:
    command = [sys.executable, "-c", ABSENT, str(folder), "--out", str(out), "--device", "cpu"]
    done = subprocess.run(
        [*command, "--max-minutes", str(minutes)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_calls_go_on_from_each_other_where_little_is_installed(people: Pack, tmp_path: Path) -> None:
    folder = write_pack(tmp_path / "pack", people, "fusionnet")
    assert "1 of 4 steps" in call(folder, tmp_path / "out", 0.0001)
    assert load_weights(tmp_path / "out", "fusionnet", ("T1w",)).trained_on == ("ds/a", "ds/b", "ds/c")
    said = call(folder, tmp_path / "out", 9)
    assert "4 of 4 steps" in said
    assert "psnr" in said
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert set(sizes) == {"weights.safetensors", "recipe.toml", "card.md", "curves.csv", "split.json"}
    assert max(sizes.values()) < 16e6
    method = get_trainable("fusionnet")
    options = TrainOptions(**OPTIONS, dtype="fp16")
    train(method, method.about.settings(**SETTINGS), people.examples, people.split, tmp_path / "here", options, print)
    here, there = (load_weights(tmp_path / name, "fusionnet", ()).state["estimate"] for name in ("here", "out"))
    assert all(torch.equal(here[key], there[key]) for key in here)


def test_what_is_packed_is_what_was_there_and_test_people_stay(people: Pack, tmp_path: Path) -> None:
    found = read_pack(write_pack(tmp_path / "pack", people, "fusionnet"))
    assert [one.person for one in found.examples] == ["ds/a", "ds/b", "ds/c"]
    for before, after in zip(people.examples, found.examples, strict=False):
        np.testing.assert_array_equal(before.high, after.high)
        assert (before.origin, before.contrasts) == (after.origin, after.contrasts)
    assert found.split == replace(SPLIT, test=())


def test_a_pack_that_was_not_copied_whole_is_refused_until_it_is(people: Pack, tmp_path: Path) -> None:
    folder = write_pack(tmp_path / "pack", people, "fusionnet")
    head = folder / "heads" / people.examples[0].folder.name
    for path in (head / "high.xz", head / "example.json"):
        whole = path.read_bytes()
        for part in (whole[: len(whole) // 2], b""):
            path.write_bytes(part)
            with refused("bad-pack", path=head):
                read_pack(folder)
        path.write_bytes(whole)
    head.rename(folder / "elsewhere")
    with refused("bad-pack", path=head):
        read_pack(folder)
    (folder / "elsewhere").rename(head)
    assert len(read_pack(folder).examples) == 3


def test_weights_to_start_from_that_were_not_copied_are_missed(people: Pack, tmp_path: Path) -> None:
    start = load_weights("fusionnet", "fusionnet", ())
    folder = write_pack(tmp_path / "pack", replace(people, start=start), "fusionnet")
    (folder / packing.START).unlink()
    with pytest.raises(InputError, match=packing.START):
        read_pack(folder)


def test_heads_take_few_bytes() -> None:
    image = head_image((40, 40, 40), texture=3)
    assert len(compressed(image)) < image.size
    np.testing.assert_array_equal(expanded(compressed(image)), image)
    np.testing.assert_array_equal(expanded(compressed(image[None])), image[None])


def test_what_is_too_large_or_no_pack_is_refused(people: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "LIMIT_MB", 0.001)
    with pytest.raises(InputError, match="leave some out"):
        write_pack(tmp_path / "pack", people, "fusionnet")
    assert not (tmp_path / "pack").exists()
    with pytest.raises(InputError, match="written by train --pack"):
        read_pack(tmp_path)
