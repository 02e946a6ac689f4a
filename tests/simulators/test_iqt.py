"""Stochastic IQT: SNR, gate, slice profile, shape."""

import numpy as np
import pytest

from bids_lfenhance.errors import InputError
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.simulators.iqt import SIMULATOR, IqtRecord, IqtSettings, draw_snr, modulate
from bids_lfenhance.simulators.presets import get_preset, stack_geometry, tissue_snr
from bids_lfenhance.simulators.simulator import acquire, rows
from bids_lfenhance.simulators.source import HighField
from tests.simulators.sources import phantom_source, slab_source

MEAN, COVARIANCE = tissue_snr(get_preset("T1w", "axi", "iqt-hcp"))


def simulate(source: HighField, snr: tuple[float, float], seed: int, rician: bool = False):
    preset = get_preset(source.contrast, "axi", "iqt-hcp").on(source.grid)
    record = IqtRecord(source.contrast, "axi", rows(np.eye(4)), snr, "WM", preset.fwhm, rician, seed)
    return SIMULATOR.apply(source, stack_geometry(preset, source.grid), record)


@pytest.mark.parametrize("snr", [(64.5, 54.14), (6.0, 4.5), (3.0, 2.2)])
def test_tissues_have_the_snr_asked_for_on_the_acquired_voxels(snr):
    """Ten seeds; measured without knowing the noise, as one would on a scan: mean over standard deviation."""
    source = slab_source()
    stacks = [simulate(source, snr, seed) for seed in range(10)]
    inside = {"WM": slice(66, 78), "GM": slice(42, 54)}
    for wanted, name in zip(snr, ("WM", "GM"), strict=True):
        # x runs backwards in the stack: the preset keeps the scanner's orientation.
        voxels = np.stack([stack.data[::-1][inside[name], 12:-12, 1:-1] for stack in stacks])
        assert voxels.mean() / voxels.std() == pytest.approx(wanted, rel=0.02)


def test_the_gate_keeps_the_share_of_a_normal_within_two_distances(rng):
    np.testing.assert_allclose(MEAN, [64.50, 54.14])
    factor = np.linalg.cholesky(COVARIANCE)
    drawn = MEAN + rng.standard_normal((40_000, 2)) @ factor.T
    inverse = np.linalg.inv(COVARIANCE)

    def distance(snr: np.ndarray) -> np.ndarray:
        return np.sqrt(np.einsum("ni,ij,nj->n", snr - MEAN, inverse, snr - MEAN))

    kept = (distance(drawn) <= 2) & (drawn[:, 0] > drawn[:, 1])
    assert kept.mean() == pytest.approx(0.864, abs=0.01)
    gated = np.array([draw_snr(MEAN, COVARIANCE, 2.0, True, rng) for _ in range(2000)])
    assert distance(gated).max() <= 2 + 1e-9
    assert np.all(gated[:, 0] > gated[:, 1])
    np.testing.assert_allclose(gated.mean(axis=0), drawn[kept].mean(axis=0), rtol=0.02)
    np.testing.assert_allclose(np.cov(gated.T), np.cov(drawn[kept].T), rtol=0.15)


def test_a_gate_that_nothing_passes_is_an_error(rng):
    with pytest.raises(InputError, match="raise it"):
        draw_snr(MEAN, COVARIANCE, 0.0, True, rng)


def test_low_fields_without_published_statistics_get_theirs_scaled():
    mean, covariance = tissue_snr(get_preset("T1w", "axi"))
    assert mean[0] == 15
    assert 10 < mean[1] < 15
    correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert correlation == pytest.approx(71.50 / np.sqrt(78.47 * 73.91))
    assert tissue_snr(get_preset("FLAIR", "axi", "iqt-hcp"))[0] == pytest.approx([35.031, 42.329])


def test_a_point_becomes_six_voxels_wide_through_the_slices():
    """Responses of the slices to a point moved through them sample the slice profile."""
    size = 64
    preset = get_preset("T1w", "axi", "iqt-hcp")
    grid = Grid(np.eye(4), (size, size, size))
    fwhm = preset.on(grid).fwhm
    record = IqtRecord("T1w", "axi", rows(np.eye(4)), (1.0, 1.0), "WM", fwhm, False, 0)
    weights = []
    for depth in range(24, 48):
        point = np.zeros(grid.shape, np.float32)
        point[32, 32, depth] = 1
        weights.append(acquire(point, grid, stack_geometry(preset, grid), fwhm, record)[:, :, 4].sum())
    depths = np.arange(24, 48)
    centre = np.average(depths, weights=weights)
    width = np.sqrt(np.average((depths - centre) ** 2, weights=weights)) * 2 * np.sqrt(2 * np.log(2))
    assert centre == pytest.approx(35.5, abs=0.05)
    assert width == pytest.approx(6, rel=0.02)


@pytest.mark.parametrize("shape", [(40, 41, 64), (33, 40, 71)])
def test_slices_are_an_eighth_rounded_down(shape):
    grid = Grid(np.diag([0.7, 0.7, 0.7, 1.0]), shape)
    preset = get_preset("T1w", "axi", "iqt-hcp").on(grid)
    assert preset.shape == (shape[0], shape[1], shape[2] // 8)
    assert preset.zooms == pytest.approx((0.7, 0.7, 5.6))
    assert preset.fwhm == pytest.approx((0.7, 0.7, 4.2))


def test_grey_matter_is_modulated_and_the_background_goes_to_zero():
    source = slab_source(96)
    for fix, kept in (("WM", 2), ("GM", 1)):
        image, sigma = modulate(source, (10.0, 9.0), fix)
        means = [image[source.tissue[tissue] > 0.9].mean() for tissue in range(3)]
        assert means[kept] == pytest.approx(source.tissue_means()[kept])
        assert means[2] / sigma == pytest.approx(10)
        assert means[1] / sigma == pytest.approx(9)
        assert means[0] == pytest.approx(250), "CSF stays as it is"
        assert np.all(image[source.tissue.sum(axis=0) == 0] == 0)


def test_flair_keeps_grey_matter_unless_told_otherwise(rng):
    source, preset = phantom_source("FLAIR"), get_preset("FLAIR", "axi", "iqt-hcp")
    assert SIMULATOR.draw(source, preset, IqtSettings(), rng).fix == "GM"
    assert SIMULATOR.draw(source, preset, IqtSettings(fix="WM"), rng).fix == "WM"


def test_rician_noise_is_never_negative_gaussian_is():
    source = slab_source()
    assert simulate(source, (3.0, 2.2), 0).data.min() < 0
    magnitude = simulate(source, (3.0, 2.2), 0, rician=True)
    assert magnitude.data.min() >= 0
    air = magnitude.data[:6]
    assert air.std() == pytest.approx(0.655 * magnitude.sigma, rel=0.02)
