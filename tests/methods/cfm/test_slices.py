from dataclasses import replace
from typing import Any

import pytest
import torch

from bids_lfenhance.methods.cfm.settings import CfmSettings
from bids_lfenhance.methods.cfm.slices import AXIS, REGION, as_slices, as_volume, draw_noise
from bids_lfenhance.nn.batch import Batch


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(*sides: int, present: tuple[bool, ...] = (True, True, True)) -> Batch:
    image = torch.rand(1, 3, *sides, generator=seeded(0)) + 1
    mask = torch.zeros(1, 1, *sides, dtype=torch.bool)
    mask[..., 5:-5, 5:-5, 5:-5] = True
    return Batch(image, torch.tensor([present]), mask, target=-image)


@pytest.mark.parametrize("plane", AXIS)
def test_volumes_become_slices_and_slices_volumes(plane: Any) -> None:
    settings, given = CfmSettings(plane=plane), batch(17, 18, 19)
    slices = as_slices(given, settings, 8)
    assert slices.low.shape[2] == given.input.shape[AXIS[plane]]
    assert slices.low.shape[3:] == (24, 24)
    torch.testing.assert_close(as_volume(slices.low, settings, given.input.shape), given.input)
    assert slices.high is not None
    torch.testing.assert_close(as_volume(slices.high, settings, given.input.shape), given.target)


def test_the_region_is_the_brain_and_a_rim_in_the_plane() -> None:
    slices = as_slices(batch(24, 24, 20), CfmSettings(), 8)
    assert slices.region[0, 0, 10, 5 - REGION, 12]
    assert not slices.region[0, 0, 10, 5 - REGION - 1, 12]
    assert not slices.region[0, 0, 4].any()


def test_a_slice_is_shown_with_its_neighbours_and_what_there_is() -> None:
    given = batch(16, 16, 16, present=(True, False, True))
    given = replace(given, input=torch.arange(16.0).expand(1, 3, 16, 16, 16) + 1)  # slice z holds z + 1
    slices = as_slices(given, CfmSettings(n_ctx=1), 8)
    found = slices.condition(torch.tensor([[0, 7, 15]]))
    assert found.shape == (3, 12, 16, 16)
    seen = found[:, :, 8, 8].tolist()
    assert seen[0] == [0, 0, 0, 1, 0, 1, 2, 0, 2, 1, 0, 1]
    assert seen[1] == [7, 0, 7, 8, 0, 8, 9, 0, 9, 1, 0, 1]
    assert seen[2] == [15, 0, 15, 16, 0, 16, 0, 0, 0, 1, 0, 1]


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_noise_of_neighbouring_slices_is_correlated(correlation: float) -> None:
    noise = draw_noise(torch.zeros(1, 1, 12, 120, 120), correlation, seeded(1))[0, 0].flatten(1)
    assert torch.equal(noise, draw_noise(torch.zeros(1, 1, 12, 120, 120), correlation, seeded(1))[0, 0].flatten(1))
    measured = torch.corrcoef(noise)
    for lag in (1, 2, 5):
        assert float(measured.diagonal(lag).mean()) == pytest.approx(correlation**lag, abs=0.02)
    torch.testing.assert_close(noise.std(dim=1), torch.ones(12), atol=0.03, rtol=0)
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
