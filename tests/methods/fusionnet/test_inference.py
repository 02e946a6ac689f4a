"""``fusionnet`` on sessions: units, target contrast, error scale, what is absent."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.imaging import consistency
from bids_lfenhance.imaging.morphology import dilate
from bids_lfenhance.imaging.volume import Volume
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.methods.estimate import REACH_MM, target_of
from bids_lfenhance.methods.fusionnet.network import build
from bids_lfenhance.methods.fusionnet.settings import FusionNetSettings
from bids_lfenhance.nn.method import Enhanced
from bids_lfenhance.nn.weights import save_weights

from ..phantoms import small_session

AWAY = np.pad(np.full((3, 1), 1e4), ((0, 1), (3, 0)))
"""Added to an affine: ten metres away."""

LOG_SCALE = -3.0
"""What an untrained network says of its error."""

SMALL = FusionNetSettings(width=8, levels=2, error_factor=0.5)


@pytest.fixture(scope="module")
def session() -> Volume:
    return small_session(np.random.default_rng(7))


def saved(folder: Path, moved: float, contrasts: tuple[str, ...] = ("T1w", "T2w")) -> Path:
    torch.manual_seed(0)
    nets = build(SMALL)
    with torch.no_grad():
        for parameter in nets["estimate"].parameters():
            parameter.add_(moved * torch.randn(parameter.shape))
        nets["estimate"].last.bias[1] += LOG_SCALE
    settings = {"width": 8, "levels": 2, "error_factor": 0.5}
    return save_weights(folder, nets, {"method": "fusionnet", "contrasts": contrasts, "settings": settings}, "drawn")


def run(volume: Volume, weights: Path, **asked: str) -> Enhanced:
    method = get_method("fusionnet")
    return enhance(volume, method, method.about.sampling(weights=str(weights), **asked), np.random.default_rng(0))


def test_a_network_that_changes_nothing_gives_the_mean_of_the_slots_and_its_scale(
    session: Volume, tmp_path: Path
) -> None:
    result = run(session, saved(tmp_path, 0.0))
    assert session.mask is not None
    assert result.std is not None
    for name in ("T1w", "T2w"):
        here, where = CONTRASTS.index(name), session.mask
        low = session.image[here][where]
        assert np.corrcoef(result.image[here][where], low)[0, 1] > 0.9
        assert result.image[here][where].mean() == pytest.approx(low.mean(), rel=0.1)
        unit = result.provenance["records"][0]["contrasts"][name]["unit"]
        np.testing.assert_allclose(result.std[here][where], 0.5 * np.sqrt(2) * np.exp(LOG_SCALE) * unit, rtol=1e-4)
    assert not result.std[:, ~dilate(session.mask, REACH_MM, session.grid.zooms)].any()


def test_the_scale_is_calibrated_by_contrast_where_the_stacks_correct_the_estimate(
    session: Volume, tmp_path: Path
) -> None:
    weights = saved(tmp_path, 0.05)
    plain = {how: run(session, weights, target_contrast=how).std for how in ("own", "high-field")}
    with (weights / "recipe.toml").open("a") as file:
        file.write("[calibration]\nT1w = 3.0\n")
    for how, factor in (("own", 3.0), ("high-field", 1.0)):
        result = run(session, weights, target_contrast=how)
        assert result.std is not None
        np.testing.assert_allclose(result.std[0], factor * plain[how][0], rtol=1e-5)
        np.testing.assert_array_equal(result.std[1], plain[how][1])
        assert result.provenance["records"][0]["error_factors"]["T1w"] == pytest.approx(factor * 0.5)


def test_what_the_stacks_say_beyond_the_network_is_added_but_not_to_another_contrast(
    session: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = saved(tmp_path, 0.0)
    both = {}
    for how in ("own", "high-field"):
        corrected = run(session, weights, target_contrast=how)
        with monkeypatch.context() as patch:
            patch.setattr(consistency, "correction", lambda image, *_: np.zeros_like(image))
            both[how] = (corrected.image[0], run(session, weights, target_contrast=how).image[0])
    assert np.abs(both["own"][0] - both["own"][1]).max() > 0
    np.testing.assert_array_equal(*both["high-field"])


def test_beyond_the_brain_and_its_surroundings_the_input_stays(session: Volume, tmp_path: Path) -> None:
    result = run(session, saved(tmp_path, 0.05))
    assert session.mask is not None
    outside = ~dilate(session.mask, REACH_MM, session.grid.zooms)
    np.testing.assert_array_equal(result.image[:, outside], session.image[:, outside])


def test_permuting_stacks_changes_no_byte(session: Volume, tmp_path: Path) -> None:
    weights = saved(tmp_path, 0.05)
    turned = replace(session, stacks=session.stacks[::-1])
    assert run(session, weights).image.tobytes() == run(turned, weights).image.tobytes()


def test_the_target_contrast_reaches_the_network_for_t1w_alone(session: Volume, tmp_path: Path) -> None:
    weights = saved(tmp_path, 0.05)
    high, own, auto = (run(session, weights, target_contrast=asked) for asked in ("high-field", "own", "auto"))
    t1w, t2w = CONTRASTS.index("T1w"), CONTRASTS.index("T2w")
    assert np.abs(high.image[t1w] - own.image[t1w]).max() > 0
    np.testing.assert_array_equal(high.image[t2w], own.image[t2w])
    targets = {name: one["target"] for name, one in auto.provenance["records"][0]["contrasts"].items()}
    assert targets == {"T1w": target_of("T1w", "auto"), "T2w": "own"}


def test_a_contrast_that_the_weights_do_not_know_keeps_its_image_and_is_named(session: Volume, tmp_path: Path) -> None:
    result = run(session, saved(tmp_path, 0.05, ("T1w",)))
    t2w = CONTRASTS.index("T2w")
    np.testing.assert_array_equal(result.image[t2w], session.image[t2w])
    assert any("T2w" in text for text in result.provenance["warnings"])


def test_without_stacks_the_image_is_taken_for_an_isotropic_scan(session: Volume, tmp_path: Path) -> None:
    result = run(replace(session, stacks=()), saved(tmp_path, 0.0))
    record = result.provenance["records"][0]["contrasts"]["T1w"]
    assert record["slots"] == ["isotropic"]


def test_where_no_stack_shows_the_brain_nothing_is_made_and_that_is_said(session: Volume, tmp_path: Path) -> None:
    far = tuple(replace(one, affine=one.affine + AWAY) for one in session.stacks)
    result = run(replace(session, stacks=far), saved(tmp_path, 0.05))
    np.testing.assert_array_equal(result.image, session.image)
    assert any("no stack shows" in text for text in result.provenance["warnings"])
