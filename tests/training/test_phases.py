"""What the loop does for phases: rates, and the running means that losses are given."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bids_lfenhance.nn.method import Trainable
from bids_lfenhance.nn.stage import Phase, Stage
from bids_lfenhance.nn.weights import load_weights
from bids_lfenhance.training.loop import rate_share, train
from bids_lfenhance.training.run import TrainOptions
from bids_lfenhance.training.split import Split

from .toy import ABOUT, ToySettings, build, losses, make_example, predict


def test_the_rate_climbs_and_falls_as_a_cosine() -> None:
    stage = Stage("s", (), 110, 1, (8, 8, 8), warmup=10, floor=0.1)
    shares = [rate_share(stage, step) for step in range(110)]
    assert shares[0] == pytest.approx(1 / 11)
    assert shares[10] == 1.0
    assert shares[60] == pytest.approx(0.55)
    assert shares[109] == pytest.approx(0.1, abs=1e-3)
    assert max(np.diff(shares)[10:]) < 0


def test_the_rate_is_halved_at_even_distances() -> None:
    stage = Stage("some", (Phase("one", ("net",), losses, 1.0),), 120, 1, (16, 16, 16), halvings=11)
    shares = [rate_share(stage, step) for step in range(120)]
    assert shares == [0.5 ** (step // 10) for step in range(120)]


def test_losses_are_given_the_running_mean_as_it_was_before_the_step(tmp_path: Path) -> None:
    seen: list[tuple[float, float]] = []

    def watch(nets: Any, batch: Any, settings: Any, generator: torch.Generator) -> Any:
        with torch.no_grad():
            net, mean = (nets[name].eval()(batch.input) for name in ("enhancer", "enhancer-mean"))
        nets["enhancer"].train()
        seen.append((float(net.mean()), float(mean.mean())))
        return losses(nets, batch, settings, generator)

    def stages(settings: ToySettings) -> tuple[Stage, ...]:
        phase = Phase("enhance", ("enhancer",), watch, settings.rate, means=("enhancer",))
        return (Stage("only", (phase,), 4, 1, (12, 12, 12)),)

    example = make_example(tmp_path / "data", "01", 1)
    method = Trainable(ABOUT, build, stages, predict)
    options = TrainOptions(ema=0.9, precision="fp32")
    split = Split((example.person,), (), ())
    train(method, ToySettings(), [example], split, tmp_path / "out", options, lambda *_: None)
    assert seen[0][0] == pytest.approx(seen[0][1])
    assert all(abs(net - mean) > 1e-6 for net, mean in seen[1:])


def test_helpers_learn_and_stay_behind(tmp_path: Path) -> None:
    """They are told how many people train, are moved and kept for a resumption, and are not in the weights."""
    told: list[int] = []

    def helpers(nets: Any, settings: Any, people: int) -> dict[str, torch.nn.Module]:
        told.append(people)
        return {"helper": deepcopy(nets["enhancer"])}

    def help_losses(nets: Any, batch: Any, settings: Any, generator: torch.Generator) -> Any:
        return losses({"enhancer": nets["helper"]}, batch, settings, generator)

    def stages(settings: ToySettings) -> tuple[Stage, ...]:
        phases = (Phase("help", ("helper",), help_losses, settings.rate), Phase("do", ("enhancer",), losses, 1e-3))
        return tuple(Stage(p.name, (p,), 3, 1, (12, 12, 12)) for p in phases)

    examples = [make_example(tmp_path / "data", name, 1) for name in ("01", "02")]
    method = Trainable(ABOUT, build, stages, predict, auxiliary_networks=helpers)
    split = Split(tuple(example.person for example in examples), (), ())
    out = tmp_path / "out"
    train(method, ToySettings(), examples, split, out, TrainOptions(precision="fp32"), lambda *_: None)
    assert told == [2]
    loaded = load_weights(out, "toy", ())
    assert set(loaded.state) == {"enhancer"}
    assert loaded.recipe["outcome"]["parameters"] == sum(
        w.numel() for w in build(ToySettings())["enhancer"].parameters()
    )
    (kept,) = [load_file(path) for path in (out / "checkpoint").rglob("*.safetensors")]
    weights = {key: kept[key] for key in kept if key.endswith("first.weight") and "nets" in key}
    helper, enhancer = (next(w for key, w in weights.items() if name in key) for name in ("helper", "enhancer"))
    assert not torch.equal(helper, enhancer)


def test_the_optimiser_of_a_gpu_skips_a_step_without_asking_the_host() -> None:
    """What the loop relies on there (``found_inf``), on the processor's fused form of it."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimiser = torch.optim.AdamW([weight], 0.1, fused=True)
    for gradient, bad in ((float("nan"), 1.0), (1.0, 0.0)):
        weight.grad = torch.full((3,), gradient)
        optimiser.found_inf = torch.tensor(bad)  # type: ignore[attr-defined]
        optimiser.step()
        assert torch.equal(weight.detach(), torch.ones(3)) == bool(bad)
    assert int(optimiser.state[weight]["step"]) == 1
