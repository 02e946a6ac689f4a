"""Windows over one field: their places, their blending, and the noise they share."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from bids_lfenhance.nn.flow import euler, heun, uniform_times
from bids_lfenhance.nn.windows import Windows, blend

from ..refusals import refused

torch.set_num_threads(1)
SMALL = Windows((8, 6, 5), overlap=0.5, batch=3)


def field(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("overlap", "count"), [(0.25, 32), (0.5, 66), (0.7, 228)])
def test_a_volume_needs_so_many_windows(overlap: float, count: int) -> None:
    assert len(Windows((128, 128, 32), overlap).corners((192, 224, 192))) == count


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.7, 0.9])
def test_windows_reach_everything_with_at_least_their_overlap(overlap: float) -> None:
    windows = Windows((20,), overlap)
    for side in (20, 21, 39, 100):
        starts = [corner[0] for corner in windows.corners((side,))]
        gaps = [b - a for a, b in pairwise(starts)]
        assert (starts[0], starts[-1]) == (0, side - 20)
        assert all(1 <= gap <= round(20 * (1 - overlap)) for gap in gaps)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.7])
def test_a_network_that_does_nothing_changes_nothing(overlap: float) -> None:
    volume = field(2, 3, 40, 33, 21)
    windows = Windows((16, 16, 8), overlap, batch=4)
    torch.testing.assert_close(blend(lambda crops: crops, volume, windows), volume, rtol=0, atol=1e-5)


def test_two_windows_are_blended_by_their_gaussians() -> None:
    # Oracle: two windows of 4 on 6 voxels, the first says 0, the second 1; SD of the weight = 4/8 = half a voxel.
    places = iter([0.0, 1.0])
    found = blend(lambda crops: torch.full_like(crops, next(places)), torch.zeros(1, 1, 6), Windows((4,)))[0, 0]
    # Voxel 2 is 0.5 from the first centre (1.5) and 1.5 from the second (3.5): weights e^−0.5 and e^−4.5.
    assert found.tolist() == pytest.approx([0, 0, 1 / (1 + torch.e**4), 1 / (1 + torch.e**-4), 1, 1])


@pytest.mark.parametrize("batch", [1, 2, 7, 1000])
def test_the_batch_of_windows_changes_nothing_but_rounding(batch: int) -> None:
    net = torch.nn.Conv3d(2, 3, 3, padding=1).requires_grad_(False)
    volume = field(2, 2, 19, 14, 11)
    expected = blend(net, volume, SMALL)
    assert expected.shape == (2, 3, 19, 14, 11)
    found = blend(net, volume, Windows(SMALL.size, SMALL.overlap, batch))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_no_more_windows_at_once_than_asked_for() -> None:
    sizes: list[int] = []

    def net(crops: Tensor) -> Tensor:
        sizes.append(len(crops))
        return crops

    blend(net, field(2, 1, 16, 12, 10), SMALL)
    assert max(sizes) == SMALL.batch
    assert sum(sizes) == 2 * len(SMALL.corners((16, 12, 10)))


@pytest.mark.parametrize("shape", [(3, 6, 5), (1, 1, 1), (8, 20, 2)])
def test_a_field_smaller_than_a_window_is_mirrored_and_cropped(shape: tuple[int, int, int]) -> None:
    volume = field(1, 2, *shape)
    seen: list[Tensor] = []

    def net(crops: Tensor) -> Tensor:
        seen.append(crops)
        return crops

    torch.testing.assert_close(blend(net, volume, SMALL), volume, rtol=0, atol=1e-5)
    assert all(crops.shape[2:] == SMALL.size for crops in seen)


def test_mirroring_repeats_the_edge_and_turns_round() -> None:
    seen: list[Tensor] = []

    def net(crops: Tensor) -> Tensor:
        seen.append(crops)
        return crops

    blend(net, torch.tensor([[[1.0, 2.0, 3.0]]]), Windows((8,)))
    assert seen[0].flatten().tolist() == [1, 2, 3, 3, 2, 1, 1, 2]


def test_overlapping_windows_see_the_same_state() -> None:
    """The second channel says where each voxel is; at every time, a place has one value in all windows."""
    shape = (1, 1, 14, 11, 9)
    place = torch.arange(14 * 11 * 9, dtype=torch.float32).reshape(shape)
    seen: dict[tuple[float, int], set[float]] = {}

    def net(crops: Tensor, time: float) -> Tensor:
        for value, where in zip(crops[:, 0].flatten().tolist(), crops[:, 1].flatten().long().tolist(), strict=True):
            seen.setdefault((time, where), set()).add(value)
        return -crops[:, :1]

    def velocity(state: Tensor, time: float) -> Tensor:
        return blend(lambda crops: net(crops, time), torch.cat([state, place], dim=1), SMALL)

    euler(velocity, field(*shape), uniform_times(3))
    assert len(seen) == 3 * place.numel()
    assert all(len(values) == 1 for values in seen.values())


def test_windows_within_every_step_are_the_whole_field_for_a_network_without_surroundings() -> None:
    volume = field(2, 1, 12, 12, 12)
    whole = heun(lambda x, t: torch.sin(3 * x) - t, volume, uniform_times(4))
    parts = heun(lambda x, t: blend(lambda crops: torch.sin(3 * crops) - t, x, SMALL), volume, uniform_times(4))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("wrong", [{"size": (8, 0, 8)}, {"overlap": 1.0}, {"overlap": -0.1}, {"batch": 0}])
def test_impossible_windows_are_refused(wrong: dict) -> None:
    with refused("bad-setting"):
        Windows(**({"size": (8, 8, 8)} | wrong))
