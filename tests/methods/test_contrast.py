"""The contrast of high field, given back to what a method made: one step, one option, for every method that has it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.imaging.contrast import POWER, seen_signal, tissue_means
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.signal import HF_TESLA
from bids_lfenhance.imaging.volume import Stack, Volume, volume_from_channels
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.contrast import restore, starting_image, with_contrast
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.nn.method import Draw, Enhanced

from ..oracle import LF_MEANS, phantom_head
from .learned import untrained_weights
from .phantoms import small_session

FAST: dict[str, Any] = {"width": 16, "groups": 1, "blocks": 1, "reduction": 4}
"""Weights with which a test takes seconds."""


@pytest.fixture
def painted(rng: np.random.Generator) -> Volume:
    """A head of 36³ voxels in the low-field contrast of T1w and T2w, at 1 mm, without noise and without stacks."""
    _, affine, tissue = phantom_head(36, rng)
    channels = {name: np.tensordot(LF_MEANS[name], tissue, 1).astype(np.float32) for name in ("T1w", "T2w")}
    return volume_from_channels(Grid(affine, (36, 36, 36)), channels).with_anatomy(tissue.sum(axis=0) > 0.5, tissue)


def contrast_of(volume: Volume, image: np.ndarray, name: str) -> np.ndarray:
    assert volume.tissue is not None
    deep = (volume.tissue > 0.999).any(axis=0)
    means = tissue_means(image[CONTRASTS.index(name)], volume.tissue, deep)
    return means / means[2]


def restored(volume: Volume, *contrasts: str) -> Draw:
    return with_contrast(Draw(volume.image, {"warnings": []}), volume, "restored", contrasts)


@pytest.mark.parametrize("name", ["T1w", "T2w"])
def test_the_contrast_goes_as_far_as_it_is_trusted(painted: Volume, name: str) -> None:
    low = contrast_of(painted, painted.image, name)
    wanted = seen_signal(name, HF_TESLA) / seen_signal(name, HF_TESLA)[2]
    draw = restored(painted, name)
    expected = low * (wanted / low) ** POWER
    np.testing.assert_allclose(contrast_of(painted, draw.image, name), expected, rtol=0.08)
    assert (draw.record["contrast"], draw.record["contrast_power"]) == ("restored", POWER)
    assert draw.record["warnings"] == []
    vector = np.array(draw.record["contrast_vector"][name])
    np.testing.assert_allclose(vector / vector[2], low / wanted, rtol=0.02)


def test_only_what_is_asked_for_is_restored(painted: Volume) -> None:
    draw = restored(painted, "T1w")
    np.testing.assert_array_equal(draw.image[1:], painted.image[1:])
    assert set(draw.record["contrast_vector"]) == {"T1w"}
    kept = with_contrast(Draw(painted.image, {"warnings": []}), painted, "none", ("T1w",))
    np.testing.assert_array_equal(kept.image, painted.image)
    assert kept.record == {"warnings": [], "contrast": "none"}


def test_what_has_high_field_s_contrast_is_not_restored_again(painted: Volume) -> None:
    assert painted.tissue is not None
    high = np.tensordot(seen_signal("T1w", HF_TESLA), painted.tissue, 1).astype(np.float32)
    draw = restored(
        volume_from_channels(painted.grid, {"T1w": high}).with_anatomy(painted.brain, painted.tissue), "T1w"
    )
    np.testing.assert_allclose(draw.image[0], high, atol=0.01)


def test_without_anatomy_nothing_changes_and_it_is_said(painted: Volume) -> None:
    bare = volume_from_channels(painted.grid, {"T1w": painted.image[0]})
    draw = restored(bare, "T1w")
    np.testing.assert_array_equal(draw.image, bare.image)
    assert draw.record["contrast"] == "none"
    assert draw.record["warnings"] == [
        "the low-field contrast was kept: the session came without brain mask and tissue"
    ]


def test_tissues_in_the_wrong_order_are_left_alone_and_said(painted: Volume) -> None:
    assert painted.tissue is not None
    wrong = volume_from_channels(painted.grid, {"T1w": painted.channel("T2w")})
    wrong = wrong.with_anatomy(painted.brain, painted.tissue)
    draw = restored(wrong, "T1w")
    np.testing.assert_array_equal(draw.image, wrong.image)
    assert "T1w keeps its low-field contrast" in draw.record["warnings"][0]


def run(painted: Volume, folder: Path, **changes: Any) -> Enhanced:
    """One draw of weights that change nothing and ask for high field's contrast."""
    method = get_method("pfsr")
    weights = untrained_weights(method.name, folder, ("T1w",), contrast="restored", strength=1e-9, **FAST)
    settings = method.about.sampling(weights=str(weights), **changes)
    return enhance(painted, method, settings, np.random.default_rng(0), 1)


def test_pfsr_ends_with_the_same_step(painted: Volume, tmp_path: Path) -> None:
    """Weights of T1w alone: T2w is left as it is, its contrast too."""
    found = run(painted, tmp_path)
    np.testing.assert_allclose(found.image, restored(painted, "T1w").image, atol=1e-5)
    assert found.provenance["records"][0]["contrast"] == "restored"


def test_the_contrast_can_be_declined(painted: Volume, tmp_path: Path) -> None:
    found = run(painted, tmp_path, contrast="none", noise=0.0)
    np.testing.assert_allclose(found.image, painted.image, atol=1e-5)
    assert found.provenance["records"][0]["contrast"] == "none"


def test_interp_stays_the_baseline_unless_it_is_asked(painted: Volume) -> None:
    method = get_method("interp")
    plain, asked = (
        enhance(painted, method, method.about.sampling(**changes), np.random.default_rng(0))
        for changes in ({}, {"contrast": "restored"})
    )
    np.testing.assert_array_equal(plain.image, painted.image)
    assert contrast_of(painted, asked.image, "T1w")[1] < contrast_of(painted, plain.image, "T1w")[1] - 0.05


def test_pfsr_can_start_from_it(painted: Volume, tmp_path: Path) -> None:
    """Weights of T1w alone: T2w keeps its contrast, as the warning says."""
    method = get_method("pfsr")
    weights = untrained_weights(method.name, tmp_path, ("T1w",), fusion="restored", strength=1e-9, **FAST)
    found = enhance(
        painted, method, method.about.sampling(weights=str(weights), noise=0.0), np.random.default_rng(0), 1
    )
    np.testing.assert_allclose(found.image, restored(painted, "T1w").image, atol=1e-5)
    record = found.provenance["records"][0]
    assert (record["contrast"], record["input"]["contrast"], record["input"]["fusion"]) == (
        "none",
        "restored",
        "restored",
    )
    assert set(record["input"]["contrast_vector"]) == {"T1w"}
    assert any(text.startswith("T2w was not enhanced") for text in found.provenance["warnings"])


def test_outside_the_mask_a_draw_is_the_smooth_image_of_its_own_noise(
    painted: Volume, tmp_path: Path, rng: np.random.Generator
) -> None:
    """What smoothing has left of a magnitude is not below zero."""
    method = get_method("pfsr")
    weights = untrained_weights(method.name, tmp_path, ("T1w",), fusion="sharp", strength=1e-9, **FAST)
    sampling = method.about.sampling(weights=str(weights), noise=1.0)
    noise = 0.1 * float(painted.image[0].max())
    data = np.abs(painted.image[0] + rng.normal(0, noise, painted.grid.shape)).astype(np.float32)
    affine = painted.grid.affine
    stack = Stack("acq-iso_T1w", "T1w", data, affine, affine, (1.0, 1.0, 1.0), noise)
    noisy = replace(painted, stacks=(stack,), image=np.stack([data, *painted.image[1:]]))
    found = enhance(noisy, method, sampling, np.random.default_rng(0), 1)
    assert noisy.mask is not None
    assert (found.image[0][~noisy.mask] >= 0).all()


def test_the_scan_s_own_contrast_can_be_kept(painted: Volume, tmp_path: Path) -> None:
    """All that such weights change is contrast; declined, nothing is left of it."""
    method = get_method("pfsr")
    weights = untrained_weights(method.name, tmp_path, ("T1w",), fusion="restored", strength=1e-9, **FAST)
    more: dict[str, Any] = {"noise": 0.0, "contrast": "none"}
    found = enhance(painted, method, method.about.sampling(weights=str(weights), **more), np.random.default_rng(0), 1)
    np.testing.assert_allclose(found.image, painted.image, atol=1e-5)
    record = found.provenance["records"][0]
    assert (record["contrast"], record["input"]["contrast"]) == ("own", "restored")


def test_the_network_s_change_stays_in_the_scan_s_own_contrast(painted: Volume) -> None:
    seen = starting_image(painted, "restored", ("T1w",))
    change = 1 + 0.1 * np.random.default_rng(0).random(painted.image.shape, np.float32)
    own = restore(Draw(seen.volume.image * change, {}), painted, "none", seen)
    np.testing.assert_allclose(own.image, painted.image * change, atol=1e-5)
    left = restore(Draw(seen.volume.image * change, {}), painted, "auto", seen)
    np.testing.assert_array_equal(left.image, seen.volume.image * change)


def test_a_noisy_image_is_shown_and_the_calm_one_makes_up_the_rest(rng: np.random.Generator) -> None:
    """T2w, which the network does not know, stays calm, in its own contrast."""
    volume = small_session(rng)
    seen, calm = (starting_image(volume, how, ("T1w",)) for how in ("sharp", "restored"))
    assert seen.smooth is not None
    np.testing.assert_allclose(seen.smooth, calm.volume.image, atol=1e-6)
    np.testing.assert_allclose(seen.volume.image[1], calm.volume.image[1], atol=1e-6)
    inner = ndimage.binary_erosion(volume.brain, iterations=2)
    rough = [float(ndimage.laplace(image[0])[inner].std()) for image in (seen.volume.image, seen.smooth)]
    assert rough[0] > 1.2 * rough[1]
    answer = seen.volume.image + np.array([0.1, 0, 0], np.float32)[:, None, None, None] * volume.brain
    for strength in (0.0, 0.25, 1.0):
        # As the samplers leave it: that share of the way from what was shown to the answer, nothing beyond the brain.
        made = seen.volume.image + strength * (answer - seen.volume.image)
        image = restore(Draw(made, {"strength": strength}), volume, "auto", seen).image
        expected = seen.smooth + strength * (answer - seen.smooth) * volume.brain
        np.testing.assert_allclose(image, expected, atol=1e-5)
    nothing = Draw(seen.volume.image, {"strength": 0.0})
    np.testing.assert_allclose(restore(nothing, volume, "none", seen).image, seen.native, atol=1e-5)


def test_pfsr_can_be_shown_a_noisy_image(rng: np.random.Generator, tmp_path: Path) -> None:
    """Of which nothing is left where nothing of the network's change is applied."""
    volume, method = small_session(rng, contrasts=("T1w",)), get_method("pfsr")
    weights = untrained_weights(method.name, tmp_path, ("T1w",), fusion="sharp", strength=1e-9, **FAST)
    found = enhance(volume, method, method.about.sampling(weights=str(weights), noise=0.0), np.random.default_rng(0), 1)
    np.testing.assert_allclose(found.image, starting_image(volume, "restored", ("T1w",)).volume.image, atol=1e-5)
    assert found.provenance["records"][0]["input"]["fusion"] == "sharp"


def test_what_goes_wrong_at_the_start_is_said_at_the_end(painted: Volume, tmp_path: Path) -> None:
    bare = volume_from_channels(painted.grid, {"T1w": painted.image[0]})
    method = get_method("pfsr")
    weights = untrained_weights(method.name, tmp_path, ("T1w",), fusion="restored", strength=1e-9, **FAST)
    found = enhance(bare, method, method.about.sampling(weights=str(weights)), np.random.default_rng(0), 1)
    np.testing.assert_allclose(found.image, bare.image, atol=1e-5)
    assert (
        "the low-field contrast was kept: the session came without brain mask and tissue"
        in (found.provenance["warnings"])
    )
