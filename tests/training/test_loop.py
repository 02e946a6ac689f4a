"""The loop on a method of two convolutions."""

import errno
import json
import logging
import shutil
import time
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bids_lfenhance.errors import InputError, Interrupted, MethodError
from bids_lfenhance.methods import get_trainable
from bids_lfenhance.nn.example import Example
from bids_lfenhance.nn.weights import load_weights
from bids_lfenhance.simulators.online.source import OnlineSource
from bids_lfenhance.training import loop
from bids_lfenhance.training.checkpoint import seconds_spent
from bids_lfenhance.training.curves import read_curves
from bids_lfenhance.training.loop import train
from bids_lfenhance.training.patches import Augmentation
from bids_lfenhance.training.run import TrainOptions, identity_of, training_subjects_of
from bids_lfenhance.training.split import Split, read_split
from tests.methods.generative import small_weights

from ..refusals import refused
from . import toy
from .toy import CALLS, GAN, TOY, ToySettings, make_example

torch.set_num_threads(1)

SPLIT = Split(("ds/a", "ds/b"), ("ds/c",), ("ds/d",))
OPTIONS = TrainOptions(precision="fp32", validate_every=4, checkpoint_every=3, log_every=2)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    folder = tmp_path_factory.mktemp("examples")
    return [make_example(folder, name, seed) for seed, name in enumerate("abcd")]


def quiet(done: int, steps: int, losses: Mapping[str, float]) -> None:
    """No bar."""


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def series(folder: Path, quantity: str) -> list[float]:
    return [float(row["value"]) for row in read_curves(folder) if row["quantity"] == quantity]


def test_overfits_one_pair(tmp_path: Path) -> None:
    example = make_example(tmp_path, "a", 0, shape=(16, 16, 16), easy=True)
    calm = replace(TOY, build=without_dropout)
    plain = TrainOptions(precision="fp32", augmentation=Augmentation("none", 0, 0), validate_every=100)
    settings = ToySettings(width=16, steps=120, batch=1, patch=16, rate=1e-2)
    train(calm, settings, [example], Split(("ds/a",)), tmp_path / "out", plain, quiet)
    losses = series(tmp_path / "out", "l1")
    assert losses[-1] < 0.4 * losses[0]


def test_leaves_everything_a_third_person_needs(tmp_path: Path, examples: list[Example]) -> None:
    settings = ToySettings(weights="elsewhere")
    trained = train(TOY, settings, examples, SPLIT, tmp_path, replace(OPTIONS, dtype="bf16"), quiet)
    names = {path.name for path in tmp_path.iterdir()} - {"tensorboard"}
    assert names == {
        "weights.safetensors", "recipe.toml", "card.md", "split.json", "curves.csv", "curves.png", "checkpoint"
    }  # fmt: skip
    assert read_split(tmp_path / "split.json") == SPLIT
    recipe = tomllib.loads((tmp_path / "recipe.toml").read_text())
    assert recipe["contrasts"] == ["T1w", "T2w"]
    assert recipe["trained_on"] == ["ds/a", "ds/b", "ds/c"]
    assert recipe["outcome"]["validation_score"] == trained.score
    assert recipe["settings"]["steps"] == settings.steps
    assert "weights" not in recipe["settings"]
    loaded = load_weights(tmp_path, "toy", ["T1w"])
    assert TOY.about.settings(**loaded.settings) == replace(settings, weights="auto")
    assert loaded.trained_on == ("ds/a", "ds/b", "ds/c")
    net = toy.build(settings)["enhancer"]
    net.load_state_dict(loaded.state["enhancer"])
    assert {value.dtype for value in weights(tmp_path).values()} == {torch.bfloat16}
    rows = read_curves(tmp_path)
    assert [int(row["step"]) for row in rows if row["quantity"] == "l1"] == [2, 4, 6, 8]
    assert [int(row["step"]) for row in rows if row["quantity"] == "psnr"] == [4, 8]


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(tmp_path: Path, examples: list[Example]) -> None:
    before = torch.random.get_rng_state()
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        train(TOY, ToySettings(), examples, SPLIT, tmp_path / name, replace(OPTIONS, seed=seed), quiet)
    assert same(tmp_path / "one", tmp_path / "two")
    assert not same(tmp_path / "one", tmp_path / "other")
    assert torch.equal(before, torch.random.get_rng_state())
    assert not torch.are_deterministic_algorithms_enabled()


class Killed(BaseException):
    """As if the process had ended here."""


def test_goes_on_bit_for_bit_from_wherever_it_was_cut(
    tmp_path: Path, examples: list[Example], rng: np.random.Generator
) -> None:
    settings = ToySettings(steps=10, second=7, noise=0.1)
    train(TOY, settings, examples, SPLIT, tmp_path / "whole", OPTIONS, quiet)
    left = sorted(rng.choice(np.arange(1, 18), 5, replace=False).tolist())

    def cut(done: int, steps: int, losses: Mapping[str, float]) -> None:
        if left and done == left[0]:
            left.pop(0)
            raise Killed

    for _ in range(5):
        with pytest.raises(Killed):
            train(TOY, settings, examples, SPLIT, tmp_path / "cut", OPTIONS, cut)
    train(TOY, settings, examples, SPLIT, tmp_path / "cut", OPTIONS, cut)
    assert same(tmp_path / "whole", tmp_path / "cut")
    assert (tmp_path / "whole" / "curves.csv").read_bytes() == (tmp_path / "cut" / "curves.csv").read_bytes()
    assert len(list((tmp_path / "cut" / "checkpoint").iterdir())) == 1
    # A finished training is not trained again.
    done = train(TOY, settings, examples, SPLIT, tmp_path / "cut", OPTIONS, cut)
    assert done.steps == 17
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, examples: list[Example]) -> None:
    train(TOY, ToySettings(), examples, SPLIT, tmp_path, OPTIONS, quiet)
    other = Split(("ds/a",), ("ds/c",), ("ds/d",))
    for settings, split, options in (
        (ToySettings(width=5), SPLIT, OPTIONS),
        (ToySettings(), other, OPTIONS),
        (ToySettings(), SPLIT, replace(OPTIONS, seed=1)),
    ):
        with pytest.raises(InputError, match="checkpoint of this training"):
            train(TOY, settings, examples, split, tmp_path, options, quiet)
    (state,) = tmp_path.glob("checkpoint/*/state.safetensors")
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        train(TOY, ToySettings(), examples, SPLIT, tmp_path, OPTIONS, quiet)


def test_an_estimate_that_has_moved_is_still_the_same(tmp_path: Path) -> None:
    method, bundled = get_trainable("cfm"), load_weights("auto", "fusionnet", ()).path

    def identity(estimate: Path | str) -> str:
        settings = method.about.settings(estimate_weights=str(estimate))
        source = OnlineSource([], settings, method.estimate(settings, "fp32"))
        return identity_of(method, settings, [], SPLIT, OPTIONS, False, source)

    shutil.copy(bundled, tmp_path / "moved.safetensors")
    assert identity(bundled) == identity(tmp_path / "moved.safetensors")
    assert identity(bundled) != identity(small_weights(tmp_path)["estimate"])


def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(self: Path, content: bytes) -> int:
        if self.name == "state.safetensors" and "step000000006" in str(self):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="no space left"):
        train(TOY, ToySettings(), examples, SPLIT, tmp_path, OPTIONS, quiet)
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["stage00-step000000003"]


def test_sigterm_leaves_a_checkpoint(tmp_path: Path, examples: list[Example]) -> None:
    import os
    import signal

    def asked(done: int, steps: int, losses: Mapping[str, float]) -> None:
        if done == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="after 5 steps"):
        train(TOY, ToySettings(), examples, SPLIT, tmp_path / "cut", OPTIONS, asked)
    (state,) = tmp_path.glob("cut/checkpoint/*/state.json")
    assert json.loads(state.read_text())["step"] == 5
    train(TOY, ToySettings(), examples, SPLIT, tmp_path / "cut", OPTIONS, quiet)
    train(TOY, ToySettings(), examples, SPLIT, tmp_path / "whole", OPTIONS, quiet)
    assert same(tmp_path / "whole", tmp_path / "cut")


def test_checkpoints_come_by_the_clock_too(tmp_path: Path, examples: list[Example]) -> None:
    def cut(done: int, steps: int, losses: Mapping[str, float]) -> None:
        if done == 5:
            raise Killed

    options = replace(OPTIONS, checkpoint_every=1000, checkpoint_seconds=0.0)
    with pytest.raises(Killed):
        train(TOY, ToySettings(), examples, SPLIT, tmp_path, options, cut)
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["stage00-step000000004"]


def test_a_step_without_a_finite_loss_is_skipped(
    tmp_path: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def bad_at_three(nets: Any, batch: Any, settings: Any, generator: Any) -> Any:
        found = toy.losses(nets, batch, settings, generator)
        return {"l1": found["l1"] * (float("inf") if CALLS["losses"] == 3 else 1.0)}

    CALLS["losses"] = 0
    (first, *_) = toy.stages(ToySettings())
    stage = replace(first, phases=(replace(first.phases[0], losses=bad_at_three),))
    method = replace(TOY, stages=lambda _: (stage,))
    with caplog.at_level(logging.WARNING):
        train(method, ToySettings(), examples, SPLIT, tmp_path, OPTIONS, quiet)
    assert [r.message[:14] for r in caplog.records if "skipped" in r.message] == ["step 2 skipped"]
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())
    assert all(np.isfinite(series(tmp_path, "l1")))


def test_ten_such_steps_in_a_row_end_the_training(tmp_path: Path, examples: list[Example]) -> None:
    CALLS["losses"] = 0
    with pytest.raises(MethodError, match="10 steps of enhance in a row") as caught:
        train(TOY, ToySettings(steps=30, nan_from=5), examples, SPLIT, tmp_path, OPTIONS, quiet)
    assert "--precision fp32" in str(caught.value)
    assert CALLS["losses"] == 15


def test_one_phase_without_finite_losses_is_not_excused_by_another(tmp_path: Path, examples: list[Example]) -> None:
    def never(nets: Any, batch: Any, settings: Any, generator: Any) -> Any:
        return {"judge": toy.judge(nets, batch, settings, generator)["judge"] * float("nan")}

    (both,) = toy.stages_pair(ToySettings(steps=30))
    stage = replace(both, phases=(both.phases[0], replace(both.phases[1], losses=never)))
    method = replace(toy.GAN, stages=lambda _: (stage,))
    with pytest.raises(MethodError, match="10 steps of judge in a row"):
        train(method, ToySettings(steps=30), examples, SPLIT, tmp_path, OPTIONS, quiet)


def patched_psnr(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    from bids_lfenhance.training import loop

    monkeypatch.setattr(loop, "validate", lambda *_: {"psnr": values.pop(0)})


def test_the_time_given_ends_it_in_good_order_and_more_time_goes_on(tmp_path: Path, examples: list[Example]) -> None:
    options = replace(OPTIONS, max_seconds=1e-6)
    trained = train(TOY, ToySettings(), examples, SPLIT, tmp_path / "short", options, quiet)
    assert trained.steps == 1
    assert (tmp_path / "short" / "weights.safetensors").is_file()
    assert train(TOY, ToySettings(), examples, SPLIT, tmp_path / "short", options, quiet).steps == 1
    assert train(TOY, ToySettings(), examples, SPLIT, tmp_path / "short", OPTIONS, quiet).steps == 8


def test_all_of_the_time_is_counted_and_none_of_it_twice(
    tmp_path: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(run: Any, state: Any) -> Any:
        time.sleep(0.2)
        return run

    monkeypatch.setattr(loop, "with_measured", slow)
    cut = train(TOY, ToySettings(), examples, SPLIT, tmp_path, replace(OPTIONS, max_seconds=1e-9), quiet)
    assert seconds_spent(tmp_path / "checkpoint") == cut.seconds > 0.2
    whole = train(TOY, ToySettings(), examples, SPLIT, tmp_path, OPTIONS, quiet)
    assert whole.finished
    assert whole.seconds > cut.seconds + 0.2
    assert train(TOY, ToySettings(), examples, SPLIT, tmp_path, OPTIONS, quiet).seconds == whole.seconds


def test_only_the_networks_of_a_phase_move_and_both_learn(
    tmp_path: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bids_lfenhance.training import loop

    moves: list[set[str]] = []
    original = torch.optim.AdamW.step

    def watched(self: Any, *args: Any) -> Any:
        nets = state["nets"]
        before = {
            name: torch.cat([p.detach().flatten() for p in net.parameters()]).clone() for name, net in nets.items()
        }
        original(self, *args)
        after = {name: torch.cat([p.detach().flatten() for p in net.parameters()]) for name, net in nets.items()}
        moves.append({name for name in nets if not torch.equal(before[name], after[name])})

    state: dict[str, Any] = {}
    prepare = loop.prepare

    def caught(*args: Any) -> Any:
        found = prepare(*args)
        state["nets"] = found[1].nets
        return found

    monkeypatch.setattr(loop, "prepare", caught)
    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    train(GAN, ToySettings(steps=4), examples, SPLIT, tmp_path, OPTIONS, quiet)
    assert moves == [{"enhancer"}, {"judge"}] * 4
    assert {row["quantity"] for row in read_curves(tmp_path)} >= {"l1", "fool", "judge", "rate-enhance", "rate-judge"}


def test_groups_of_a_batch_add_up_to_the_whole(tmp_path: Path, examples: list[Example]) -> None:
    plain = replace(OPTIONS, augmentation=Augmentation(drop=0.0))
    settings = ToySettings(batch=4)
    calm = replace(TOY, build=without_dropout)
    for chunk in (0, 1, 3):
        train(calm, settings, examples, SPLIT, tmp_path / str(chunk), replace(plain, chunk=chunk), quiet)
    for other in ("1", "3"):
        np.testing.assert_allclose(series(tmp_path / "0", "l1"), series(tmp_path / other, "l1"), rtol=1e-4)


def without_dropout(settings: ToySettings) -> dict[str, torch.nn.Module]:
    nets = toy.build(settings)
    nets["enhancer"].dropout = torch.nn.Identity()
    return nets


def test_bf16_trains_too(tmp_path: Path, examples: list[Example]) -> None:
    half = replace(OPTIONS, precision="bf16")
    train(TOY, ToySettings(steps=20), examples, SPLIT, tmp_path / "bf16", half, quiet)
    train(TOY, ToySettings(steps=20), examples, SPLIT, tmp_path / "fp32", OPTIONS, quiet)
    assert {value.dtype for value in weights(tmp_path / "bf16").values()} == {torch.float32}
    np.testing.assert_allclose(series(tmp_path / "bf16", "l1"), series(tmp_path / "fp32", "l1"), rtol=0.05)


def test_stages_take_their_kind_of_examples_or_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bids_lfenhance.training import loop, patches

    made = [make_example(tmp_path, "a", 0, "simulated"), make_example(tmp_path, "b", 1, "pairs")]
    seen: list[str] = []
    draw = patches.draw_patch
    monkeypatch.setattr(patches, "draw_patch", lambda e, *rest: seen.append(e.kind) or draw(e, *rest))
    monkeypatch.setattr(loop, "validate", lambda *_: {"psnr": 1.0})
    split = Split(("ds/a", "ds/b"))
    train(TOY, ToySettings(steps=4, second=3), made, split, tmp_path / "out", OPTIONS, quiet)
    assert seen == ["simulated"] * 8 + ["pairs"] * 6
    seen.clear()
    train(TOY, ToySettings(steps=4, second=3), made[:1], Split(("ds/a",)), tmp_path / "one", OPTIONS, quiet)
    assert set(seen) == {"simulated"}


def test_begins_with_given_weights_and_refuses_a_leak(tmp_path: Path, examples: list[Example]) -> None:
    train(TOY, ToySettings(), examples, SPLIT, tmp_path / "first", OPTIONS, quiet)
    start = load_weights(tmp_path / "first", "toy", ["T1w"])
    still = ToySettings(steps=1, rate=0.0)
    fine = Split(("ds/b",), ("ds/c",), ("ds/d",))
    train(TOY, still, examples, fine, tmp_path / "second", replace(OPTIONS, start=start), quiet)
    assert same(tmp_path / "first", tmp_path / "second")
    assert load_weights(tmp_path / "second", "toy", []).trained_on == ("ds/a", "ds/b", "ds/c")
    leak = Split(("ds/b",), ("ds/c",), ("ds/a",))
    with pytest.raises(InputError, match="trained on ds/a"):
        train(TOY, still, examples, leak, tmp_path / "third", replace(OPTIONS, start=start), quiet)
    with pytest.raises(InputError, match="networks of this size"):
        train(TOY, ToySettings(width=9), examples, fine, tmp_path / "third", replace(OPTIONS, start=start), quiet)


def test_a_simulator_that_has_seen_the_test_subject_is_refused(tmp_path: Path) -> None:
    origin = {"simulator": "h2lo", "records": [{"weights": "x", "trained_on": ["ds/q", "ds/b"]}]}
    made = [make_example(tmp_path, "a", 0, origin=origin), make_example(tmp_path, "b", 1)]
    with pytest.raises(InputError, match="simulator behind the examples was trained on ds/b"):
        train(TOY, ToySettings(), made, Split(("ds/a",), (), ("ds/b",)), tmp_path / "out", OPTIONS, quiet)


def test_the_estimate_behind_a_residual_has_seen_people_too() -> None:
    (people,) = training_subjects_of([], None, SimpleNamespace(estimate_weights="auto")).values()
    assert people == list(load_weights("auto", "fusionnet", ()).trained_on)
    assert people


@pytest.mark.parametrize("changed", [{"steps": 0}, {"steps": -1}, {"second": -1}])
def test_no_step_is_no_training(tmp_path: Path, examples: list[Example], changed: dict[str, int]) -> None:
    with refused("no-steps"):
        train(TOY, ToySettings(**changed), examples, SPLIT, tmp_path, OPTIONS, quiet)


def test_what_cannot_be_trained_is_said(tmp_path: Path, examples: list[Example]) -> None:
    with pytest.raises(InputError, match="found none"):
        train(TOY, ToySettings(), examples, Split(("ds/nobody",)), tmp_path, OPTIONS, quiet)
