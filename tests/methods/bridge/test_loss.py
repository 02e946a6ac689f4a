from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from bids_lfenhance.errors import InputError
from bids_lfenhance.methods.bridge.loss import (
    Pair,
    auxiliary_networks,
    blurred,
    bridged,
    cross,
    crossing,
    denoise,
    denoising,
    edges,
    roughened,
    stages,
)
from bids_lfenhance.methods.bridge.method import TRAINABLE
from bids_lfenhance.methods.bridge.parametrization import BACKGROUND, SCHEDULE, maps_of
from bids_lfenhance.methods.bridge.settings import PRESETS, BridgeSettings, checked
from bids_lfenhance.nn.batch import Batch

from ..learned import batch_of, joined, untrained

CHANGES: dict[str, Any] = {"bridge_width": 8, "width": 8, "levels": 2, "patch": 32, "patch_z": 32}
PUBLISHED: dict[str, Any] = {"k": 0, "lowest": 100, "highest": 500}
SMALL = BridgeSettings(**{**PRESETS["tiny"], **CHANGES, **PUBLISHED})
"""Crosses where the paper does."""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Oracle(torch.nn.Module):
    """Says what it was made with, and keeps what it was asked."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        self.asked.append(images)
        return self.answer


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fields(items: int = 2) -> tuple[Pair, torch.Tensor, torch.Tensor]:
    """A pair, a level and a noise for each item."""
    pair = Pair.of(batch_of("lf2hf", seeds=tuple(range(items))))
    level = torch.tensor([300, 80, 450][:items])
    return pair, level, torch.randn(pair.low.shape, generator=drawn())


def test_a_perfect_bridge_costs_nothing_and_none_costs_the_distance() -> None:
    pair, level, noise = fields()
    perfect = Oracle(SCHEDULE.shares[level].sqrt().float()[:, None, None, None, None] * (pair.high - pair.low))
    assert crossing(perfect, pair, pair.low, level, noise).item() == pytest.approx(0, abs=1e-8)
    nothing = Oracle(torch.zeros_like(pair.low))
    expected = pair.mean((pair.low - pair.high).square()).item()
    assert crossing(nothing, pair, pair.low, level, noise).item() == pytest.approx(expected, rel=1e-4)
    assert crossing(nothing, pair, pair.high, level, noise).item() == pytest.approx(0, abs=1e-8)
    assert (perfect.asked[0][:, 3:] == 1).all(), "every contrast is there"


@pytest.mark.parametrize("predicts", ["velocity", "correction"])
def test_a_perfect_prior_costs_nothing(predicts: Any) -> None:
    pair, level, noise = fields()
    condition = torch.cat([pair.low, maps_of(pair.present, pair.low)], dim=1)
    answer = SCHEDULE.velocity(pair.high, noise, level) if predicts == "velocity" else pair.high - pair.low
    found = denoising(Oracle(answer), pair, condition, level, noise, replace(SMALL, predicts=predicts))
    assert set(found) == {"noise", "ssim", "sobel"}
    assert all(abs(value.item()) < 1e-5 for value in found.values())


def test_the_loss_of_noise_is_the_papers_up_to_where_it_is_held_back() -> None:
    """‖ε − ε̂‖² = ᾱ ‖v − v̂‖²: level 300 has more than a sixth of noise, level 30 has less."""
    pair, _, noise = fields(1)
    for at, share in ((300, float(SCHEDULE.shares[300])), (30, 5 * (1 - float(SCHEDULE.shares[30])))):
        level = torch.tensor([at])
        v = SCHEDULE.velocity(pair.high, noise, level) + 0.1
        settings = replace(SMALL, predicts="velocity", ssim=0.0, sobel=0.0)
        found = denoising(Oracle(v), pair, torch.cat([pair.low] * 2, dim=1), level, noise, settings)
        assert set(found) == {"noise"}
        assert found["noise"].item() == pytest.approx(0.01 * share, rel=1e-4)


def test_structure_and_edges_are_judged_only_where_there_is_little_noise() -> None:
    pair, _, noise = fields(1)
    condition = torch.cat([pair.low] * 2, dim=1)
    v = torch.zeros_like(noise)
    settings = replace(SMALL, predicts="velocity")
    clear, dark = (denoising(Oracle(v), pair, condition, torch.tensor([at]), noise, settings) for at in (500, 501))
    for name in ("ssim", "sobel"):
        assert clear[name].item() > 1e-4
        assert dark[name].item() == 0
        twice = denoising(Oracle(v), pair, condition, torch.tensor([500]), noise, replace(settings, **{name: 0.2}))
        assert twice[name].item() == pytest.approx(2 * clear[name].item())


def test_losses_are_means_over_items() -> None:
    """Whatever each item lacks: processes may share a step."""
    items = [batch_of("lf2hf"), batch_of("lf2hf", seeds=(1,), missing=("T1w", "FLAIR"))]
    items[1].mask[..., :14] = False
    whole = Pair.of(joined(items))
    level, noise = torch.tensor([300, 120]), torch.randn(whole.low.shape, generator=drawn())
    nets = untrained(TRAINABLE, SMALL)
    condition = torch.cat([whole.low, maps_of(whole.present, whole.low)], dim=1)
    found = {"cross": crossing(nets["bridge"], whole, whole.low, level, noise)}
    found |= denoising(nets["prior"], whole, condition, level, noise, SMALL)
    sums = dict.fromkeys(found, 0.0)
    for number, item in enumerate(items):
        one, pair = slice(number, number + 1), Pair.of(item)
        alone = {"cross": crossing(nets["bridge"], pair, pair.low, level[one], noise[one])}
        alone |= denoising(nets["prior"], pair, condition[one], level[one], noise[one], SMALL)
        for name, value in alone.items():
            sums[name] += value.item() / 2
    assert {name: value.item() for name, value in found.items()} == pytest.approx(sums, rel=1e-4)


def test_only_the_brain_and_only_contrasts_of_both_fields_count() -> None:
    batch = batch_of("lf2hf", missing=("T2w",))
    batch.wanted[:, 2] = False
    batch.mask[..., :12] = False
    nets = untrained(TRAINABLE, SMALL, people=2)
    spoilt = batch.target.clone()
    spoilt[:, 1:] += 5
    spoilt[..., :12] += 5
    low = batch.input.clone()
    low[..., :12] += 5
    for loss in (cross, partial(cross, field="high"), denoise):
        one, other = (
            {name: value.item() for name, value in loss(nets, b, SMALL, drawn()).items()}
            for b in (batch, replace(batch, target=spoilt, input=low))
        )
        assert one == other


def test_what_the_prior_is_shown() -> None:
    pair, *_ = fields(3)
    calm = replace(SMALL, condition_drop=0.0, condition_blur=0.0, condition_noise=0.0)
    shown, there = roughened(pair, pair.low, calm, drawn())
    torch.testing.assert_close(shown, pair.low)
    assert (there == 1).all()
    shown, there = roughened(pair, pair.low, replace(calm, condition_drop=1.0), drawn())
    assert (shown == BACKGROUND).all()
    assert not there.any()
    noisy, _ = roughened(pair, pair.low, replace(calm, condition_noise=0.3), drawn())
    off = (noisy - pair.low)[pair.inside]
    assert 0.02 < float(off.std()) < 0.3
    assert not (noisy - pair.low)[~pair.inside].any()
    softer, _ = roughened(pair, pair.low, replace(calm, condition_blur=0.7), drawn())
    assert (softer - pair.low)[pair.inside].abs().max() > 0.01


def test_the_blur_is_a_gaussian() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 1, 14, 15, 16)).astype(np.float32)
    found = blurred(torch.from_numpy(image), torch.tensor([0.0, 0.7])).numpy()
    np.testing.assert_allclose(found[0], image[0], atol=1e-6)
    expected = ndimage.gaussian_filter(image[1, 0], 0.7, mode="nearest", radius=2)
    np.testing.assert_allclose(found[1, 0], expected, atol=1e-5)


def test_edges_are_sobels() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(10, 11, 12)).astype(np.float32)
    squares = sum((ndimage.sobel(image, axis, mode="nearest") / 32) ** 2 for axis in range(3))
    found = edges(torch.from_numpy(image)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(found, np.tanh(np.sqrt(squares + 1e-8)), atol=1e-5)
    ramp = torch.arange(8.0)[:, None, None].expand(8, 8, 8)[None, None] * 0.25
    assert edges(ramp)[0, 0, 4, 4, 4].item() == pytest.approx(np.tanh(0.25), abs=1e-5)


def test_stages_follow_the_settings() -> None:
    assert [[phase.name for phase in stage.phases] for stage in stages(BridgeSettings())] == [
        ["cross", "stay"],
        [name for fold in range(5) for name in (f"cross-{fold}", f"stay-{fold}")],
        ["denoise"],
    ]
    assert stages(BridgeSettings())[0].patch == (128, 128, 32)
    assert [phase.name for phase in stages(BridgeSettings(identity=0))[0].phases] == ["cross"]
    assert stages(BridgeSettings(identity=4))[0].phases[1].every == 4
    assert [stage.name for stage in stages(BridgeSettings(bridge=False))] == ["prior"]
    assert [stage.name for stage in stages(BridgeSettings(diffusion=False))] == ["bridge"]


def test_the_bridge_is_left_alone_while_the_prior_learns() -> None:
    nets = untrained(TRAINABLE, SMALL, people=2)
    sum(denoise(nets, batch_of("lf2hf", seeds=(0, 1)), SMALL, drawn()).values()).backward()
    assert all(parameter.grad is None for name in nets if name != "prior" for parameter in nets[name].parameters())


@pytest.mark.parametrize("field", ["low", "high"])
def test_a_bridge_of_a_fold_learns_nothing_of_its_people(field: Any) -> None:
    nets, batch = untrained(TRAINABLE, SMALL, people=2), batch_of("lf2hf", seeds=(0, 1, 2, 3))
    for fold in (0, 1):
        others = [number for number in range(4) if number % 2 != fold]
        kept = (range(4), others, [fold])
        costs = [sum(cross(nets, _strangers(batch, k), SMALL, drawn(), field, fold).values()).item() for k in kept]
        assert costs[0] == pytest.approx(costs[1], rel=1e-6)
        assert costs[0] != pytest.approx(costs[2], rel=1e-3)
        held = batch[torch.tensor([fold, fold + 2])]
        (value,) = cross(nets, held, SMALL, drawn(), field, fold).values()
        value.backward()
        assert not any(
            parameter.grad.any() for parameter in nets[f"bridge-{fold}"].parameters() if parameter.grad is not None
        )


def _strangers(batch: Batch, kept: Sequence[int]) -> Batch:
    """The batch with other images of all people but those ``kept``."""
    spoilt = {key: getattr(batch, key).flip(2) for key in ("input", "target")}
    for key, image in spoilt.items():
        image[list(kept)] = getattr(batch, key)[list(kept)]
    return replace(batch, **spoilt)


def test_the_prior_is_shown_what_a_bridge_makes_of_people_it_does_not_know() -> None:
    pair, _, noise = fields(3)
    person = torch.tensor([1, 4, 6])
    nets = {
        name: Oracle(torch.full((1,), value)) for name, value in (("bridge", 0.5), ("bridge-0", 0.1), ("bridge-1", 0.2))
    }
    shown = bridged(nets, pair, person, SMALL, noise)
    alone = [
        bridged({"bridge": nets[f"bridge-{fold}"]}, pair, person, replace(SMALL, folds=0), noise) for fold in (0, 1)
    ]
    for item, fold in enumerate((1, 0, 0)):
        torch.testing.assert_close(shown[item], alone[fold][item])
    assert not torch.equal(alone[0], alone[1])
    assert nets["bridge"].asked == []


def test_folds_need_people() -> None:
    nets = untrained(TRAINABLE, SMALL)
    assert set(auxiliary_networks(nets, SMALL, 2)) == {"bridge-0", "bridge-1"}
    assert auxiliary_networks(nets, replace(SMALL, folds=0), 1) == {}
    with pytest.raises(InputError, match=r"at least 2 people .* found 1; choose fewer folds, or 0"):
        auxiliary_networks(nets, SMALL, 1)
    with pytest.raises(InputError, match=r"--bridge-folds of 2 or more, or 0, found 1;"):
        checked(replace(SMALL, folds=1))
