"""Acquired pairs are shown to a network as they are in use, with high field in either contrast as the target."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.slots import fill_slots
from bids_lfenhance.imaging.volume import Stack, Volume, volume_from_channels
from bids_lfenhance.nn.batch import PAIR
from bids_lfenhance.nn.example import Example
from bids_lfenhance.nn.settings import OnlineTraining
from bids_lfenhance.nn.source import Position
from bids_lfenhance.nn.stage import Stage
from bids_lfenhance.simulators.online.pairs import pairs_of, plan_pair
from bids_lfenhance.simulators.online.source import OnlineSource
from bids_lfenhance.simulators.online.validation import fixed_sessions
from bids_lfenhance.training.acquired import acquired_arrays
from bids_lfenhance.training.examples import read_example, write_stacks
from tests import oracle
from tests.simulators.online.phantoms import write_people

CPU = torch.device("cpu")
POWER = 0.6
"""Contrast of low field: high field to this power."""


@pytest.fixture(scope="module")
def session() -> tuple[Volume, Volume, np.ndarray]:
    """Low field (axial and coronal, free of noise), high field, brain."""
    image, affine, tissue = oracle.phantom_head(40, np.random.default_rng(1))
    brain = tissue.sum(axis=0) > 0.5
    head = (image / np.percentile(image[brain], 99.9)).astype(np.float32)
    high = volume_from_channels(Grid(affine, head.shape), {"T1w": head * 500, "T2w": (1.2 - head) * brain})
    stacks = []
    for name, zooms in (("axi", (1.5, 1.5, 4.0)), ("cor", (1.5, 4.0, 1.5))):
        size = [int(side / zoom) for side, zoom in zip(head.shape, zooms, strict=True)]
        matrix = np.diag([*zooms, 1.0])
        data = ndimage.zoom(head**POWER * 90, [n / side for n, side in zip(size, head.shape, strict=True)], order=1)
        matrix[:3, 3] = affine[:3, 3] + (np.array(zooms) - 1) / 2
        stacks.append(Stack(f"acq-{name}_T1w", "T1w", data.astype(np.float32), matrix, matrix, zooms, 1.0))
    fused = ndimage.gaussian_filter(90 * head**POWER, 1.0)
    low = volume_from_channels(high.grid, {"T1w": fused}, tuple(stacks))
    return low, high, brain


@pytest.fixture
def example(session, tmp_path: Path) -> Example:
    low, high, brain = session
    folder = write_stacks(
        tmp_path / "pair", *acquired_arrays(low, high, brain), "p", "LF", dataset="ds", origin={"licence": "CC0"}
    )
    return read_example(folder)


def test_a_network_sees_what_it_sees_in_use(session, example: Example) -> None:
    low, _, brain = session
    (pair,) = pairs_of([example])
    made = pair.session(range(4), False, CPU)
    assert made.present.tolist() == [True, True, False, False]
    used = fill_slots(low.stacks, low.grid, brain)
    np.testing.assert_allclose(made.resolution, used.resolution)
    inside = made.brain.numpy()
    for slot in range(2):
        error = np.abs(made.image[slot].numpy()[inside] - used.image[slot][brain])
        assert error.max() < 0.6 / 120, "a byte's rounding"


def test_targets_are_high_field_and_high_field_in_the_contrast_of_the_scan(session, example: Example) -> None:
    _, high, brain = session
    (pair,) = pairs_of([example])
    made = pair.session(range(4), False, CPU)
    inside = made.brain.numpy()
    truth = high.channel("T1w")[brain]
    assert np.corrcoef(made.high.numpy()[inside], truth)[0, 1] > 0.9999
    scan = truth**POWER
    wanted = scan / np.percentile(scan, 95)
    assert np.abs(made.own.numpy()[inside] - wanted).mean() < 0.02
    assert np.abs(made.high.numpy()[inside] - wanted).mean() > 0.05, "the contrasts differ"


def test_fat_around_the_brain_does_not_set_the_level_of_the_target(session) -> None:
    low, high, brain = session
    rim = ndimage.binary_dilation(brain, iterations=2) & ~brain
    image = np.where(rim, 3 * high.channel("T1w").max(), high.channel("T1w"))
    fat = volume_from_channels(high.grid, {"T1w": image})
    plain = volume_from_channels(high.grid, {"T1w": high.channel("T1w")})
    one, other = (acquired_arrays(low, each, brain)[0] for each in (plain, fat))
    inside = one["mask"]
    np.testing.assert_array_equal(one["high"][0][inside], other["high"][0][inside])


def test_pairs_alone_fill_the_pool(example: Example) -> None:
    source = OnlineSource([example], OnlineTraining(pairs=0.5, pool=8, renew=2))
    stage = Stage("estimate", (), 100, 4, (16, 16, 16))
    assert {type(source.plan(stage, 0, 0, number)).__name__ for number in range(12)} == {"PlannedPair"}


def test_stacks_are_left_out_and_sides_exchanged(example: Example) -> None:
    (pair,) = pairs_of([example])
    plans = [plan_pair(0, pair, np.random.default_rng(seed)) for seed in range(30)]
    assert {frozenset(plan.kept) for plan in plans} == {frozenset(kept) for kept in ({0}, {1}, {0, 1})}
    assert {plan.flip for plan in plans} == {False, True}
    one, other = (replace(plans[0], kept=(1,), flip=flip).make(CPU) for flip in (False, True))
    assert one.present.tolist() == [False, True, False, False]
    assert not one.covered[0].any()
    for name in ("image", "covered", "own", "high", "brain"):
        assert torch.equal(getattr(one, name).flip(-3), getattr(other, name)), name


def test_pairs_and_heads_share_the_pool(example: Example, tmp_path: Path) -> None:
    examples = [*write_people(tmp_path, "ab", (20, 22, 18)), example]
    stage = Stage("estimate", (), 100, 4, (16, 16, 16))
    kinds = {}
    for share in (0.0, 0.5, 1.0):
        source = OnlineSource(examples, OnlineTraining(pairs=share, pool=8, renew=2))
        kinds[share] = {type(source.plan(stage, 0, 0, number)).__name__ for number in range(12)}
    assert kinds == {0.0: {"Planned"}, 0.5: {"Planned", "PlannedPair"}, 1.0: {"PlannedPair"}}
    at = [Position(0, 0, 0, number) for number in range(4)]
    batch = source.realise(stage, [source.item(stage, one) for one in at], at, CPU)
    assert batch.input.shape == (4, 17, 16, 16, 16)
    assert batch.input[:, 16].mean(dim=(1, 2, 3)).tolist() == [0, 1, 0, 1]


def test_validation_has_both_targets_of_a_pair(example: Example) -> None:
    judged = list(fixed_sessions(example, CPU))
    assert [(one.name, one.own) for one in judged] == [(PAIR, False), (PAIR, True)]
    assert all(side % 16 == 0 for side in judged[0].batch.input.shape[2:])
