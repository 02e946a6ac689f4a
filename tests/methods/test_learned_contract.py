"""What everything promises that is trained, enhancers and simulators."""

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.methods import description, get_trainable, trained_methods
from bids_lfenhance.nn.method import Trainable
from bids_lfenhance.nn.stage import Phase
from bids_lfenhance.nn.weights import load_weights, save_weights

from .learned import batch_of, fit, joined, untrained

RECORDS = [get_trainable(name) for name in trained_methods() if description(name).learns_from != "heads"]
PARAMETERS = {
    "pfsr": 3_219_889,
    "h2lo": 3 * 581_409,
    "regions": 20_778_633,
}
SMALL: dict[str, dict[str, Any]] = {
    "pfsr": {"width": 16, "groups": 1, "blocks": 1, "reduction": 4},
    "h2lo": {"features": 16, "voxels": 500, "block": 8},
    "regions": {"width": 4, "levels": 2},
}
"""Changes to the tiny preset with which a test takes seconds."""


def only_images(method: Trainable[Any]) -> None:
    """Skip what is promised of images in three contrasts, for what answers with regions (tests/segmentation)."""
    if method.about.direction == "regions":
        pytest.skip("it answers with regions")


BY_HEART: dict[str, dict[str, Any]] = {"h2lo": {"contrast": "T1w"}}
"""Changes with which one pair is learnt in a moment."""

pytestmark = pytest.mark.parametrize("method", RECORDS, ids=lambda record: record.name)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def small(method: Trainable[Any]) -> Any:
    return method.about.settings(**{**method.about.presets["tiny"], **SMALL[method.name]})


def phases_of(method: Trainable[Any], settings: Any) -> list[Phase]:
    """Of all stages, once each."""
    stages = method.stages(settings)
    return list({phase.name: phase for stage in stages for phase in stage.phases}.values())


def predict(method: Trainable[Any], nets: Any, batch: Any, settings: Any) -> torch.Tensor:
    return method.predict(nets, batch.without_target(), settings, torch.Generator().manual_seed(1))


def test_settings_and_presets_are_told(method: Trainable[Any]) -> None:
    known = {item.name for item in fields(method.about.settings)}
    assert {"weights", "device"} <= known
    assert {"tiny", "paper"} <= set(method.about.presets)
    for item in fields(method.about.settings):
        assert item.metadata["help"], item.name
        assert item.metadata["source"], item.name
    for changes in method.about.presets.values():
        assert set(changes) <= known


def test_the_published_size_has_the_published_number_of_parameters(method: Trainable[Any]) -> None:
    settings = method.about.settings(**method.about.presets["paper"])
    with torch.device("meta"):
        nets = method.build(settings)
    assert sum(parameter.numel() for net in nets.values() for parameter in net.parameters()) == PARAMETERS[method.name]


@pytest.mark.parametrize("preset", ["tiny", "paper"])
def test_stages_move_every_network_and_nothing_else(method: Trainable[Any], preset: str) -> None:
    settings = method.about.settings(**method.about.presets[preset])
    stages = method.stages(settings)
    moved = {name for stage in stages for phase in stage.phases for name in phase.trains}
    same = {"folds": settings.folds} if hasattr(settings, "folds") else {}
    assert moved == set(untrained(method, replace(small(method), **same)))
    for stage in stages:
        assert stage.steps > 0
        assert stage.batch > 0
        assert min(stage.patch) >= 16
        assert stage.warmup < stage.steps
        assert len({phase.name for phase in stage.phases}) == len(stage.phases)


def test_the_loss_is_finite_and_moves_every_parameter(method: Trainable[Any]) -> None:
    settings, batch = small(method), batch_of(method.about.direction, seeds=(0, 1))
    nets = untrained(method, settings)
    for phase in phases_of(method, settings):
        losses = phase.losses(nets, batch, settings, torch.Generator().manual_seed(0))
        assert all(torch.isfinite(value) for value in losses.values())
        torch.stack(list(losses.values())).sum().backward()
    still = [
        f"{name}.{key}"
        for name, net in nets.items()
        for key, parameter in net.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert still == []


def test_the_generator_alone_decides_the_loss(method: Trainable[Any]) -> None:
    settings, batch = small(method), batch_of(method.about.direction)
    nets = untrained(method, settings)
    phase = method.stages(settings)[0].phases[0]
    found = [
        {name: float(value.detach()) for name, value in phase.losses(nets, batch, settings, generator).items()}
        for generator in (torch.Generator().manual_seed(5), torch.Generator().manual_seed(5))
    ]
    assert found[0] == found[1]


def test_a_batch_may_be_cut_up(method: Trainable[Any]) -> None:
    """The loss of two items is the mean of their losses, whatever each of them lacks: processes may share a step."""
    settings = small(method)
    items = [batch_of(method.about.direction), batch_of(method.about.direction, seeds=(1,), missing=("T1w", "FLAIR"))]
    items[1].mask[..., :16] = False
    nets = untrained(method, settings)
    if method.name == "h2lo":  # its voxels are drawn: all of them, so that chance has no say
        settings = replace(settings, voxels=1, block=14)
    both = joined(items)
    for phase in phases_of(method, settings):
        found = [
            {
                key: value.item()
                for key, value in phase.losses(nets, b, settings, torch.Generator().manual_seed(0)).items()
            }
            for b in (both, *items)
        ]
        for key in found[0]:
            if not key.endswith("-l1"):
                mean = (found[1].get(key, 0.0) + found[2].get(key, 0.0)) / 2
                assert found[0][key] == pytest.approx(mean, rel=1e-4)


def test_nothing_to_learn_costs_nothing(method: Trainable[Any]) -> None:
    only_images(method)
    settings, batch = small(method), batch_of(method.about.direction)
    nets = untrained(method, settings)
    for change in ({"wanted": torch.zeros_like(batch.wanted)}, {"mask": torch.zeros_like(batch.mask)}):
        for phase in phases_of(method, settings):
            losses = phase.losses(nets, replace(batch, **change), settings, torch.Generator().manual_seed(0))
            assert all(torch.isfinite(value) for value in losses.values())
            torch.stack(list(losses.values())).sum().backward()


def test_shape_and_absent_contrasts(method: Trainable[Any]) -> None:
    only_images(method)
    settings, batch = small(method), batch_of(method.about.direction, size=21, missing=("T2w",))
    found = predict(method, untrained(method, settings), batch, settings)
    assert found.shape == batch.input.shape
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    assert not found[:, CONTRASTS.index("T2w")].any()
    assert found[:, CONTRASTS.index("T1w")].any()
    assert not found[~batch.mask.expand_as(found)].any()


def test_a_contrast_does_not_depend_on_its_neighbours(method: Trainable[Any]) -> None:
    only_images(method)
    settings = small(method)
    nets = untrained(method, settings)
    whole, alone = (
        predict(method, nets, batch_of(method.about.direction, missing=missing), settings)
        for missing in ((), ("T2w", "FLAIR"))
    )
    torch.testing.assert_close(whole[:, 0], alone[:, 0], atol=1e-5, rtol=0)


def test_the_size_of_the_batch_does_not_matter(method: Trainable[Any]) -> None:
    settings = small(method)
    nets = untrained(method, settings)
    both = predict(method, nets, batch_of(method.about.direction, seeds=(0, 1)), settings)
    tolerance = max(1e-5, torch.finfo(both.dtype).eps)  # probabilities of regions are float16
    for number in (0, 1):
        alone = predict(method, nets, batch_of(method.about.direction, seeds=(number,)), settings)
        torch.testing.assert_close(both[number], alone[0], atol=tolerance, rtol=0)


def test_what_lies_beyond_the_mask_does_not_matter(method: Trainable[Any]) -> None:
    """More background gives the same brain, further inside than the small network of pfsr reaches, 13 voxels."""
    only_images(method)
    settings, batch = small(method), batch_of(method.about.direction, size=32)
    nets = untrained(method, settings)
    wider = {key: torch.nn.functional.pad(getattr(batch, key), (4,) * 6) for key in ("input", "target", "mask")}
    shift = torch.eye(4)
    shift[:3, 3] = -4
    there = predict(method, nets, replace(batch, **wider, to_template=batch.to_template @ shift), settings)[
        ..., 4:-4, 4:-4, 4:-4
    ]
    here = predict(method, nets, batch, settings)
    deep = torch.zeros_like(batch.mask)
    deep[..., 14:-14, 14:-14, 14:-14] = True
    deep = deep.expand_as(here)
    torch.testing.assert_close(there[deep], here[deep], atol=1e-5, rtol=0)


def test_weights_survive_the_disk(method: Trainable[Any], tmp_path: Path) -> None:
    settings, batch = small(method), batch_of(method.about.direction)
    nets = untrained(method, settings)
    recipe = {"method": method.name, "contrasts": list(CONTRASTS), "settings": asdict(settings)}
    loaded = load_weights(save_weights(tmp_path, nets, recipe, "a card"), method.name, CONTRASTS)
    again = method.build(method.about.settings(**loaded.settings))
    for name, net in again.items():
        net.load_state_dict(loaded.state[name])
    torch.testing.assert_close(
        predict(method, again, batch, settings), predict(method, nets, batch, settings), atol=0, rtol=0
    )


def test_one_pair_is_learnt_by_heart(method: Trainable[Any]) -> None:
    """16³ voxels; only those count that every network sees all around of."""
    only_images(method)
    settings = replace(small(method), **BY_HEART.get(method.name, {}))
    batch = batch_of(method.about.direction, size=16, missing=("T2w", "FLAIR"))
    torch.manual_seed(0)
    nets = method.build(settings)
    losses = fit(method, settings, nets, [batch], steps=80, rate=5e-3)
    inner = (0, 0, *(slice(5, -5),) * 3)
    image, target = predict(method, nets, batch, settings)[inner], batch.target[inner]
    assert losses[-1] < losses[0] / 2
    assert (image - target).square().mean() < 0.5 * (batch.input[inner] - target).square().mean()
