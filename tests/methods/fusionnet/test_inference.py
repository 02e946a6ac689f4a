"""``fusionnet`` on sessions: units, target contrast, error scale, what is absent."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.imaging import consistency
from bids_lfenhance.imaging.contrast import seen_signal
from bids_lfenhance.imaging.fusion import fuse_session
from bids_lfenhance.imaging.morphology import dilate
from bids_lfenhance.imaging.signal import HF_TESLA
from bids_lfenhance.imaging.volume import Volume
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.methods.estimate import REACH_MM, SR_PER_SLOT, estimate_session, learned_weight
from bids_lfenhance.methods.fusionnet.network import build
from bids_lfenhance.methods.fusionnet.settings import FusionNetSettings
from bids_lfenhance.nn.method import Enhanced
from bids_lfenhance.nn.weights import save_weights
from tests.refusals import refused

from ..phantoms import small_session

AWAY = np.pad(np.full((3, 1), 1e4), ((0, 1), (3, 0)))
"""Added to an affine: ten metres away."""

LOG_SCALE = -3.0
"""What an untrained network says of its error."""

SMALL = FusionNetSettings(width=8, levels=2, error_factor=0.5)


@pytest.fixture(scope="module")
def session() -> Volume:
    return small_session(np.random.default_rng(7))


def saved(folder: Path, moved: float, contrasts: tuple[str, ...] = ("T1w", "T2w"), bright: float = 0.0) -> Path:
    torch.manual_seed(0)
    nets = build(SMALL)
    with torch.no_grad():
        for parameter in nets["estimate"].parameters():
            parameter.add_(moved * torch.randn(parameter.shape))
        nets["estimate"].last.bias += torch.tensor([bright, LOG_SCALE])
    settings = {"width": 8, "levels": 2, "error_factor": 0.5}
    return save_weights(folder, nets, {"method": "fusionnet", "contrasts": contrasts, "settings": settings}, "drawn")


def run(volume: Volume, weights: Path, **asked: str) -> Enhanced:
    method = get_method("fusionnet")
    return enhance(volume, method, method.about.sampling(weights=str(weights), **asked), np.random.default_rng(0))


def test_a_network_that_changes_nothing_gives_the_mean_of_the_slots_and_its_scale(
    session: Volume, tmp_path: Path
) -> None:
    result = run(session, saved(tmp_path, 0.0), target_contrast="own")
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
    plain = {how: run(session, weights, target_contrast=how).std for how in ("auto", "learned")}
    with (weights / "recipe.toml").open("a") as file:
        file.write("[calibration]\nT1w = 3.0\n")
    for how, factor in (("auto", 3.0), ("learned", 1.0)):
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
    for how in ("own", "learned"):
        corrected = run(session, weights, target_contrast=how)
        with monkeypatch.context() as patch:
            patch.setattr(consistency, "posterior_of_error", lambda *_: None)
            both[how] = (corrected.image[0], run(session, weights, target_contrast=how).image[0])
    assert np.abs(both["own"][0] - both["own"][1]).max() > 0
    np.testing.assert_array_equal(*both["learned"])


def test_beyond_the_brain_and_its_surroundings_lies_the_super_resolution(session: Volume, tmp_path: Path) -> None:
    result = run(session, saved(tmp_path, 0.05), target_contrast="own")
    assert session.mask is not None
    outside = ~dilate(session.mask, REACH_MM, session.grid.zooms)
    np.testing.assert_allclose(result.image[:, outside], fuse_session(session, "sr")[:, outside], rtol=1e-5, atol=1e-6)


def test_a_network_that_is_too_bright_leaves_no_ring_around_the_brain(
    session: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session.mask is not None
    monkeypatch.setattr(consistency, "posterior_of_error", lambda *_: None)
    monkeypatch.setattr(consistency, "shading", lambda estimate, *_: np.ones_like(estimate))
    bright, plain = (
        run(session, saved(tmp_path / str(more), 0.0, bright=more), target_contrast="own").image[0]
        for more in (0.3, 0.0)
    )
    added = bright - plain
    depth = distance_transform_edt(session.mask) - distance_transform_edt(~session.mask)
    shells = [np.median(added[(depth > low) & (depth <= low + 1)]) for low in (2, 1, 0, -2, -3)]
    assert all(np.diff(shells) < 0)
    assert shells[-1] < 0.3 * shells[0]


def test_the_network_counts_less_with_every_further_slot_and_alone_where_there_is_one_or_none() -> None:
    covered = np.zeros((4, 12, 12, 12), bool)
    covered[0, 4:], covered[1:3, 8:] = True, True
    weight = learned_weight(covered, np.ones((12, 12, 12), bool), 1.0, (1, 1, 1))
    assert weight[:8] == pytest.approx(1)
    assert weight[8:] == pytest.approx(1 / 3)


@pytest.mark.parametrize("zoom", [1.0, 2.0])
def test_the_network_fades_over_the_border_but_not_at_the_end_of_the_grid(zoom: float) -> None:
    mask = np.zeros((20, 20, 20), bool)
    mask[:10] = True
    line = learned_weight(mask[None], mask, 0.5, (zoom, zoom, zoom))[:, 10, 10]
    assert line[:8] == pytest.approx(1)
    assert all(np.diff(line[7:13]) <= 0)
    assert sum((line > 0) & (line < 1)) >= 2
    assert not line[12:].any()


def test_the_estimate_is_averaged_with_the_super_resolution_by_the_weight_of_its_contrast(
    session: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shift of the network's output arrives in the image by its weight, in the units of the scan."""
    monkeypatch.setattr(consistency, "posterior_of_error", lambda *_: None)
    monkeypatch.setattr(consistency, "shading", lambda estimate, *_: np.ones_like(estimate))
    louder = replace(
        session,
        image=200 * session.image,
        stacks=tuple(replace(one, data=200 * one.data, sigma=200 * one.sigma) for one in session.stacks),
    )
    assert session.mask is not None
    deep = distance_transform_edt(session.mask) > 3
    results = [run(louder, saved(tmp_path / str(more), 0.0, bright=more), target_contrast="own") for more in (0.3, 0.0)]
    for name in ("T1w", "T2w"):
        record = results[0].provenance["records"][0]["contrasts"][name]
        bright, plain = (one.image[CONTRASTS.index(name)][deep] for one in results)
        expected = 0.3 * record["unit"] / (1 + SR_PER_SLOT[name] * (len(record["slots"]) - 1))
        assert np.median(bright - plain) == pytest.approx(expected, rel=1e-3)


def test_the_stacks_correct_the_estimate_as_far_as_it_reaches(session: Volume, tmp_path: Path) -> None:
    method = get_method("fusionnet")
    prepared = method.prepare(session, method.about.sampling(weights=str(saved(tmp_path, 0.05))))
    found = estimate_session(session, prepared.network, ("T1w",), "own", "cpu")
    one = found.contrasts["T1w"]
    assert one.posterior is not None
    rim = found.region & ~found.crop.mask
    assert np.abs(one.posterior.mean[found.crop.box][rim]).max() > 0
    rms = float(np.sqrt(np.square(one.correction[0, 0].numpy()[found.region]).mean()))
    assert one.record()["correction_rms"] == pytest.approx(rms * one.slots.unit, rel=0.02)
    assert not one.correction[0, 0].numpy()[~found.region].any()


def test_permuting_stacks_changes_no_byte(session: Volume, tmp_path: Path) -> None:
    weights = saved(tmp_path, 0.05)
    turned = replace(session, stacks=session.stacks[::-1])
    assert run(session, weights).image.tobytes() == run(turned, weights).image.tobytes()


def test_a_contrast_that_is_none_of_the_choices_is_refused() -> None:
    with refused("bad-setting", key="target_contrast"):
        get_method("fusionnet").about.sampling(target_contrast="high")


def test_what_was_learned_reaches_the_network_for_t1w_alone(session: Volume, tmp_path: Path) -> None:
    weights = saved(tmp_path, 0.05)
    learned, own = (run(session, weights, target_contrast=asked) for asked in ("learned", "own"))
    assert np.abs(learned.image[0] - own.image[0]).max() > 0
    np.testing.assert_array_equal(learned.image[1], own.image[1])


def ratio(image: np.ndarray, session: Volume) -> float:
    """CSF over white matter, in the core of both."""
    assert session.tissue is not None
    csf, _, white = (image[part > 0.9].mean() for part in session.tissue)
    return float(csf / white)


def test_t1w_goes_from_the_contrast_of_the_scan_to_that_of_high_field_and_nothing_else_does(
    session: Volume, tmp_path: Path
) -> None:
    weights = saved(tmp_path, 0.0)
    own, half, high = (run(session, weights, target_contrast=asked) for asked in ("own", "auto", "high-field"))
    assert ratio(own.image[0], session) > ratio(half.image[0], session) > ratio(high.image[0], session)
    wanted = seen_signal("T1w", HF_TESLA)
    assert ratio(high.image[0], session) == pytest.approx(wanted[0] / wanted[2], rel=0.15)
    for other in (half, high):
        np.testing.assert_array_equal(own.image[1], other.image[1])
        # The order of two voxels, and so what is brighter than its surroundings, is never turned round.
        order = np.argsort(own.image[0].ravel())
        assert np.diff(other.image[0].ravel()[order]).min() >= 0


def test_the_error_scale_follows_the_curve(session: Volume, tmp_path: Path) -> None:
    """It is multiplied by how far a small change of the image is carried."""
    weights = saved(tmp_path, 0.05)
    own, high = (run(session, weights, target_contrast=asked) for asked in ("own", "high-field"))
    assert own.std is not None
    assert high.std is not None
    inside = own.std[0] > 0
    order = np.argsort(own.image[0][inside])
    x, y = (one.image[0][inside][order].astype(float)[::50] for one in (own, high))
    slope = (high.std[0] / np.where(inside, own.std[0], 1))[inside][order][::50]
    carried = np.cumsum(np.diff(x) * (slope[1:] + slope[:-1]) / 2)
    np.testing.assert_allclose(carried, y[1:] - y[0], atol=0.01 * y.max())


def test_without_tissue_the_contrast_stays_and_that_is_said(session: Volume, tmp_path: Path) -> None:
    weights = saved(tmp_path, 0.05)
    result = run(replace(session, tissue=None), weights)
    np.testing.assert_array_equal(result.image, run(session, weights, target_contrast="own").image)
    assert any("T1w keeps its low-field contrast" in text for text in result.provenance["warnings"])


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
