"""Training ``fusionnet`` from high field alone: it repeats itself, goes on to the bit, learns, measures its error."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bids_lfenhance.imaging.template import load_head_template
from bids_lfenhance.methods import get_trainable
from bids_lfenhance.methods.fusionnet import validation
from bids_lfenhance.methods.fusionnet.loss import losses
from bids_lfenhance.methods.fusionnet.network import build
from bids_lfenhance.methods.fusionnet.settings import ABOUT, FusionNetSettings
from bids_lfenhance.methods.fusionnet.validation import SCORES, estimates, measure, score_sessions
from bids_lfenhance.nn.batch import PAIR, Batch
from bids_lfenhance.nn.example import Example
from bids_lfenhance.nn.source import Position
from bids_lfenhance.nn.weights import load_weights
from bids_lfenhance.simulators.online.source import OnlineSource
from bids_lfenhance.simulators.online.validation import fixed_sessions
from bids_lfenhance.training.loop import train
from bids_lfenhance.training.run import TrainOptions
from bids_lfenhance.training.split import Split
from tests.simulators.online.phantoms import write_people

CPU = torch.device("cpu")
SMALL = FusionNetSettings(width=8, levels=2, train_steps=4, batch=2, patch=16, pool=4, renew=2)
SPLIT = Split(("ds/a", "ds/b"), ("ds/c",))
OPTIONS = TrainOptions(precision="fp32", validate_every=100, checkpoint_every=2, log_every=1)
METHOD = get_trainable("fusionnet")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    return write_people(tmp_path_factory.mktemp("heads"), shape=(20, 22, 18))


def quiet(done: int, steps: int, found: Mapping[str, float]) -> None:
    """No bar."""


class Killed(BaseException):
    """As if the process had ended here."""


def killed_at(step: int) -> object:
    def show(done: int, steps: int, found: Mapping[str, float]) -> None:
        if done == step:
            raise Killed

    return show


def test_it_ends_in_the_same_bytes_whether_or_not_it_was_killed(tmp_path: Path, people: list[Example]) -> None:
    train(METHOD, SMALL, people, SPLIT, tmp_path / "whole", OPTIONS, quiet)
    with pytest.raises(Killed):
        train(METHOD, SMALL, people, SPLIT, tmp_path / "cut", OPTIONS, killed_at(3))  # type: ignore[arg-type]
    train(METHOD, SMALL, people, SPLIT, tmp_path / "cut", OPTIONS, quiet)
    for name in ("weights.safetensors", "curves.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    loaded = load_weights(tmp_path / "whole", "fusionnet", ("T1w",))
    assert loaded.settings["error_factor"] != 1.0
    assert loaded.trained_on == ("ds/a", "ds/b", "ds/c")


def test_the_loss_falls_on_one_batch(people: list[Example]) -> None:
    settings = replace(SMALL, batch=2, patch=24)
    source, stage = OnlineSource(people[:1], settings), METHOD.stages(settings)[0]
    at = [Position(0, 0, 0, number) for number in range(2)]
    batch = source.realise(stage, [source.item(stage, one) for one in at], at, CPU)
    torch.manual_seed(0)
    nets = build(settings)
    optimiser = torch.optim.Adam(nets["estimate"].parameters(), 5e-3)
    found = []
    for _ in range(25):
        parts = losses(nets, batch, settings, torch.Generator())
        optimiser.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
        optimiser.step()
        found.append({name: float(value.detach()) for name, value in parts.items()})
    assert found[-1]["l1"] < 0.75 * found[0]["l1"]
    assert found[-1]["nll"] < found[0]["nll"]


def known_batch(error: float, lesion: bool) -> Batch:
    """The base is wrong by ``error`` everywhere in a brain that fills half of the patch."""
    mask = torch.zeros(2, 1, 8, 8, 8, dtype=torch.bool)
    mask[:, :, :4] = True
    inputs = torch.zeros(2, 17, 8, 8, 8)
    inputs[:, 0] = 0.5
    share = torch.zeros(2, 1, 8, 8, 8)
    share[:, :, :2] = float(lesion)
    target = torch.full((2, 1, 8, 8, 8), 0.5 - error)
    target[:, :, 2:] = 0.5
    return Batch(inputs, torch.ones(2, 1, dtype=torch.bool), mask, target, lesions=share)


def test_the_loss_is_what_it_says() -> None:
    """An untrained network answers with the base and log b = 0."""
    nets = build(SMALL)
    for lesion, wrong, all_of_it in (
        (False, 2 * 1.03, 4 * 1.03 + 4 * 0.03),
        (True, 2 * 4.03, 2 * 4.03 + 2 * 1.03 + 4 * 0.03),
    ):
        parts = losses(nets, known_batch(0.2, lesion), SMALL, torch.Generator())
        parts, share = {name: value.detach() for name, value in parts.items()}, wrong / all_of_it
        assert float(parts["l1"]) == pytest.approx(0.2 * share, rel=1e-4)
        assert float(parts["l2"]) == pytest.approx(2 * 0.04 * share, rel=1e-4)
        assert float(parts["nll"]) == pytest.approx(0.02 * 0.2 * share, rel=1e-4)
        assert float(parts["edges"]) == pytest.approx(0.3 * 0.2 / 7, rel=1e-4)


def test_the_scale_never_moves_the_estimate() -> None:
    nets = build(SMALL)
    parts = losses(nets, known_batch(0.2, False), SMALL, torch.Generator())
    parts["nll"].backward()
    last = nets["estimate"].last
    assert last.bias.grad[0] == 0
    assert last.bias.grad[1] != 0


def test_items_of_a_batch_are_judged_alone() -> None:
    nets, batch = build(SMALL), known_batch(0.2, True)
    batch.mask[1] = True
    nets["estimate"].requires_grad_(False)
    both = losses(nets, batch, SMALL, torch.Generator())
    each = [losses(nets, batch[number : number + 1], SMALL, torch.Generator()) for number in range(2)]
    for name, value in both.items():
        assert float(value) == pytest.approx((float(each[0][name]) + float(each[1][name])) / 2, rel=1e-5)


def test_validation_is_the_same_every_time_and_the_factor_makes_the_scale_right(people: list[Example]) -> None:
    torch.manual_seed(0)
    nets = build(SMALL)
    one, other = (score_sessions(nets, fixed_sessions(people[2], CPU), SMALL) for _ in range(2))
    assert one == other
    assert set(one) == set(SCORES) - {"psnr-pair"}, "there is no acquired pair"
    assert one["psnr"] == pytest.approx(one["psnr-mean-of-stacks"]), "an untrained network changes nothing"
    settings = measure(nets, fixed_sessions(people[2], CPU), SMALL)
    squares = [
        float(((mean - judged.batch.target) / (scale * settings.error_factor))[judged.batch.mask].square().mean())
        for judged, mean, scale in estimates(nets, fixed_sessions(people[2], CPU))
    ]
    assert math.sqrt(sum(squares) / len(squares)) == pytest.approx(1, rel=1e-3)


def test_presets_have_the_sizes_that_are_told() -> None:
    for name, least, most in (("default", 5.8e6, 6e6), ("tiny", 1e6, 2e6)):
        with torch.device("meta"):
            network = build(FusionNetSettings(**ABOUT.presets[name]))["estimate"]
        assert least < sum(weight.numel() for weight in network.parameters()) <= most


def test_patches_of_a_training_for_use_hold_nearly_a_whole_brain() -> None:
    """GroupNorm is over all that is shown: with parts of it, parts get better and whole heads worse."""
    template = load_head_template()
    where = np.argwhere(template.brain > 0.5)
    sides = (np.ptp(where, axis=0) + 1) * template.grid.zooms  # mm, voxels of a patch; larger than most people's
    for preset in ("default", "finetune"):
        (stage,) = METHOD.stages(METHOD.about.settings(**METHOD.about.presets[preset]))
        assert all(patch > 0.9 * side for patch, side in zip(stage.patch, sides, strict=True))
        assert all(patch % 8 == 0 for patch in stage.patch)


@pytest.mark.parametrize(("names", "factor"), [(("own", PAIR, "three"), 3.0), (("own", "three"), 2.0)])
def test_the_error_is_measured_on_acquired_pairs_where_there_are_any(monkeypatch, names, factor):
    """Those made by the simulator that was learned from say nothing of scanners."""
    zeros, mask = torch.zeros(1, 1, 4, 4, 4), torch.ones(1, 1, 4, 4, 4, dtype=torch.bool)
    made = [
        (
            SimpleNamespace(name=name, batch=SimpleNamespace(target=zeros, mask=mask)),
            zeros + (3 if name == PAIR else 2),
            1,
        )
        for name in names
    ]
    monkeypatch.setattr(validation, "estimates", lambda *_: made)
    assert validation.measure({}, (), FusionNetSettings()).error_factor == pytest.approx(factor)
