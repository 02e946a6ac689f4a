from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.errors import InputError, MethodError
from bids_lfenhance.imaging.volume import Volume
from bids_lfenhance.methods.bridge.inference import Field, evaluations, prepare
from bids_lfenhance.methods.bridge.inference import enhance_batch as predict
from bids_lfenhance.methods.bridge.loss import Pair, stages
from bids_lfenhance.methods.bridge.method import ENHANCER, TRAINABLE
from bids_lfenhance.methods.bridge.network import build
from bids_lfenhance.methods.bridge.parametrization import BACKGROUND, CLIP, SCHEDULE
from bids_lfenhance.methods.bridge.settings import PRESETS, BridgeSettings
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.nn.method import Enhanced
from bids_lfenhance.nn.weights import save_weights

from ..learned import batch_of, fit, untrained
from ..phantoms import small_session

CHANGES: dict[str, Any] = {"bridge_width": 8, "width": 8, "levels": 2, "patch": 32, "patch_z": 32}
PUBLISHED: dict[str, Any] = {"k": 0, "lowest": 100, "highest": 500}
SMALL = BridgeSettings(**{**PRESETS["tiny"], **CHANGES, **PUBLISHED}, steps=3)
"""Crosses where the paper does."""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def nets() -> dict[str, torch.nn.Module]:
    return {name: net.eval() for name, net in untrained(TRAINABLE, SMALL, spread=0.2).items()}


@pytest.fixture(scope="module")
def batch() -> dict[str, torch.Tensor]:
    return batch_of("lf2hf", size=24).without_target()


@pytest.fixture(scope="module")
def session() -> Volume:
    return small_session(np.random.default_rng(7), size=24)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, nets: Any) -> Path:
    recipe = {"method": "bridge", "contrasts": CONTRASTS, "settings": asdict(SMALL)}
    return save_weights(tmp_path_factory.mktemp("weights"), nets, recipe, "")


def found(nets: Any, batch: Any, seed: int = 0, **changes: Any) -> torch.Tensor:
    return predict(nets, batch, replace(SMALL, **changes), torch.Generator().manual_seed(seed))


def run(volume: Volume, weights: Path, draws: int = 1, seed: int = 0, **changes: Any) -> Enhanced:
    settings = BridgeSettings(weights=str(weights), **{"steps": 2} | changes)
    return enhance(volume, ENHANCER, settings, np.random.default_rng(seed), draws)


def test_a_share_of_the_change_is_that_share(session: Volume, weights: Path) -> None:
    none, half, whole = (run(session, weights, strength=share).image for share in (1e-9, 0.5, 1.0))
    assert np.abs(whole - none).max() > 1e-3
    np.testing.assert_allclose(half, (none + whole) / 2, atol=1e-5 * session.image.max())
    np.testing.assert_array_equal(run(session, weights).image, whole, "these weights' own")


class Told(torch.nn.Module):
    """A network that knows the answer everywhere: ``answer(images, told)``."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(()))
        self.answer = answer

    def forward(self, images: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.answer(images, told)
        return found


def test_the_bridges_image_is_the_high_field_where_the_bridge_is_perfect() -> None:
    """Row 6 through the code that is used: windows, presence, mask, scale."""
    whole = batch_of("lf2hf", size=24)
    pair = Pair.of(whole)
    change = SCHEDULE.shares[400].sqrt().float() * (pair.high - pair.low)
    change = torch.nn.functional.pad(change, (0, 8) * 3)  # the one window there is
    result = found({"bridge": Told(lambda images, told: change)}, whole.without_target(), diffusion=False)
    target = whole.target * whole.mask
    off = (result - target)[target < 1]
    assert float(-10 * torch.log10(off.square().mean())) > 110


def test_crossings_average_out_the_noise_that_a_bridge_lets_through() -> None:
    """A bridge that adds a tenth of its state: n crossings leave 1/n of the variance of the noise in that."""
    whole = batch_of("lf2hf", size=24)
    leaky = {"bridge": Told(lambda images, told: 0.1 * images[:, :3])}
    inside = (whole.input[:, :1] * whole.mask > 0.2) & (whole.input[:, :1] < 0.8)

    def left(crossings: int) -> float:
        draws = [found(leaky, whole.without_target(), n, diffusion=False, crossings=crossings)[:, :1] for n in range(4)]
        return float(torch.stack(draws).var(dim=0)[inside].mean())

    ratio = float(SCHEDULE.ratio(torch.tensor(400)))
    assert left(1) == pytest.approx((0.1 * ratio / 2) ** 2, rel=0.1)
    assert left(4) == pytest.approx(left(1) / 4, rel=0.1)


def test_algorithm_1_as_printed_takes_noise_off_by_eq_11_everywhere() -> None:
    """Step 3 too: with a perfect bridge and a prior that answers v = 0, every number can be worked out by hand."""
    whole = batch_of("lf2hf", size=24)
    pair, seed = Pair.of(whole), 3
    change = torch.nn.functional.pad(SCHEDULE.shares[400].sqrt().float() * (pair.high - pair.low), (0, 8) * 3)
    bridge = Told(lambda images, told: change)
    nets = {"bridge": bridge, "prior": Told(lambda images, told: torch.zeros_like(images[:, :3]))}
    result = found(nets, whole.without_target(), seed, sampler="alg1_literal", steps=1, j=1, predicts="velocity")

    drawn = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=torch.Generator().manual_seed(seed))))
    first, second = (torch.randn(pair.low.shape, generator=drawn) for _ in range(2))

    def less(state: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        a = [float(SCHEDULE.shares[level]) for level in (399, 400)]
        alpha = a[1] / a[0]
        return (state - (1 - alpha) / (1 - a[1]) ** 0.5 * noise) / alpha**0.5

    signal, spread = float(SCHEDULE.shares[400]) ** 0.5, (1 - float(SCHEDULE.shares[400])) ** 0.5
    image = less(signal * pair.high + spread * first, first)
    state = signal * image + spread * second
    image = less(state, spread * state)  # v = 0: the noise in the state is √(1−ᾱ) of it
    wanted = (image.clamp(-CLIP, CLIP) + 1) / 2
    inside = whole.mask.expand_as(result)
    torch.testing.assert_close(result[inside], wanted[inside], atol=1e-4, rtol=0)


def test_windows_may_be_diffused_each_by_itself(nets: Any) -> None:
    """As published. With one window there is nothing to tell apart; with several another image, the same each time."""
    whole = batch_of("lf2hf", size=32).without_target()

    def image(windows: str, window: int, **changes: Any) -> torch.Tensor:
        return found(nets, whole, windows=windows, window=window, **changes)

    torch.testing.assert_close(image("per_window", 32), image("per_step", 32), atol=1e-5, rtol=0)
    alone = image("per_window", 16)
    assert float((alone - image("per_step", 16)).abs().max()) > 1e-3
    torch.testing.assert_close(image("per_window", 16, window_batch=4), alone, atol=1e-5, rtol=0)


def test_a_bridge_need_not_be_told_the_level(batch: Any) -> None:
    deaf, told = (build(replace(SMALL, bridge_time=told))["bridge"].eval() for told in (False, True))
    for net in (deaf, told):
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter) if parameter.ndim else torch.nn.init.ones_(parameter)
    images = torch.randn(2, 6, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    low, high = torch.full((2,), -1.0), torch.full((2,), 1.0)
    with torch.no_grad():
        torch.testing.assert_close(deaf(images, low), deaf(images, high), atol=0, rtol=0)
        assert float((told(images, low) - told(images, high)).abs().max()) > 1e-3


def test_no_steps_are_all_levels() -> None:
    whole = batch_of("lf2hf", size=24).without_target()
    nets = {"prior": Told(lambda images, told: torch.zeros_like(images[:, :3]))}
    every, named = (found(nets, whole, 0, bridge=False, k=110, steps=steps) for steps in (0, 110))
    torch.testing.assert_close(every, named, atol=0, rtol=0)
    assert evaluations(replace(SMALL, bridge=False, k=110, steps=0)) == 110


def test_no_crossing_at_all_is_refused(session: Volume, weights: Path) -> None:
    with pytest.raises(InputError, match="--bridge-crossings of at least 1, found 0"):
        run(session, weights, crossings=0)


@pytest.mark.parametrize("sampler", ["conditional", "unconditional_ddim", "alg1_tweedie", "repaint"])
def test_a_prior_that_knows_the_image_draws_it(sampler: Any, batch: Any) -> None:
    """v = (√ᾱ u − x)/√(1−ᾱ), the level told by loudness alone; Algorithm 1 by its Eq. 11 does not find it."""
    whole = batch_of("lf2hf", size=24)
    high = torch.nn.functional.pad(Pair.of(whole).high, (0, 8) * 3, value=BACKGROUND)

    def answer(images: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        ratio = (4 * told.double()).exp().float()[:, None, None, None, None]
        signal = 1 / (1 + ratio**2).sqrt()
        return (signal * images[:, :3] - high) / (signal * ratio)

    changes = {"predicts": "velocity", "bridge": False}
    result = found({"prior": Told(answer)}, batch, sampler=sampler, **changes)
    target = whole.target * whole.mask
    torch.testing.assert_close(result[target < 1], target[target < 1], atol=1e-3, rtol=0)
    literal = found({"prior": Told(answer)}, batch, sampler="alg1_literal", **changes)
    assert (literal - target)[target < 1].square().mean() > 1e-3


CHANGED: Mapping[str, Mapping[str, Any]] = {
    "sampler unconditional": {"sampler": "unconditional_ddim"},
    "sampler Tweedie": {"sampler": "alg1_tweedie"},
    "sampler literal": {"sampler": "alg1_literal"},
    "sampler RePaint": {"sampler": "repaint"},
    "k": {"k": 200},
    "start": {"start": 100},
    "steps": {"steps": 5},
    "no bridge": {"bridge": False},
    "no diffusion": {"diffusion": False},
}


@pytest.fixture(scope="module")
def usual(nets: Any, batch: Any) -> torch.Tensor:
    return found(nets, batch)


@pytest.mark.parametrize("name", CHANGED)
def test_every_option_has_an_effect(name: str, nets: Any, batch: Any, usual: torch.Tensor) -> None:
    assert (found(nets, batch, **CHANGED[name]) - usual).abs().max() > 1e-4


@pytest.mark.parametrize("sampler", ["alg1_tweedie", "alg1_literal", "repaint"])
def test_repeats_have_an_effect(sampler: Any, nets: Any, batch: Any) -> None:
    one, two = (found(nets, batch, sampler=sampler, j=j) for j in (1, 2))
    assert (one - two).abs().max() > 1e-4


def test_windows_and_their_overlap_have_an_effect_and_how_many_at_once_has_none() -> None:
    """Neighbouring windows see one noise; 1e-5, methods.md §9 row 17. The field is wider than a window."""
    settings = {"patch": 16, "patch_z": 16, "window": 0, "steps": 2}
    nets = {name: net.eval() for name, net in untrained(TRAINABLE, SMALL).items()}
    batch = batch_of("lf2hf", size=24).without_target()
    one = found(nets, batch, **settings)
    for many in (3, 8):
        torch.testing.assert_close(found(nets, batch, window_batch=many, **settings), one, atol=1e-5, rtol=0)
    assert (found(nets, batch, overlap=0.75, **settings) - one).abs().max() > 1e-5
    assert (found(nets, batch, **settings | {"window": 32}) - one).abs().max() > 1e-5
    assert torch.equal(found(nets, batch, **settings | {"window": 16, "patch": 32, "patch_z": 32}), one)


def test_same_seed_same_bytes_and_another_seed_another_image(nets: Any, batch: Any, usual: torch.Tensor) -> None:
    assert torch.equal(found(nets, batch), usual)
    assert (found(nets, batch, seed=1) - usual).abs().max() > 1e-3


def test_a_missing_contrast_is_neither_used_nor_made(nets: Any) -> None:
    short = batch_of("lf2hf", size=24, missing=("T2w",)).without_target()
    result = found(nets, short)
    assert not result[:, 1].any()
    assert result[:, 0].any()
    other = replace(short, input=short.input.clone())
    other.input[:, 1] = 7.0
    assert torch.equal(found(nets, other), result)


def test_before_its_training_the_prior_has_no_say(batch: Any) -> None:
    torch.manual_seed(0)
    fresh = build(SMALL)
    assert torch.equal(found(fresh, batch), found(fresh, batch, diffusion=False))


def test_nothing_stands_beyond_the_brain(nets: Any, batch: Any, usual: torch.Tensor) -> None:
    field = Field(nets, batch.input, batch.mask.expand(-1, 3, -1, -1, -1), batch.present, SMALL)
    with torch.no_grad():
        image = field.over_the_bridge(torch.Generator().manual_seed(0))
    assert (image[~field.inside] == BACKGROUND).all()
    assert not usual[~field.inside].any()


def test_the_record_says_what_was_done(session: Volume, weights: Path) -> None:
    record = run(session, weights).provenance["records"][0]
    assert (record["stage"], record["nfe"]) == ("diffusion", 3)
    assert len(record["weights_sha256"]) == 64
    record = run(session, weights, diffusion=False).provenance["records"][0]
    assert (record["stage"], record["nfe"]) == ("bridge", 1)
    printed = BridgeSettings(sampler="alg1_tweedie", steps=400)
    assert evaluations(printed) == 1201


def test_draws_differ_and_their_number_is_the_methods(session: Volume, weights: Path) -> None:
    result = run(session, weights, draws=2)
    assert result.std is not None
    assert result.std[:2][:, session.brain].mean() > 0


def test_networks_that_answer_no_number_are_an_error(session: Volume, tmp_path: Path) -> None:
    nets = untrained(TRAINABLE, SMALL)
    with torch.no_grad():
        nets["prior"].gain.fill_(float("nan"))  # type: ignore[operator,union-attr]
    recipe = {"method": "bridge", "contrasts": CONTRASTS, "settings": asdict(SMALL)}
    with pytest.raises(MethodError, match="not numbers"):
        run(session, save_weights(tmp_path, nets, recipe, ""))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bridge": False, "diffusion": False}, "leave one"),
        ({"k": 50}, "from 100 to 500"),
        ({"start": 600}, "from 0 to 500"),
        ({"j": 0}, "at least 1"),
        ({"steps": 401}, "steps from 1 to 400"),
        ({"k": 110, "steps": 111}, "steps from 1 to 110"),
        ({"overlap": 1.0}, "overlap from 0 to below 1"),
        ({"window_batch": 0}, "at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    changes: dict[str, Any], message: str, session: Volume, weights: Path
) -> None:
    with pytest.raises(InputError, match=message):
        run(session, weights, **changes)


def test_what_is_left_open_is_as_in_the_training(session: Volume, nets: Any, tmp_path: Path) -> None:
    """Level and window; where the training left the level open too, it is the paper's."""
    assert SMALL.crossing == 400
    recipe = {"method": "bridge", "contrasts": CONTRASTS, "settings": asdict(replace(SMALL, k=150, window=64))}
    folder = save_weights(tmp_path, nets, recipe, "")
    for asked, got in (({}, (150, 64)), ({"k": 300, "window": 32}, (300, 32))):
        used = prepare(session, BridgeSettings(weights=str(folder), **asked)).settings
        assert (used.crossing, used.window) == got


@pytest.mark.parametrize(
    ("theirs", "asked", "mean"), [("mean", "auto", True), ("mean", "sample", False), ("auto", "auto", False)]
)
def test_mode_mean_is_the_bridges_image(
    theirs: Any, asked: Any, mean: bool, session: Volume, nets: Any, tmp_path: Path
) -> None:
    recipe = {"method": "bridge", "contrasts": CONTRASTS, "settings": asdict(replace(SMALL, mode=theirs))}
    folder = save_weights(tmp_path, nets, recipe, "")
    image, bridge = run(session, folder, mode=asked), run(session, folder, diffusion=False)
    assert np.array_equal(image.image, bridge.image) == mean
    record = image.provenance["records"][0]
    assert (record["stage"], record["nfe"]) == (("bridge", 1) if mean else ("diffusion", 3))


def test_a_prior_that_was_never_shown_anything_is_not_shown_anything() -> None:
    with pytest.raises(InputError, match="condition-drop below 1"):
        build(replace(SMALL, condition_drop=1.0))


@pytest.mark.parametrize(("part", "other"), [("bridge", "diffusion"), ("diffusion", "bridge")])
def test_weights_of_one_part_alone(part: str, other: str, session: Volume, tmp_path: Path) -> None:
    settings = replace(SMALL, **{other: False})
    recipe = {"method": "bridge", "contrasts": CONTRASTS, "settings": asdict(settings)}
    folder = save_weights(tmp_path, untrained(TRAINABLE, settings), recipe, "")
    ready = prepare(session, BridgeSettings(weights=str(folder)))
    assert (ready.settings.bridge, ready.settings.diffusion) == (part == "bridge", part == "diffusion")
    assert run(session, folder).image.any()
    with pytest.raises(InputError, match="found it off"):
        run(session, folder, **{part: False})


def test_a_short_training_lowers_the_losses_and_the_distance() -> None:
    """One pair by heart, in a few seconds: first the bridge, then the prior that is shown its image."""
    settings = replace(SMALL, condition_drop=0.0, steps=2, folds=0)
    batch = batch_of("lf2hf", size=16)
    torch.manual_seed(0)
    nets = build(settings)
    inside = batch.mask.expand_as(batch.target)

    def distance() -> float:
        for net in nets.values():
            net.eval()
        result = predict(nets, batch.without_target(), settings, torch.Generator().manual_seed(0))
        for net in nets.values():
            net.train()
        return float((result - batch.target)[inside].square().mean())

    before = distance()
    only = replace(settings, diffusion=False, identity=0)
    losses = fit(TRAINABLE, only, nets, [batch], steps=50, rate=3e-2)
    assert np.mean(losses[-10:]) < np.mean(losses[:5]) / 2
    bridged = distance()
    assert bridged < before / 1.5
    losses = fit(TRAINABLE, settings, nets, [batch], steps=50, rate=3e-2)
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) / 1.3
    assert distance() < bridged
    assert [stage.name for stage in stages(settings)] == ["bridge", "prior"]
