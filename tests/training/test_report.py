"""The test of a training: on the device and with the numbers that the training was told to use."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bids_lfenhance.nn import precision
from bids_lfenhance.nn.weights import save_weights
from bids_lfenhance.training import assess, report
from bids_lfenhance.training.card import Trained
from bids_lfenhance.training.run import TrainOptions
from bids_lfenhance.training.split import Split

from .toy import TOY, ToySettings, build, make_example

SPLIT = Split(("ds/a",), (), ("ds/b",))


@pytest.fixture
def trained(tmp_path: Path) -> Trained:
    recipe = {"method": "toy", "contrasts": ["T1w"], "settings": {}}
    folder = save_weights(tmp_path / "out", build(ToySettings()), recipe, "a card")
    return Trained(folder, None, 1, 1.0)


@pytest.fixture
def told(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the test of weights on a processor with native bfloat16 gives its networks, by the options."""
    examples = [make_example(tmp_path, name, seed) for seed, name in enumerate("ab")]
    monkeypatch.setattr(precision, "bf16_is_native", lambda device: True)

    def test(**options: Any) -> dict[str, Any]:
        given: dict[str, Any] = {}

        def rows(nets: Any, method: Any, settings: Any, tested: Any, learned_from: Any, seed: int, device: Any) -> Any:
            weight = next(nets["enhancer"].parameters())
            half = nets["enhancer"].forward.__name__ == "half"
            given.update(device=device.type, weights=weight.device.type, half=half, seed=seed)
            about = {"kind": "pairs", "contrast": "T1w", "method": "input", "simulator": "", "person": "ds/b"}
            return [about | {"psnr": 1.0, "ssim": 1.0, "ncc": 1.0}]

        monkeypatch.setattr(report, "assess", rows)
        report.evaluate_test_set(trained, TOY, ToySettings(), SPLIT, examples, TrainOptions(**options))
        return given

    return test


def test_precision_is_as_in_training(told: Any) -> None:
    assert told(precision="fp32", seed=3) == {"device": "cpu", "weights": "cpu", "half": False, "seed": 3}
    assert told(precision="bf16")["half"]


def test_the_device_is_as_in_training(told: Any) -> None:
    found = told(device="meta")
    assert (found["device"], found["weights"]) == ("meta", "meta")


def test_volumes_and_chance_are_where_the_networks_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = make_example(tmp_path, "a", 0)
    asked: list[Any] = []

    class Generator:  # there is none on meta
        def __init__(self, device: Any) -> None:
            asked.append(device)

        def manual_seed(self, seed: int) -> None:
            asked.append(seed)

    def predict(nets: Any, batch: Any, settings: Any, generator: Any) -> torch.Tensor:
        asked.append({value.device.type for value in vars(batch).values() if value is not None})
        return torch.zeros(1, 3, *example.mask.shape)

    monkeypatch.setattr(torch, "Generator", Generator)
    monkeypatch.setattr(assess, "brain_fit", lambda *_: {"psnr": np.nan, "ssim": np.nan, "ncc": np.nan})
    method = replace(TOY, about=replace(TOY.about, name="elsewhere"), predict=predict)
    rows = assess.assess({}, method, None, [example], [example], 7, torch.device("meta"))
    assert asked == [torch.device("meta"), 7, {"meta"}]
    assert {row["method"] for row in rows} == {"input", "monotone map", "elsewhere"}


def test_an_example_may_lack_a_score(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sessions of one test subject, one with simulated planes and one acquired pair."""
    examples = [make_example(tmp_path, "b", seed) for seed in range(2)]
    scores = [{"psnr": 20.0, "psnr-axial": 19.0}, {"psnr": 22.0, "psnr-pair": 21.0}]
    monkeypatch.setattr(report, "scores_itself", lambda method: True)
    monkeypatch.setattr(report, "own_scores", lambda *_: scores.pop(0))
    text = report.evaluate_test_set(trained, TOY, ToySettings(), SPLIT, examples, TrainOptions())
    assert "| psnr | 21.000 | 20.000 |" in text
    table = pd.read_csv(trained.folder / report.TEST, sep="\t", na_values="n/a")
    assert table["psnr-axial"].tolist()[0] == 19.0
    assert table.isna().to_numpy().tolist() == [[False, False, False, True], [False, False, True, False]]


@dataclass(frozen=True)
class Found:
    factor: float = 1.0


@dataclass(frozen=True)
class Measured(ToySettings, Found):
    """Settings of a method that measures a factor in the end."""


def test_what_was_measured_in_the_end_is_tested_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = {"method": "toy", "contrasts": ["T1w"], "settings": {"factor": 3.0}}
    folder = save_weights(tmp_path / "out", build(ToySettings()), recipe, "a card")
    method = replace(TOY, about=replace(TOY.about, settings=Measured, measured=Found))
    judged: list[float] = []

    def rows(nets: Any, method: Any, settings: Any, *_: Any) -> Any:
        judged.append(settings.factor)
        about = {"kind": "pairs", "contrast": "T1w", "method": "input", "simulator": "", "person": "ds/b"}
        return [about | {"psnr": 1.0, "ssim": 1.0, "ncc": 1.0}]

    monkeypatch.setattr(report, "assess", rows)
    examples = [make_example(tmp_path, name, seed) for seed, name in enumerate("ab")]
    trained = Trained(folder, None, 1, 1.0)
    report.evaluate_test_set(trained, method, Measured(), SPLIT, examples, TrainOptions())
    assert judged == [3.0]
