from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bids_lfenhance.errors import InputError, MethodError
from bids_lfenhance.imaging.volume import Volume
from bids_lfenhance.methods.cfm.inference import enhance_batch as predict
from bids_lfenhance.methods.cfm.loss import stages
from bids_lfenhance.methods.cfm.method import ENHANCER, TRAINABLE
from bids_lfenhance.methods.cfm.network import VelocityNet, build
from bids_lfenhance.methods.cfm.settings import CfmSettings
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.nn.method import Enhanced
from bids_lfenhance.nn.weights import save_weights

from ..learned import batch_of, untrained, untrained_weights
from ..phantoms import small_session

SMALL = CfmSettings(base=16, bottleneck=16, shuffle=2, anchor=0.1)
SHARE = {"base": 16, "bottleneck": 16}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def session() -> Volume:
    return small_session(np.random.default_rng(7), size=24)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Anchored weights before their first step: high field is low field and independent noise of SD 0.1."""
    return unmoved(tmp_path_factory.mktemp("before"))


def unmoved(folder: Path, **changes: Any) -> Path:
    settings = replace(SMALL, **changes)
    recipe = {"method": "cfm", "contrasts": ("T1w", "T2w", "FLAIR"), "settings": asdict(settings)}
    return save_weights(folder, build(settings), recipe, "")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that were drawn, not learnt."""
    return untrained_weights(TRAINABLE.name, tmp_path_factory.mktemp("drawn"), **SHARE)


def run(volume: Volume, weights: Path, draws: int = 1, seed: int = 0, **changes: Any) -> Enhanced:
    return enhance(volume, ENHANCER, CfmSettings(weights=str(weights), **changes), np.random.default_rng(seed), draws)


@pytest.mark.parametrize("changes", [{"mode": "mean"}, {"mode": "sample", "steps": 3}, {"plane": "sagittal"}])
def test_row_20_how_many_slices_at_once_does_not_matter(changes: dict[str, Any]) -> None:
    settings = replace(SMALL, **changes)
    nets, batch = untrained(TRAINABLE, settings), batch_of("lf2hf", size=21)
    several, *others = (
        predict(nets, batch, replace(settings, slices_at_once=count), torch.Generator().manual_seed(1))
        for count in (99, 1, 5)
    )
    assert (several - batch.input).abs().max() > 0.05
    for other in others:
        torch.testing.assert_close(other, several, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("changes", "calls"),
    [
        ({"mode": "mean", "steps": 16}, 1),
        ({"mode": "sample"}, 31),
        ({"mode": "sample", "solver": "euler"}, 16),
        ({"mode": "sample", "steps": 4}, 7),
    ],
)
def test_calls_of_the_network_are_counted(changes: dict[str, Any], calls: int, session: Volume, drawn: Path) -> None:
    settings = replace(SMALL, slices_at_once=99, **changes)
    nets = build(settings)
    seen = []
    nets["velocity"].register_forward_hook(lambda *_: seen.append(1))
    predict(nets, batch_of("lf2hf", size=16), settings, torch.Generator())
    assert len(seen) == calls
    if calls in (1, 7):
        record = run(session, drawn, **changes).provenance["records"][0]
        assert record["nfe"] == calls


@pytest.mark.parametrize(("plane", "axis"), [("sagittal", 0), ("coronal", 1), ("axial", 2)])
def test_untrained_weights_return_the_brain_in_its_units(
    plane: str, axis: int, session: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through cut, scale, slices, one step and back: nothing moves, nothing is rescaled, the source drops out.

    The plane is the weights' own; which it was, the number of slices tells that the brain has along its axis.
    """
    seen, forward = [], VelocityNet.forward

    def counted(net: VelocityNet, image: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        seen.append(0 if image.is_meta else len(image))
        return forward(net, image, *more)

    monkeypatch.setattr(VelocityNet, "forward", counted)
    result = run(session, unmoved(tmp_path, plane=plane))
    assert result.std is None
    np.testing.assert_allclose(result.image, session.image, rtol=1e-4, atol=1e-5 * session.image.max())
    slices = [int(np.moveaxis(session.brain, number, 0).any(axis=(1, 2)).sum()) for number in range(3)]
    assert len(set(slices)) == 3, "each plane has a number of its own"
    assert sum(seen) == slices[axis]


def test_draws_have_the_spread_that_was_left_open_and_do_not_flicker() -> None:
    """Before training x_1 given low field is known, N(low, 0.1²): Heun-16 draws it, correlated along z as its noise."""
    batch = batch_of("lf2hf", size=32)
    batch.mask[:] = True
    batch.input[:] = 2.0  # far from zero, where negative values would be cut off
    settings = replace(SMALL, mode="sample", noise_corr_z=0.5)
    found = predict(build(settings), batch, settings, torch.Generator().manual_seed(3))[0, 0] - 2.0
    assert float(found.mean()) == pytest.approx(0, abs=0.01)
    assert float(found.var()) / 0.01 == pytest.approx(1, abs=0.03)
    neighbours = torch.corrcoef(torch.stack([found[..., :-1].flatten(), found[..., 1:].flatten()]))[0, 1]
    assert float(neighbours) == pytest.approx(0.5, abs=0.03)
    inside = torch.corrcoef(torch.stack([found[:, :-1].flatten(), found[:, 1:].flatten()]))[0, 1]
    assert float(inside) == pytest.approx(0, abs=0.03)


def test_a_share_of_the_mean_is_that_share_and_samples_are_whole(session: Volume, tmp_path: Path) -> None:
    weights, all_of_it = (
        untrained_weights(TRAINABLE.name, tmp_path / str(share), **SHARE, strength=share) for share in (0.5, 1.0)
    )
    none, half, whole = (run(session, weights, strength=share).image for share in (1e-9, 0.5, 1.0))
    assert np.abs(whole - none).max() > 1e-3
    np.testing.assert_allclose(half, (none + whole) / 2, atol=1e-5 * session.image.max())
    np.testing.assert_array_equal(run(session, weights).image, half, "the weights' own")
    one, other = (run(session, these, mode="sample", steps=2).image for these in (weights, all_of_it))
    np.testing.assert_array_equal(one, other)


def test_draws_differ_and_repeat(session: Volume, drawn: Path) -> None:
    one = run(session, drawn, draws=2, mode="sample", steps=2)
    again = run(session, drawn, draws=2, mode="sample", steps=2)
    assert one.image.tobytes() == again.image.tobytes()
    assert one.std is not None
    assert one.std[:, session.brain].max() > 0
    assert not one.std[:, ~session.brain].any(), "outside the brain the input stays"
    seeds = [record["seed"] for record in one.provenance["records"]]
    assert seeds[0] != seeds[1]


def test_too_few_steps_are_warned_about(session: Volume, before: Path) -> None:
    few, enough, mean = (
        run(session, before, **changes).provenance
        for changes in ({"mode": "sample", "steps": 4}, {"mode": "sample", "solver": "euler"}, {})
    )
    assert any("4 steps are too much alike" in text for text in few["warnings"])
    assert not enough["warnings"]
    assert not mean["warnings"]
    assert mean["records"][0]["spread"].startswith("none")
    assert mean["records"][0]["steps"] == 1


def test_a_contrast_that_the_weights_do_not_know_stays_as_it_is(session: Volume, tmp_path: Path) -> None:
    weights = untrained_weights(TRAINABLE.name, tmp_path, contrasts=("T1w",), **SHARE)
    result = run(session, weights)
    np.testing.assert_array_equal(result.image[1], session.channel("T2w"))
    assert not np.array_equal(result.image[0], session.channel("T1w"))
    assert any(text.startswith("T2w was not enhanced") for text in result.provenance["warnings"])
    alone = replace(session, image=session.image.copy(), present=np.array([True, False, False]))
    alone.image[1] = 0
    np.testing.assert_array_equal(run(alone, weights).image[0], result.image[0])


def test_the_record_names_the_weights_and_the_network_is_theirs(session: Volume, drawn: Path) -> None:
    result = run(session, drawn, base=64, n_ctx=0)
    record = result.provenance["records"][0]
    assert len(record["weights_sha256"]) == 64
    assert result.provenance["settings"]["base"] == 16, "the weights', not the default"
    assert record["precision"] in ("bf16", "fp32")
    assert set(record["scale"]) == {"T1w", "T2w"}


def test_networks_that_answer_no_numbers_are_refused(session: Volume, tmp_path: Path) -> None:
    nets = build(SMALL)
    with torch.no_grad():
        next(nets["velocity"].parameters()).fill_(float("nan"))
    recipe = {"method": "cfm", "contrasts": ("T1w", "T2w"), "settings": asdict(SMALL)}
    weights = save_weights(tmp_path, nets, recipe, "")
    with pytest.raises(MethodError, match="voxels that are not numbers"):
        run(session, weights)


def test_no_weights_is_said_with_how_to_train_them(session: Volume, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train --method cfm"):
        run(session, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"steps": 0}, "--cfm-steps of at least 1"),
        ({"slices_at_once": 0}, "--cfm-slices-at-once of at least 1"),
        ({"anchor": float("nan")}, "--cfm-anchor"),
        ({"strength": 2}, "--cfm-strength of at most 1"),
        ({"noise_corr_z": 1.0}, "--cfm-noise-corr-z below 1"),
        ({"base": 20}, "multiples of 8"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        CfmSettings(**changes)


def test_patches_are_whole_slices_of_the_plane() -> None:
    assert stages(CfmSettings())[0].patch == (160, 192, 18)
    assert stages(CfmSettings(plane="coronal", patch=96))[0].patch == (96, 18, 96)
