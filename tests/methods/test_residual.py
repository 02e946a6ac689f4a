"""What ``cfm``, ``bridge`` and ``cssdiff`` promise alike: the estimate is the image, and the draws are around it."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.errors import InputError
from bids_lfenhance.imaging.volume import Volume
from bids_lfenhance.methods import flow, get_method, residual
from bids_lfenhance.methods.bridge.inference import SAMPLER as BRIDGE
from bids_lfenhance.methods.bridge.inference import initial_state
from bids_lfenhance.methods.bridge.settings import BridgeSettings
from bids_lfenhance.methods.cfm.inference import SAMPLER
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.methods.residual import ResidualPrepared
from bids_lfenhance.nn.memory import GIB
from bids_lfenhance.nn.method import Draw, Enhanced
from bids_lfenhance.nn.residual import radial_power
from bids_lfenhance.nn.weights import load_weights

from .generative import small_weights
from .phantoms import small_session, thick_session

NAMES = ("cfm", "bridge", "cssdiff")
SPECTRUM = (24.0, 24.0, 9.5, 5.9, 3.0, 1.4, 0.8, 0.4, 0.24, 0.2, 0.1)

every_method = pytest.mark.parametrize("name", NAMES)
every_network = pytest.mark.parametrize("name", ["cfm", "cssdiff"])
"""``bridge`` has the networks of ``cfm``, and the rest of the code is one for all: these say it of both networks."""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def session() -> Volume:
    return small_session(np.random.default_rng(7), 20)


@pytest.fixture(scope="module")
def all_weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    flow = small_weights(tmp_path_factory.mktemp("flow"), spectrum=SPECTRUM)
    return {"cfm": flow, "bridge": flow, "cssdiff": small_weights(tmp_path_factory.mktemp("slices"), kind="cssdiff")}


@pytest.fixture
def weights(name: str, all_weights: dict[str, dict[str, str]]) -> dict[str, str]:
    """Of the method under test."""
    return all_weights[name]


def run(name: str, volume: Volume, weights: dict[str, str], draws: int = 1, seed: int = 3, **asked: Any) -> Enhanced:
    method = get_method(name)
    sampling = method.about.sampling(**weights, **{"steps": 2, "precision": "fp32", **asked})
    return enhance(volume, method, sampling, np.random.default_rng(seed), draws)


@pytest.fixture(scope="module")
def kept() -> dict[str, Enhanced]:
    """What was made with plain options, by method."""
    return {}


@pytest.fixture
def plain(name: str, session: Volume, weights: dict[str, str], kept: dict[str, Enhanced]) -> Enhanced:
    """One draw by plain options."""
    if name not in kept:
        kept[name] = run(name, session, weights)
    return kept[name]


@pytest.fixture
def estimate(session: Volume, weights: dict[str, str], kept: dict[str, Enhanced]) -> Enhanced:
    """What the method of the estimate makes alone."""
    key, method = weights["estimate"], get_method("fusionnet")
    if key not in kept:
        sampling = method.about.sampling(weights=key, precision="fp32")
        kept[key] = enhance(session, method, sampling, np.random.default_rng(0), 1)
    return kept[key]


@every_method
def test_the_image_and_its_error_are_the_estimates_to_the_byte(
    name: str, session: Volume, weights: dict[str, str], plain: Enhanced, estimate: Enhanced
) -> None:
    for found in (plain, run(name, session, weights, 2)):
        assert found.image.tobytes() == estimate.image.tobytes()
        assert found.std is not None
        assert estimate.std is not None
        np.testing.assert_allclose(found.std, estimate.std, rtol=1e-6)
        assert {record["image"] for record in found.provenance["records"]} == {"estimate"}


@every_network
def test_a_draw_is_carried_to_the_contrast_of_the_image(name: str, session: Volume, weights: dict[str, str]) -> None:
    """As the image is: the order of intensities of the sample is that of the sample in the scan's contrast."""
    own, high = (run(name, session, weights, target_contrast=asked) for asked in ("own", "high-field"))
    t1w, t2w = (CONTRASTS.index(contrast) for contrast in ("T1w", "T2w"))
    np.testing.assert_array_equal(own.maps["Sample"][t2w], high.maps["Sample"][t2w])
    before, after = (found.maps["Sample"][t1w][session.brain] for found in (own, high))
    assert np.abs(after - before).max() > 0
    assert np.diff(after[np.argsort(before)]).min() >= -1e-5 * after.max()


@pytest.fixture(scope="module")
def thick(all_weights: dict[str, dict[str, str]]) -> ResidualPrepared[Any]:
    """``cfm`` on a session whose scans correct the estimate."""
    session, _ = thick_session(np.random.default_rng(5), ("axi", "cor"))
    method = get_method("cfm")
    asked = method.about.sampling(**all_weights["cfm"], target_contrast="own", precision="fp32")
    prepared: ResidualPrepared[Any] = method.prepare(session, asked)
    assert prepared.estimate.contrasts["T1w"].posterior is not None
    return prepared


def mean_moved(prepared: ResidualPrepared[Any], by: float, keeps_level: bool, spread: float = 1.0) -> float:
    """Mean change in the brain by a constant that is drawn, beside what scans of other noise would say."""

    def drawn(constant: float) -> np.ndarray:
        given = replace(
            SAMPLER, draw=lambda _, one, __: (torch.full_like(one.mean, constant), 1), keeps_level=keeps_level
        )
        wide = replace(prepared, spread={"T1w": spread})
        made, _ = residual.draw_residual(given, wide, np.random.default_rng(0))
        return made[0, prepared.volume.brain]

    return float(np.abs(drawn(by) - drawn(0)).mean())


def test_a_flow_from_white_noise_does_not_move_the_level_that_the_scans_have_set(thick: ResidualPrepared[Any]) -> None:
    assert mean_moved(thick, 1, keeps_level=False) < 0.2 * mean_moved(thick, 1, keeps_level=True)
    assert not SAMPLER.keeps_level
    assert BRIDGE.keeps_level


def test_draws_are_spread_as_the_recipe_of_the_weights_says(
    thick: ResidualPrepared[Any], all_weights: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    plain, wide = (mean_moved(thick, 1, keeps_level=True, spread=factor) for factor in (1.0, 1.5))
    assert wide == pytest.approx(1.5 * plain, rel=0.05)
    weights = tmp_path / "spread"
    shutil.copytree(all_weights["cfm"]["weights"], weights)
    with (weights / "recipe.toml").open("a") as file:
        file.write("[spread]\ncfm = {T1w = 1.5}\n")
    for name, factor in (("cfm", 1.5), ("bridge", 1.0)):
        method = get_method(name)
        asked = method.about.sampling(weights=str(weights), estimate=all_weights["cfm"]["estimate"])
        assert method.prepare(thick.volume, asked).spread == {"T1w": factor, "T2w": 1.0, "FLAIR": 1.0}


@every_method
def test_one_draw_is_the_estimate_plus_its_residual_inside_the_brain(
    name: str, session: Volume, plain: Enhanced
) -> None:
    found = plain
    assert set(found.maps) == {"Sample"}
    change = found.maps["Sample"] - found.image
    for contrast in session.contrasts:
        assert np.abs(change[CONTRASTS.index(contrast)][session.brain]).mean() > 0
    assert not change[:, ~session.brain].any()
    assert not change[CONTRASTS.index("FLAIR")].any()
    assert found.maps["Sample"].min() >= 0


@every_network
def test_samples_are_recentred_and_their_spread_is_told(name: str, session: Volume, weights: dict[str, str]) -> None:
    method = get_method(name)
    kept: list[np.ndarray] = []

    def remembered(prepared: Any, generator: np.random.Generator) -> Draw:
        draw = method.sample(prepared, generator)
        kept.append(draw.residual)
        return draw

    sampling = method.about.sampling(**weights, steps=2, precision="fp32")
    found = enhance(session, replace(method, sample=remembered), sampling, np.random.default_rng(3), 3)
    residuals = np.stack(kept)
    shown = (residuals[0] - residuals.mean(axis=0)) * np.sqrt(3 / 2)
    expected = np.where(shown != 0, np.maximum(found.image + shown, 0), found.image)
    np.testing.assert_allclose(found.maps["Sample"], expected, atol=1e-5)
    np.testing.assert_allclose(found.maps["DrawsStd"], residuals.std(axis=0, ddof=1), atol=1e-5)
    assert found.maps["DrawsStd"][:, session.brain].any()


@every_method
def test_same_seed_same_bytes_another_seed_another_sample(
    name: str, session: Volume, weights: dict[str, str], plain: Enhanced
) -> None:
    first = plain.maps["Sample"]
    again, other = (run(name, session, weights, seed=seed).maps["Sample"] for seed in (3, 4))
    assert first.tobytes() == again.tobytes()
    assert np.abs(first - other).max() > 0


@every_method
def test_the_draw_of_a_contrast_does_not_depend_on_the_others(
    name: str, session: Volume, weights: dict[str, str], plain: Enhanced
) -> None:
    stacks = session.stacks_of("T2w")
    channels = session.image * (np.arange(3) == 1)[:, None, None, None]
    alone = replace(session, image=channels, present=np.arange(3) == 1, stacks=tuple(stacks))
    np.testing.assert_allclose(plain.maps["Sample"][1], run(name, alone, weights).maps["Sample"][1], atol=1e-6)


@every_network
def test_without_a_sample_nothing_is_drawn(
    name: str, session: Volume, weights: dict[str, str], estimate: Enhanced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residual, "draw_residual", lambda *_: pytest.fail("it was drawn"))
    found = run(name, session, weights, sample=False)
    assert found.image.tobytes() == estimate.image.tobytes()
    assert found.maps == {}
    assert found.provenance["records"][0]["nfe"] == len(session.contrasts)
    with pytest.raises(InputError, match="Expected --n-samples 1"):
        run(name, session, weights, draws=2, sample=False)


@every_network
def test_sharpness_adds_a_share_of_the_draw_and_says_so(
    name: str, session: Volume, weights: dict[str, str], plain: Enhanced
) -> None:
    sharp = run(name, session, weights, sharpness=0.5, sample=False)
    assert sharp.maps == {}
    bright = (plain.image > 0) & (plain.maps["Sample"] > 0)
    half = plain.image + 0.5 * (plain.maps["Sample"] - plain.image)
    np.testing.assert_allclose(sharp.image[bright], half[bright], atol=1e-5)
    assert np.abs(sharp.image - plain.image).max() > 0
    assert sharp.provenance["records"][0]["image"] == "estimate plus 0.5 of the draw"
    assert plain.std is not None
    assert sharp.std is not None
    np.testing.assert_allclose(sharp.std, plain.std * 1.25**0.5, rtol=1e-5)
    for value in (-0.1, 1.1):
        with pytest.raises(InputError) as caught:
            get_method(name).about.sampling(sharpness=value)
        assert (caught.value.code, caught.value.fields["key"]) == ("bad-setting", "sharpness")


@every_network
def test_the_maps_that_come_are_those_that_were_announced(name: str, session: Volume, weights: dict[str, str]) -> None:
    method = get_method(name)
    loaded = load_weights(weights["weights"], method.about.weights_name, ())
    assert method.map_metadata is not None
    for draws, sample, sharpness in ((2, True, 0.0), (1, False, 0.3), (1, False, 0.0)):
        sampling = method.about.sampling(**weights, steps=1, sample=sample, sharpness=sharpness)
        found = enhance(session, method, sampling, np.random.default_rng(0), draws)
        assert set(found.maps) == set(method.map_metadata(loaded, sampling, draws))


@every_network
def test_another_estimate_than_the_one_it_was_trained_with_is_refused(
    name: str, session: Volume, weights: dict[str, str]
) -> None:
    with pytest.raises(InputError, match=f"Expected the estimate of {name} with the hash .*with which it was"):
        run(name, session, {**weights, "estimate": "fusionnet"})


@every_network
def test_less_memory_less_at_once_down_to_a_refusal(name: str, session: Volume, weights: dict[str, str]) -> None:
    method, shape = get_method(name), (160, 192, 152)
    at_once, asked = ("slices_at_once", {"slices_at_once": 152}) if name == "cssdiff" else ("window", {})
    large = replace(session, image=np.ones((3, *shape), np.float32), mask=np.ones(shape, bool))
    prepared = method.prepare(large, method.about.sampling(**weights, **asked))
    assert method.fit_to_memory is not None
    sizes: list[int] = []
    refusal = ""
    for limit in [64, *np.geomspace(8, 0.5, 5)]:
        try:
            sizes.append(getattr(method.fit_to_memory(prepared, int(limit * GIB)).settings, at_once))
        except InputError as error:
            refusal = str(error)
            break
    assert "on 160 x 192 x 152 voxels" in refusal
    assert sizes[0] == getattr(prepared.settings, at_once), "what was asked, where there is room"
    rank = [size or 10**9 for size in sizes]
    assert rank == sorted(rank, reverse=True)
    assert len(set(sizes)) > 1


@pytest.mark.parametrize("name", ["cfm", "bridge"])
def test_a_window_larger_than_the_brain_is_counted_whole(
    name: str, session: Volume, weights: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A brain is mirrored up to the window: what memory the window takes is not the brain's."""
    method, needed = get_method(name), []
    monkeypatch.setattr(flow, "choose_size", lambda sizes, need, *_: needed.append(need(sizes[0])) or sizes[0])
    assert method.fit_to_memory is not None
    for window in (32, 96):
        prepared = method.prepare(session, method.about.sampling(**weights, window=window))
        method.fit_to_memory(prepared, 64 * GIB)
    assert needed[1] > 8 * needed[0]


@pytest.mark.parametrize("name", ["cfm"])
def test_windows_are_drawn_from_one_noise(name: str, session: Volume, weights: dict[str, str], plain: Enhanced) -> None:
    """What is drawn through windows is nearly what is drawn at once, as both start from the same noise."""
    found = (plain, run(name, session, weights, window=16))
    drawn = [(one.maps["Sample"] - one.image)[0][session.brain] for one in found]
    assert np.corrcoef(*drawn)[0, 1] > 0.8


# --- the bridge ---------------------------------------------------------------------------------------------------


def test_the_bridge_is_crossed_with_the_residuals_own_power() -> None:
    like, settings = torch.zeros(1, 1, 64, 64, 64), BridgeSettings(spectrum=SPECTRUM)
    assert settings.start_level == 400
    state = initial_state(like, settings, torch.Generator().manual_seed(1))
    found = radial_power(state[0, 0], torch.ones(64, 64, 64, dtype=torch.bool))
    # Oracle: t² S(f) + (1−t)² at t = .575.
    expected = [0.575**2 * power + 0.425**2 for power in SPECTRUM]
    np.testing.assert_allclose(found[2:], expected[2:], rtol=0.05)


def test_without_the_power_white_noise_starts_near_the_top() -> None:
    settings = BridgeSettings()
    assert settings.start_level == 990
    state = initial_state(torch.zeros(1, 1, 32, 32, 32), settings, torch.Generator().manual_seed(1))
    assert float(state.std()) == pytest.approx(1 - 0.0153, rel=0.01)


def test_a_lower_level_needs_the_power(session: Volume, tmp_path: Path) -> None:
    bare = small_weights(tmp_path)
    assert run("bridge", session, bare, k=990).maps
    with pytest.raises(InputError, match="Expected k = 990 with weights that do not store the power"):
        run("bridge", session, bare, k=400)
