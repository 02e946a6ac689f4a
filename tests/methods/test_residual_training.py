"""Training on top of an estimate, as ``cfm`` and ``cssdiff`` do: what is given, what is stored."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bids_lfenhance.errors import InputError
from bids_lfenhance.methods import get_trainable
from bids_lfenhance.methods.residual_options import check_estimate
from bids_lfenhance.nn.estimate import read_output
from bids_lfenhance.nn.source import Position
from bids_lfenhance.nn.unet3d import apply_padded
from bids_lfenhance.nn.weights import load_weights, save_weights
from bids_lfenhance.simulators.online.source import OnlineSource
from bids_lfenhance.training.loop import train
from bids_lfenhance.training.run import TrainOptions, stored_settings
from bids_lfenhance.training.split import Split
from tests.simulators.online.phantoms import write_people

SMALL = {"width": 8, "train_steps": 3, "batch": 2, "patch": 16, "pool": 2}


@pytest.fixture
def estimate_weights(tmp_path: Path) -> Path:
    """Weights of a small estimate, never trained."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    method = get_trainable("fusionnet")
    settings = method.about.settings(width=8, levels=2)
    nets = method.build(settings)
    torch.nn.init.normal_(nets["estimate"].last.weight, std=0.02)
    torch.nn.init.constant_(nets["estimate"].last.bias, -2.0)
    recipe = {"method": "fusionnet", "contrasts": ["T1w"], "settings": stored_settings(method.about, settings)}
    return save_weights(tmp_path / "estimate", nets, recipe, "a card")


def quiet(done: int, steps: int, found: Mapping[str, float]) -> None:
    """No bar."""


def test_cssdiff_learns_on_top_of_the_same_estimate(estimate_weights: Path, tmp_path: Path) -> None:
    method = get_trainable("cssdiff")
    settings = method.about.settings(
        width=8, train_steps=2, batch=2, slices=2, slab=16, crop=16, pool=2, estimate_weights=str(estimate_weights)
    )
    people = write_people(tmp_path / "heads", "ab", shape=(18, 20, 16))
    options = TrainOptions(precision="fp32", validate_every=100, log_every=1)
    train(method, settings, people, Split(("ds/a",), ("ds/b",)), tmp_path / "out", options, quiet)
    found = load_weights(tmp_path / "out", "cssdiff", ("T1w",))
    assert found.settings["estimate_sha256"] == load_weights(estimate_weights, "fusionnet", ()).sha256


def test_it_learns_from_the_estimate_and_stores_which_it_was(estimate_weights: Path, tmp_path: Path) -> None:
    method = get_trainable("cfm")
    settings = method.about.settings(**SMALL, estimate_weights=str(estimate_weights))
    people = write_people(tmp_path / "heads", shape=(20, 22, 18))
    assert method.estimate is not None
    source, stage = OnlineSource(people, settings, method.estimate(settings, "fp32")), method.stages(settings)[0]
    stage = replace(stage, patch=(52, 54, 50))  # whole heads with their margin
    at = [Position(0, 0, 0, number) for number in range(2)]
    batch = source.realise(stage, [source.item(stage, one) for one in at], at, torch.device("cpu"))
    loaded = load_weights(estimate_weights, "fusionnet", ())
    network = get_trainable("fusionnet").build(get_trainable("fusionnet").about.settings(width=8, levels=2))["estimate"]
    network.load_state_dict(loaded.state["estimate"])
    for one in (batch[0:1], batch[1:2]):
        where = torch.nonzero((one.input[0, 0] != 0) | one.mask[0, 0])
        corner, end = where.amin(dim=0) - 2, where.amax(dim=0) + 3  # 4 voxels around what scans show of 2 mm more
        box = (..., *(slice(int(a), int(b)) for a, b in zip(corner.clamp(min=0), end, strict=True)))
        with torch.no_grad():
            expected = read_output(one.input[box], apply_padded(network, one.input[box]))
        torch.testing.assert_close((one.mean[box], one.scale[box]), expected, rtol=2e-3, atol=2e-3)  # kept as halves
        beyond = torch.ones_like(one.mask)
        beyond[box] = False
        assert not one.mean[beyond].any()
        assert (one.scale[beyond] < 0.007).all()

    options = TrainOptions(precision="fp32", validate_every=100, log_every=1)
    train(method, settings, people, Split(("ds/a", "ds/b"), ("ds/c",)), tmp_path / "out", options, quiet)
    flow = load_weights(tmp_path / "out", "residualflow", ("T1w",))
    assert flow.settings["estimate_sha256"] == loaded.sha256
    assert len(flow.settings["spectrum"]) == 11
    assert min(flow.settings["spectrum"]) >= 0
    check_estimate("cfm", flow.settings["estimate_sha256"], loaded)
    with pytest.raises(InputError, match="with which it was trained"):
        check_estimate("cfm", flow.settings["estimate_sha256"], replace(loaded, sha256="0" * 64))
    assert "variance of the flow's velocity" in (tmp_path / "out" / "card.md").read_text()
