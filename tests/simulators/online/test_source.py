"""Items of an online source are functions of (seed, stage, step, number), whatever was asked for before."""

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from bids_lfenhance.nn.batch import Batch
from bids_lfenhance.nn.settings import OnlineTraining
from bids_lfenhance.nn.source import Position, best_corner
from bids_lfenhance.nn.stage import Stage
from bids_lfenhance.simulators.online.source import ENOUGH_BRAIN, TRIES, OnlineSource
from bids_lfenhance.training.examples import read_example, write_head

from .phantoms import head_image, label_image, write_people

CPU = torch.device("cpu")
SHAPE = (20, 22, 18)
STAGE = Stage("estimate", (), 100, 4, (16, 16, 16))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def source_of(folder: Path) -> OnlineSource:
    examples = write_people(folder, "ab", SHAPE) if not (folder / "a").exists() else [
        read_example(folder / name) for name in "ab"
    ]  # fmt: skip
    return OnlineSource(examples, OnlineTraining(pool=10, renew=2))


def batch_at(source: OnlineSource, step: int, numbers: range = range(4)) -> Batch:
    at = [Position(5, 0, step, number) for number in numbers]
    return source.realise(STAGE, [source.item(STAGE, one) for one in at], at, CPU)


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("input", "target", "mask", "lesions"))


def test_a_batch_does_not_depend_on_what_was_drawn_before(tmp_path: Path) -> None:
    walked = source_of(tmp_path)
    batches = [batch_at(walked, step) for step in range(8)]
    assert same(batch_at(source_of(tmp_path), 7), batches[7])
    assert not same(batches[6], batches[7])


def test_processes_that_share_a_step_make_its_parts(tmp_path: Path) -> None:
    both = batch_at(source_of(tmp_path), 3)
    parts = [batch_at(source_of(tmp_path), 3, part) for part in (range(2), range(2, 4))]
    assert same(parts[0], both[:2])
    assert same(parts[1], both[2:])


def test_the_pool_grows_to_its_size_and_then_turns_over(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    assert list(source.heads_in(0)) == list(range(8))
    assert list(source.heads_in(4)) == list(range(10))
    assert list(source.heads_in(7)) == list(range(1, 11))
    batch_at(source, 7)
    assert len(source._pool) == 10


def test_every_step_has_both_targets(tmp_path: Path) -> None:
    batch = batch_at(source_of(tmp_path), 0)
    assert batch.input.shape == (4, 17, 16, 16, 16)
    assert batch.input[:, 16].mean(dim=(1, 2, 3)).tolist() == [0, 1, 0, 1]
    assert batch.target.shape == batch.mask.shape == batch.lesions.shape == (4, 1, 16, 16, 16)
    assert (batch.mask.float().mean(dim=(1, 2, 3, 4)) > 0).all()


def test_label_maps_and_other_contrasts_keep_their_own(tmp_path: Path) -> None:
    write_head(tmp_path / "m", label_image(SHAPE), ("T1w", "T2w", "FLAIR"), "m", dataset="maps", origin={})
    write_head(tmp_path / "t", head_image(SHAPE)[None], ("T2w",), "t", dataset="ds", origin={})
    examples = [read_example(tmp_path / name) for name in "mt"]
    source = OnlineSource(examples, OnlineTraining(label_maps=0.5, other_contrasts=0.5, pool=8, renew=1))
    kinds = {source.plan(STAGE, 0, 0, number).source.kind for number in range(12)}
    assert kinds == {"labels", "image"}
    assert batch_at(source, 0).input[:, 16].min() == 1, "there is no T1w to restore"


class Doubled:
    """An estimate that shows where it was cut from: twice the mean of the stacks, and how often it was made."""

    identity = "doubled"
    shapes: ClassVar[list[tuple[int, ...]]] = []

    def __call__(self, batch: Batch) -> Batch:
        self.shapes.append(tuple(batch.input.shape))
        return replace(batch, mean=2 * batch.input[:, :1], scale=batch.input[:, :1] + 1)


def test_patches_are_cut_from_the_estimate_of_their_whole_head_made_once(tmp_path: Path) -> None:
    examples = write_people(tmp_path, "ab", SHAPE)
    source = OnlineSource(examples, OnlineTraining(pool=4, renew=100), Doubled())
    for step in range(12):
        batch = batch_at(source, step)
        torch.testing.assert_close(batch.mean, 2 * batch.input[:, :1], rtol=2e-3, atol=2e-3)
        torch.testing.assert_close(batch.scale, batch.input[:, :1] + 1, rtol=2e-3, atol=2e-3)
    whole = tuple(side + 32 for side in SHAPE)
    assert 4 <= len(Doubled.shapes) <= 6, "four heads, two of them with two targets"
    assert set(Doubled.shapes) == {(1, 17, *whole)}
    assert source.identity["estimate"] == "doubled"


def test_its_identity_is_plain(tmp_path: Path) -> None:
    found = json.loads(json.dumps(source_of(tmp_path).identity))
    assert found["pool"] == 10
    assert found["mixture"]["lesions"] == 0.4


def test_patches_are_cut_where_there_is_brain() -> None:
    brain = np.zeros((60, 60, 60), bool)
    brain[30:, 30:] = True
    drawn = [np.random.default_rng(seed) for seed in range(40)]
    corners = [best_corner(brain, (24, 24, 24), one, TRIES, ENOUGH_BRAIN) for one in drawn]
    shares = [brain[tuple(slice(start, start + 24) for start in corner)].mean() for corner in corners]
    assert np.mean([share > 0.2 for share in shares]) > 0.95
    assert all(0 <= start <= 36 for corner in corners for start in corner)
