"""What a method counts before it descends: once, from the training's people alone, and never over weights that are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bids_lfenhance.nn.example import Example
from bids_lfenhance.nn.weights import load_weights
from bids_lfenhance.training.loop import train
from bids_lfenhance.training.run import TrainOptions
from bids_lfenhance.training.split import Split

from .toy import TOY, ToySettings, build, make_example


@pytest.fixture
def seen(monkeypatch) -> list[list[str]]:
    return []


def counting(seen: list[list[str]]) -> Any:
    """The toy, with a buffer that holds how many examples it began with."""

    def with_buffer(settings: ToySettings) -> dict[str, torch.nn.Module]:
        nets = build(settings)
        nets["enhancer"].register_buffer("count", torch.zeros(()))
        return nets

    def begin(nets: Any, examples: list[Example]) -> None:
        seen.append(sorted(example.subject for example in examples))
        nets["enhancer"].count.fill_(len(examples))

    return replace(TOY, build=with_buffer, initialise=begin)


def quiet(*_: Any) -> None:
    """No bar."""


def test_it_begins_once_and_what_was_counted_is_kept(tmp_path: Path, seen: list[list[str]]) -> None:
    examples = [make_example(tmp_path, name, number) for number, name in enumerate(("a", "b", "v"))]
    split = Split(("ds/a", "ds/b"), ("ds/v",))
    method, out = counting(seen), tmp_path / "out"
    train(method, ToySettings(steps=4), examples, split, out, TrainOptions(max_seconds=1e-9, precision="fp32"), quiet)
    assert seen == [["a", "b"]], "those who validate are not counted"
    train(method, ToySettings(steps=4), examples, split, out, TrainOptions(precision="fp32"), quiet)
    assert len(seen) == 1, "a training that goes on has begun"
    loaded = load_weights(str(out), "toy", ())
    assert float(loaded.state["enhancer"]["count"]) == 2

    train(method, ToySettings(steps=1), examples, split, tmp_path / "more", TrainOptions(start=loaded), quiet)
    assert len(seen) == 1, "weights to begin with hold what was counted"
    assert float(load_weights(str(tmp_path / "more"), "toy", ()).state["enhancer"]["count"]) == 2
