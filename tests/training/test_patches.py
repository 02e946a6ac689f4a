"""Patches: a function of (seed, stage, step); place follows every crop, flip and turn; everybody is seen equally."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.imaging.grid import Grid, apply_affine
from bids_lfenhance.imaging.volume import volume_from_channels
from bids_lfenhance.nn.batch import Batch, required
from bids_lfenhance.nn.example import Example
from bids_lfenhance.nn.source import Position
from bids_lfenhance.nn.stage import Stage
from bids_lfenhance.training.examples import read_example, write_example
from bids_lfenhance.training.patches import Augmentation, ExampleSource, Prefetch, draw_patch, whole

from .toy import make_example

PLAIN = Augmentation("none", 0.0, 0.0)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    folder = tmp_path_factory.mktemp("examples")
    return [make_example(folder, f"s{i}", i, low=("T1w", "T2w", "FLAIR")[: 1 + i % 3]) for i in range(5)]


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """An example whose three contrasts hold the common-space coordinates of their voxel (up to their scale)."""
    rng = np.random.default_rng(1)
    shape = (26, 22, 19)
    place = np.eye(4)
    place[:3] = rng.normal(0, 0.01, (3, 4)) + np.eye(3, 4) * 0.03
    place[:3, 3] = 0.4  # positive everywhere, as only then the scale is that of the coordinates
    index = np.indices(shape).reshape(3, -1).T
    values = apply_affine(place, index).T.reshape(3, *shape)
    volume = volume_from_channels(Grid(np.eye(4), shape), dict(zip(CONTRASTS, values, strict=True)))
    path = tmp_path_factory.mktemp("mapped") / "x"
    write_example(path, volume, volume, np.ones(shape, bool), place, "pairs", "x", "", {})
    return read_example(path)


@pytest.mark.parametrize("flips", ["none", "flip", "all"])
@pytest.mark.parametrize("patch", [(9, 12, 10), (12, 12, 12), (32, 24, 16)])
def test_place_follows_crop_flips_and_turns(mapped: Example, flips: Any, patch: tuple[int, int, int]) -> None:
    index = np.indices(patch).reshape(3, -1).T
    seen = set()
    for seed in range(40):
        item = draw_patch(mapped, "lf2hf", patch, Augmentation(flips, 0, 0), np.random.default_rng(seed))
        inside = item["mask"][0].ravel()
        expected = apply_affine(item["to_template"].astype(np.float64), index)[inside]
        stored = item["input"].reshape(3, -1).T[inside] * np.array(mapped.scales["low"])
        np.testing.assert_allclose(stored, expected, atol=2e-3)
        np.testing.assert_array_equal(item["input"], item["target"])
        turn = np.linalg.inv(mapped.to_template[:3, :3]) @ item["to_template"][:3, :3]
        assert np.abs(turn - np.round(turn)).max() < 1e-4
        seen.add(tuple(np.round(turn).astype(int).ravel()))
    assert {"none": 1, "flip": 2, "all": 12}[flips] <= len(seen) <= {"none": 1, "flip": 2, "all": 16}[flips]


def test_flip_is_left_right_alone(mapped: Example) -> None:
    for seed in range(20):
        item = draw_patch(mapped, "lf2hf", (12, 12, 12), Augmentation("flip", 0, 0), np.random.default_rng(seed))
        turn = np.linalg.inv(mapped.to_template[:3, :3]) @ item["to_template"][:3, :3]
        np.testing.assert_allclose(np.abs(turn), np.eye(3), atol=1e-4)
        assert turn[1, 1] > 0
        assert turn[2, 2] > 0


def stage(patch: tuple[int, int, int], batch: int, steps: int = 100) -> Stage:
    return Stage("only", (), steps, batch, patch)


def items(
    examples: list[Example], of: Stage, step: int, numbers: Iterable[int], seed: int = 0, number: int = 0
) -> Batch:
    source = ExampleSource(examples, "lf2hf")
    at = [Position(seed, number, step, one) for one in numbers]
    return source.realise(of, [source.item(of, one) for one in at], at, torch.device("cpu"))


def test_a_batch_is_a_function_of_seed_stage_and_step(examples: list[Example]) -> None:
    of = stage((12, 12, 12), 4)
    one, again = (items(examples, of, 11, range(4), 7) for _ in range(2))
    for key, value in vars(one).items():
        assert value is None or (value == getattr(again, key)).all()
    # Items do not depend on which of them are drawn together, nor on the size of the group.
    alone = items(examples, of, 11, range(2, 3), 7)
    assert torch.equal(one[2:3].input, alone.input)
    assert torch.equal(one[2:3].to_template, alone.to_template)
    for other in (items(examples, of, 11, range(4), 8), items(examples, of, 11, range(4), 7, number=1)):
        assert not torch.equal(one.input, other.input)
    assert not torch.equal(one.input, items(examples, of, 12, range(4), 7).input)


def test_shapes_types_and_channels(examples: list[Example]) -> None:
    batch = items(examples, stage((12, 11, 10), 3), 0, range(3))
    shapes = {
        key: (tuple(value.shape), str(value.dtype).removeprefix("torch."))
        for key, value in vars(batch).items()
        if value is not None
    }
    assert shapes == {
        "input": ((3, 3, 12, 11, 10), "float32"),
        "target": ((3, 3, 12, 11, 10), "float32"),
        "present": ((3, 3), "bool"),
        "wanted": ((3, 3), "bool"),
        "mask": ((3, 1, 12, 11, 10), "bool"),
        "to_template": ((3, 4, 4), "float32"),
    }
    full, back = whole(examples[1], "lf2hf"), whole(examples[1], "hf2lf")
    assert torch.equal(full.input, required(back.target))
    assert torch.equal(required(full.target), back.input)
    assert full.present.tolist() == [[True, True, False]]
    np.testing.assert_array_equal(full.input[0, :2].numpy(), examples[1].low.astype(np.float32))
    assert not full.input[~(full.mask & full.present[:, :, None, None, None])].any()


def test_every_example_is_seen_equally_often(examples: list[Example], monkeypatch: pytest.MonkeyPatch) -> None:
    from bids_lfenhance.training import patches as module

    drawn: list[str] = []
    monkeypatch.setattr(module, "draw_patch", lambda example, *rest: drawn.append(example.subject) or {})
    source, of = ExampleSource(examples, "lf2hf"), stage((8, 8, 8), 3)
    for step in range(20):
        for number in range(3):
            source.item(of, Position(0, 0, step, number))
    assert set(Counter(drawn).values()) == {12}
    passes = [tuple(drawn[i : i + 5]) for i in range(0, 60, 5)]
    assert all(len(set(one)) == 5 for one in passes)
    assert len(set(passes)) > 6


def test_patches_lie_in_the_brain(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shape = (60, 60, 60)
    mask = np.zeros(shape, bool)
    mask[20:44, 20:44, 20:44] = True
    volume = volume_from_channels(Grid(np.eye(4), shape), {"T1w": rng.uniform(1, 2, shape).astype(np.float32)})
    write_example(tmp_path / "x", volume, volume, mask, np.eye(4), "pairs", "x", "", {})
    example = read_example(tmp_path / "x")
    shares = [
        draw_patch(example, "lf2hf", (16, 16, 16), PLAIN, np.random.default_rng(i))["mask"].mean() for i in range(50)
    ]
    assert np.mean(np.array(shares) >= 0.5) > 0.95
    assert len(set(shares)) > 20


def test_jitter_is_one_factor_per_contrast_for_input_and_target(examples: list[Example]) -> None:
    example, patch = examples[2], (12, 12, 12)
    plain = draw_patch(example, "lf2hf", patch, PLAIN, np.random.default_rng(3))
    moved = draw_patch(example, "lf2hf", patch, Augmentation("none", 0.05, 0.0), np.random.default_rng(3))
    factors = []
    for channel in range(2):
        low, high = (moved[key][channel].sum() / plain[key][channel].sum() for key in ("input", "target"))
        assert low == pytest.approx(high, rel=1e-5)
        assert 0.95 <= low <= 1.05
        factors.append(low)
    assert factors[0] != factors[1]


def test_contrasts_are_dropped_from_the_input_but_never_all(examples: list[Example]) -> None:
    example, counts = examples[2], Counter()
    for seed in range(300):
        item = draw_patch(example, "lf2hf", (8, 8, 8), Augmentation("none", 0, 0.3), np.random.default_rng(seed))
        assert not item["input"][~item["present"]].any()
        assert item["wanted"].tolist() == [True, True, False]
        assert item["present"].any()
        counts[int(item["present"].sum())] += 1
    assert counts[3] == pytest.approx(0.7**3 * 300, abs=35)
    one = [
        draw_patch(examples[0], "lf2hf", (8, 8, 8), Augmentation(drop=1.0), np.random.default_rng(i)) for i in (0, 1)
    ]
    assert all(item["present"].tolist() == [True, False, False] for item in one)


@pytest.mark.parametrize("workers", [1, 3])
def test_fetching_ahead_changes_nothing(examples: list[Example], workers: int) -> None:
    source, of = ExampleSource(examples, "lf2hf"), stage((8, 8, 8), 4, steps=8)
    batches = Prefetch(source, of, [range(2), range(2, 4)], Position(0, 0, 3, 0), workers)
    for step in range(3, 8):
        (first, one), (second, two) = batches.get()
        assert (first[0].number, second[0].number) == (0, 2)
        assert np.array_equal(one[1]["input"], source.item(of, Position(0, 0, step, 1))["input"])
        assert np.array_equal(two[0]["input"], source.item(of, Position(0, 0, step, 2))["input"])
    batches.close()
