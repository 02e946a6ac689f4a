"""Which weights of a training are the best, and when it stops for want of better ones."""

import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bids_lfenhance.nn.example import Example
from bids_lfenhance.nn.weights import load_weights
from bids_lfenhance.training import loop
from bids_lfenhance.training.curves import read_curves
from bids_lfenhance.training.loop import train

from .test_loop import OPTIONS, SPLIT, examples, patched_psnr, quiet, same
from .toy import TOY, ToySettings

__all__ = ["examples"]


def test_stops_early_and_keeps_the_best(
    tmp_path: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ToySettings(steps=40)
    options = replace(OPTIONS, validate_every=2, patience=3)
    patched_psnr(monkeypatch, [20.0, 23.0, 22.0, 22.5, 21.0, 99.0])
    trained = train(TOY, settings, examples, SPLIT, tmp_path / "early", options, quiet)
    assert (trained.score, trained.steps) == (23.0, 10)
    recipe = tomllib.loads((tmp_path / "early" / "recipe.toml").read_text())
    assert recipe["outcome"]["best_step"] == 4
    # The weights are those of step 4: a run in which nothing later is better than it ends with the same.
    patched_psnr(monkeypatch, [20.0, 23.0] + [10.0] * 18)
    train(TOY, settings, examples, SPLIT, tmp_path / "long", replace(options, patience=0), quiet)
    assert same(tmp_path / "early", tmp_path / "long")


def test_weights_to_begin_with_are_kept_where_no_step_is_better(
    tmp_path: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    train(TOY, ToySettings(), examples, SPLIT, tmp_path / "first", OPTIONS, quiet)
    start = load_weights(tmp_path / "first", "toy", ["T1w"])
    options = replace(OPTIONS, validate_every=2, start=start)
    patched_psnr(monkeypatch, [23.0, 22.0] + [21.0] * 20)
    trained = train(TOY, ToySettings(), examples, SPLIT, tmp_path / "worse", options, quiet)
    assert (trained.score, trained.unchanged) == (23.0, True)
    assert same(tmp_path / "first", tmp_path / "worse")
    card = (tmp_path / "worse" / "card.md").read_text()
    assert "23.00 at step 0, the weights it began with" in card
    patched_psnr(monkeypatch, [23.0, 24.0] + [21.0] * 20)
    assert not train(TOY, ToySettings(), examples, SPLIT, tmp_path / "better", options, quiet).unchanged


def test_a_score_that_is_no_number_is_no_best(
    tmp_path: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    patched_psnr(monkeypatch, [float("nan"), 23.0, 22.0, 21.0])
    options = replace(OPTIONS, validate_every=2)
    assert train(TOY, ToySettings(), examples, SPLIT, tmp_path, options, quiet).score == 23.0


def test_a_call_that_ran_out_of_time_leaves_no_trace_in_the_next(
    tmp_path: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it validates at its end, at whatever step, is for its own weights; the training goes on as if uncut."""
    patched_psnr(monkeypatch, [99.0, 20.0, 23.0])
    options = replace(OPTIONS, validate_every=4)
    train(TOY, ToySettings(), examples, SPLIT, tmp_path, replace(options, max_seconds=1e-6), quiet)
    assert train(TOY, ToySettings(), examples, SPLIT, tmp_path, options, quiet).score == 23.0


def test_the_next_stage_goes_on_after_an_early_stop(
    tmp_path: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, validate_every=2, patience=1)
    patched_psnr(monkeypatch, [20.0, 10.0, 4.0, 5.0, 6.0])  # the third: where the second stage begins
    trained = train(TOY, ToySettings(steps=40, second=4), examples, SPLIT, tmp_path, options, quiet)
    assert (trained.score, trained.steps) == (6.0, 8)


def test_a_later_stage_keeps_what_it_began_with_where_none_of_its_steps_is_better(
    tmp_path: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, validate_every=4)
    train(TOY, ToySettings(steps=4), examples, SPLIT, tmp_path / "first", options, quiet)
    patched_psnr(monkeypatch, [19.0, 18.0, 17.0])
    trained = train(TOY, ToySettings(steps=4, second=4), examples, SPLIT, tmp_path / "both", options, quiet)
    assert (trained.score, trained.steps, trained.unchanged) == (18.0, 8, False)
    assert same(tmp_path / "first", tmp_path / "both")
    assert "18.00 at step 4" in (tmp_path / "both" / "card.md").read_text()

    start = load_weights(tmp_path / "first", "toy", ["T1w"])
    patched_psnr(monkeypatch, [19.0, 10.0, 18.0, 15.0])
    settings = ToySettings(steps=4, second=4)
    trained = train(TOY, settings, examples, SPLIT, tmp_path / "worse", replace(options, start=start), quiet)
    assert (trained.score, trained.unchanged) == (18.0, True)
    assert same(tmp_path / "first", tmp_path / "worse")


def test_weights_to_begin_with_are_judged_once_in_the_curves_whatever_was_killed(
    tmp_path: Path, examples: list[Example]
) -> None:
    train(TOY, ToySettings(), examples, SPLIT, tmp_path / "first", OPTIONS, quiet)
    options = replace(OPTIONS, start=load_weights(tmp_path / "first", "toy", ["T1w"]))

    def killed(done: int, steps: int, losses: object) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        train(TOY, ToySettings(), examples, SPLIT, tmp_path / "next", options, killed)
    train(TOY, ToySettings(), examples, SPLIT, tmp_path / "next", options, quiet)
    assert [row["step"] for row in read_curves(tmp_path / "next") if row["quantity"] == "psnr"] == ["0", "4", "8"]


def test_time_spent_is_all_of_it(tmp_path: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the validations, the last too, and what is measured in the end; the time given counts it likewise."""

    def measure(nets: Any, sessions: Any, settings: ToySettings) -> ToySettings:
        time.sleep(0.5)
        return settings

    def slow(*_: Any) -> dict[str, float]:
        time.sleep(0.5)
        return {"psnr": 1.0}

    monkeypatch.setattr(loop, "validate", slow)
    method = replace(TOY, measure=measure)
    assert train(method, ToySettings(), examples, SPLIT, tmp_path / "whole", OPTIONS, quiet).seconds > 1.5
    options = replace(OPTIONS, max_seconds=0.5, validate_every=1)
    assert train(TOY, ToySettings(), examples, SPLIT, tmp_path / "cut", options, quiet).steps == 1
