"""The card says what a person must know; the recipe is enough to repeat the training."""

import hashlib
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from bids_lfenhance.training import run
from bids_lfenhance.training.loop import train
from bids_lfenhance.training.patches import Augmentation
from bids_lfenhance.training.run import TrainOptions
from bids_lfenhance.training.split import Split

from .test_loop import quiet, same
from .toy import TOY, ToySettings, make_example

torch.set_num_threads(1)


def test_card_and_recipe(tmp_path: Path) -> None:
    real = {"licence": "CC0"}
    made = [make_example(tmp_path / "e", "a", 0, origin={"simulator": "physics", "licence": "CC0"})]
    made += [
        make_example(tmp_path / "e", "b", 1, "pairs", origin=real),
        make_example(tmp_path / "e", "c", 2, "pairs"),
    ]
    split = Split(("ds/a", "ds/b"), ("ds/c",), ("ds/q",))
    settings, options = ToySettings(second=3), TrainOptions(precision="fp32", augmentation=Augmentation("all", 0.02))
    trained = train(TOY, settings, made, split, tmp_path / "out", options, quiet)
    card = (tmp_path / "out" / "card.md").read_text()
    recipe = tomllib.loads((tmp_path / "out" / "recipe.toml").read_text())
    digest = hashlib.sha256((tmp_path / "out" / "weights.safetensors").read_bytes()).hexdigest()
    for said in (
        "# toy: T1w, T2w",
        "research only",
        "SIMULATED: simulated (physics). Part of it",
        "| train | ds | simulated (physics) | 1 | 1 | CC0 |",
        "| train | ds | acquired | 1 | 1 | CC0 |",
        "| validation | ds | acquired | 1 | 1 | not recorded |",
        "- test: ds/q",
        f"protocol brain-fit: {trained.score:.2f} at step {recipe['outcome']['best_step']}",
        digest,
        "| pretrain | simulated | 8 | 2 | 12×12×12 |",
    ):
        assert said in card

    # From the recipe alone, with the same examples: the same weights.
    told = {key: value for key, value in recipe["options"].items() if key not in ("networks_in_bf16", "processes")}
    options = TrainOptions(**told | {"augmentation": Augmentation(**told["augmentation"])})
    parts = {key: value if key == "how" else tuple(value) for key, value in recipe["split"].items()}
    train(TOY, ToySettings(**recipe["settings"]), made, Split(**parts), tmp_path / "again", options, quiet)
    assert same(tmp_path / "out", tmp_path / "again")


def test_the_card_admits_that_nobody_judged(tmp_path: Path) -> None:
    only = make_example(tmp_path / "e", "a", 0, "pairs")
    train(
        replace(TOY, about=replace(TOY.about, direction="hf2lf")),
        ToySettings(),
        [only],
        Split(("ds/a",)),
        tmp_path / "out",
        TrainOptions(),
        quiet,
    )
    card = (tmp_path / "out" / "card.md").read_text()
    assert "low-field-like images from high-field" in card
    assert "No validation subjects" in card
    assert "SIMULATED" not in card
    assert "so this is no test" not in card


@dataclass(frozen=True)
class Found:
    error_factor: float = 1.0


@dataclass(frozen=True)
class Measured(ToySettings, Found):
    """Settings of a method that says the scale of its error."""


def test_who_stands_in_for_validation_is_a_real_pair_and_the_card_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [make_example(tmp_path / "e", name, seed) for seed, name in enumerate("abcdefg")]
    made[5] = replace(made[5], kind="stacks")
    judged: list[list[str]] = []
    monkeypatch.setattr(run, "sessions_of", lambda _, examples, *__: judged.append([one.person for one in examples]))
    about = replace(TOY.about, settings=Measured, measured=Found)
    method = replace(TOY, about=about, measure=lambda nets, sessions, settings: replace(settings, error_factor=2.0))
    said = []
    for held in ((), ("ds/g",)):
        split, folder = Split(tuple(f"ds/{name}" for name in "abcdef"), held), tmp_path / f"out{len(held)}"
        train(method, Measured(), made, split, folder, TrainOptions(precision="fp32"), quiet)
        said.append("fitted on training subjects" in (folder / "card.md").read_text())
    assert judged == [["ds/f", "ds/a", "ds/b", "ds/c"], ["ds/g"]]
    assert said == [True, False]
