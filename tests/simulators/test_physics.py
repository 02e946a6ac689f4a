"""The simulator: records replay bit for bit; noise has the SNR asked for; curves keep the order of intensities."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from bids_lfenhance.errors import InputError
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.signal import HF_TESLA, contrast_factor, tissue_signal
from bids_lfenhance.simulators.physics import (
    SIMULATOR,
    Degradation,
    PhysicsSettings,
    add_rician,
    apply_contrast,
    apply_curve,
    bias_field,
    degrade,
    draw,
    level_outside,
)
from bids_lfenhance.simulators.presets import PLANES, get_preset, stack_geometry
from tests.oracle import phantom_head
from tests.refusals import refused
from tests.simulators.sources import phantom_source, slab_source

PLAIN = PhysicsSettings(motion_mm=2.0, motion_deg=2.0, snr_jitter=0.0, contrast_jitter=0.0, fwhm_jitter=0.0)


@pytest.fixture(scope="module")
def head() -> tuple[np.ndarray, np.ndarray, Grid]:
    image, affine, tissue = phantom_head(64, np.random.default_rng(3))
    return image, tissue, Grid(affine, image.shape)


def test_a_tissue_that_was_cut_out_is_refused_in_a_sentence():
    source = phantom_source()
    cut = replace(source, image=source.image * (source.tissue[0] < 0.5))
    with pytest.raises(InputError, match=r"Expected CSF, GM, WM all brighter than 0 .* found CSF 0, .*; give the"):
        SIMULATOR.draw(cut, get_preset("T1w", "axi"), PhysicsSettings(), np.random.default_rng(0))


def test_presets_are_the_geometry_of_ds006557(head):
    for contrast, plane, zooms in (
        ("T1w", "axi", (1.6, 1.6, 5)),
        ("T2w", "sag", (1.5, 1.5, 5)),
        ("T1w", "iso", (2.34,) * 3),
    ):
        geometry = stack_geometry(get_preset(contrast, plane), head[2])
        assert geometry.zooms == pytest.approx(zooms)
        assert geometry.corners().mean(axis=0) == pytest.approx(head[2].corners().mean(axis=0))
    thick = {
        plane: np.abs(stack_geometry(get_preset("T1w", plane), head[2]).affine[:3, 2]).argmax() for plane in PLANES
    }
    assert (thick["axi"], thick["cor"]) == (2, 1)
    assert thick["sag"] == 0


def test_a_record_survives_json_and_replays_bit_for_bit(head):
    image, tissue, grid = head
    preset = get_preset("T1w", "sag")
    geometry = stack_geometry(preset, grid)
    record = draw(preset, PLAIN, np.random.default_rng(5))
    replayed = Degradation.of(json.loads(json.dumps(asdict(record))))
    assert replayed == record
    first, again = (degrade(image, tissue, grid, geometry, one) for one in (record, replayed))
    assert np.array_equal(first.data, again.data)
    other = degrade(image, tissue, grid, geometry, draw(preset, PLAIN, np.random.default_rng(6)))
    assert not np.array_equal(first.data, other.data)


def test_degrade_places_the_stack_where_it_was_drawn(head):
    image, tissue, grid = head
    preset = get_preset("T1w", "cor")
    record = draw(preset, PLAIN, np.random.default_rng(8))
    stack = degrade(image, tissue, grid, stack_geometry(preset, grid), record)
    assert stack.lf2hf_xfm == pytest.approx(np.array(record.motion))
    weight = np.maximum(stack.data - 4 * stack.sigma, 0)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in weight.shape), indexing="ij"), axis=-1)
    centre = (
        stack.affine[:3, :3] @ np.average(index.reshape(-1, 3), axis=0, weights=weight.ravel()) + stack.affine[:3, 3]
    )
    low = apply_contrast(image, tissue, np.array(record.factor))
    true = np.array(
        [np.average(np.arange(n), weights=low.sum(axis=tuple({0, 1, 2} - {a}))) for a, n in enumerate(low.shape)]
    )
    assert centre == pytest.approx(true + grid.affine[:3, 3], abs=0.5)


def test_white_matter_snr_is_the_one_asked_for(head):
    image, tissue, grid = head
    preset = get_preset("T1w", "axi")
    geometry = stack_geometry(preset, grid)
    noisy = draw(preset, replace(PLAIN, bias=0.0), np.random.default_rng(1))
    clean = degrade(image, tissue, grid, geometry, Degradation(**vars(noisy) | {"snr": 0.0}))
    stack = degrade(image, tissue, grid, geometry, noisy)
    bright = clean.data > 0.7 * np.percentile(clean.data, 99.9)
    assert (stack.data - clean.data)[bright].std() == pytest.approx(stack.sigma, rel=0.1)
    low = apply_contrast(image, tissue, np.array(noisy.factor))
    assert stack.sigma == pytest.approx(low[tissue[2] > 0.9].mean() / 15, rel=1e-6)


def test_rician_noise_has_its_known_moments(rng):
    empty = add_rician(np.zeros((60, 60, 60)), 2.0, rng)
    assert empty.mean() == pytest.approx(2.0 * np.sqrt(np.pi / 2), rel=0.01)
    bright = add_rician(np.full((60, 60, 60), 100.0), 2.0, rng)
    assert bright.std() == pytest.approx(2.0, rel=0.01)


def test_bias_field_is_flat_without_coefficients_and_smooth_with_them(rng):
    assert np.all(bias_field((5, 6, 7), (0.0,) * 9) == 1)
    field = bias_field((40, 40, 40), tuple(rng.normal(0, 0.1, 9)))
    assert np.log(field).mean() == pytest.approx(0, abs=0.05)
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in range(3)) < 0.1


@pytest.mark.parametrize("asked", [10.0, 15.0])
def test_snr_on_the_acquired_voxels_is_within_two_percent(asked):
    """White matter of thick slabs, ten seeds, without a bias field: mean over standard deviation, as on a scan."""
    source = slab_source()
    settings = PhysicsSettings(0, 0, 0, asked, 0, 0, 0)
    preset = get_preset("T1w", "axi", "55mT")
    stacks = []
    for seed in range(10):
        record = SIMULATOR.draw(source, preset, settings, np.random.default_rng(seed))
        stacks.append(SIMULATOR.apply(source, stack_geometry(preset, source.grid), record))
    place = np.linalg.inv(stacks[0].affine) @ source.grid.affine
    low, high = sorted(round(place[0, 0] * x + place[0, 3]) for x in (66, 78))
    middle = stacks[0].data.shape[1] // 2
    voxels = np.stack([stack.data[low : high + 1, middle - 20 : middle + 20, 7:13] for stack in stacks])
    assert voxels.mean() / voxels.std() == pytest.approx(asked, rel=0.02)


def test_training_sees_a_spread_of_scanners():
    source, preset = slab_source(), get_preset("T1w", "axi")
    records = [SIMULATOR.draw(source, preset, PhysicsSettings(), np.random.default_rng(n)) for n in range(200)]
    for name, values, spread in (
        ("snr", [r.snr / 15 for r in records], 0.2),
        ("fwhm", [r.fwhm[2] / 5 for r in records], 0.05),
        ("white", [r.factor[2] for r in records], 0.05),
    ):
        assert np.std(np.log(values)) == pytest.approx(spread, rel=0.2), name
    still = SIMULATOR.draw(source, preset, PhysicsSettings(snr=3.0, snr_jitter=0), np.random.default_rng(0))
    assert still.snr == 3


def test_what_is_no_brain_keeps_its_brightness_against_white_matter():
    source = slab_source()
    factor = (1.0, 0.7, 0.4)
    shown = apply_contrast(level_outside(source.image, source.tissue, factor), source.tissue, np.array(factor))
    air, white = source.tissue.sum(axis=0) == 0, source.tissue[2] > 0
    assert shown[air].mean() / shown[white].mean() == pytest.approx(
        source.image[air].mean() / source.image[white].mean()
    )


@pytest.mark.parametrize("contrast", ["T1w", "T2w", "FLAIR"])
def test_a_curve_moves_the_tissue_means_and_never_reorders_intensities(head, contrast):
    _, tissue, _ = head
    means = tissue_signal(contrast, HF_TESLA)
    image = np.tensordot(means, tissue, axes=1).astype(np.float32)
    factor = contrast_factor(contrast, means)
    low = apply_curve(image, tissue, factor)
    assert [low[part > 0.999].mean() for part in tissue] == pytest.approx(means * factor, rel=0.02)
    order = np.argsort(image, axis=None)
    assert np.diff(low.ravel()[order]).min() >= 0
    assert low[image == 0].max() == 0
    # A factor per tissue does reorder them, between grey and white matter: the reason for the curve.
    stepped = apply_contrast(image, tissue, factor).ravel()[order]
    assert contrast != "T1w" or np.diff(stepped).min() < 0


def test_a_curve_is_recorded_and_other_records_keep_their_factors(head):
    image, tissue, grid = head
    preset = get_preset("T1w", "axi")
    curved, factors = (
        draw(preset, replace(PLAIN, contrast_form=form), np.random.default_rng(4)) for form in ("curve", "factor")
    )
    entry = json.loads(json.dumps(asdict(factors)))
    assert entry.pop("form") == "factor"
    assert Degradation.of(entry) == factors
    assert Degradation.of(asdict(curved)).form == "curve"
    stacks = [degrade(image, tissue, grid, stack_geometry(preset, grid), one).data for one in (curved, factors)]
    assert not np.array_equal(*stacks)


def test_the_contrast_may_lie_anywhere_between_all_of_the_change_and_none() -> None:
    preset, means, generator = get_preset("T1w", "axi"), np.array([0.2, 0.6, 1.0]), np.random.default_rng(0)
    full = np.array(draw(preset, PLAIN, generator, means).factor)
    for back in (1.0, 0.5):
        settings = replace(PLAIN, contrast_back=back)
        drawn = [draw(preset, settings, generator, means).factor for _ in range(100)]
        share = np.log(drawn) @ np.log(full) / (np.log(full) @ np.log(full))
        np.testing.assert_allclose(drawn, full ** share[:, None], rtol=1e-6)
        assert 1 - back <= share.min() < 1 - 0.9 * back
        assert 1 - 0.1 * back < share.max() <= 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"snr": float("nan")},
        {"snr": -4.0},
        {"fwhm": 0.0},
        {"bias": -1.0},
        {"contrast_back": 1.5},
        {"fwhm": 100},
        {"motion_deg": 400},
    ],
)
def test_settings_that_no_scanner_has_are_refused(wrong):
    with refused("bad-setting"):
        PhysicsSettings(**wrong)
