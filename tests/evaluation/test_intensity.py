"""Voxelwise and histogram metrics against closed forms and scipy."""

import numpy as np
import pytest
from scipy import spatial, stats

from bids_lfenhance.evaluation import intensity


def test_psnr_of_known_offset(rng):
    y = rng.uniform(size=(8, 9, 10)).astype(np.float32)
    assert intensity.psnr(y + np.float32(0.1), y) == pytest.approx(20, abs=1e-5)
    assert intensity.psnr(y, y) == np.inf


def test_psnr_per_voxel_is_above_psnr_by_the_gaussian_constant(rng):
    y = np.zeros(400_000, dtype=np.float32)
    x = rng.normal(0, 0.1, y.size).astype(np.float32)
    # E[ln χ²₁] = −γ − ln 2: the mean of logs is 5.52 dB away from the log of the mean.
    constant = 10 / np.log(10) * (np.euler_gamma + np.log(2))
    assert intensity.psnr_voxel(x, y) - intensity.psnr(x, y) == pytest.approx(constant, abs=0.05)
    assert intensity.psnr_voxel(y, y) == pytest.approx(80, abs=1e-4)


def test_mae_and_nmse():
    x, y = np.array([1.0, 3.0]), np.array([2.0, 1.0])
    assert intensity.mae(x, y) == 1.5
    assert intensity.nmse(x, y) == 1.0


def test_ncc_is_pearson(rng):
    x, noise = rng.normal(size=(2, 500)).astype(np.float32)
    y = x + noise
    assert intensity.ncc(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-6)
    assert np.isnan(intensity.ncc(np.ones(5), np.arange(5.0)))


def test_wasserstein_is_scipy_and_a_shift(rng):
    x, y = rng.gamma(2, size=(2, 1000))
    assert intensity.wasserstein(x, y) == pytest.approx(stats.wasserstein_distance(x, y), rel=1e-9)
    assert intensity.wasserstein(rng.permutation(x) + 0.07, x) == pytest.approx(0.07, rel=1e-9)


def test_histogram_keeps_every_voxel():
    values = np.array([-1.0, 0.0, 0.5, 0.999, 1.0, 7.0])
    share = intensity.histogram(values)
    assert share.sum() == 1
    assert share[0] == pytest.approx(2 / 6)
    assert share[128] == pytest.approx(1 / 6)
    assert share[-1] == pytest.approx(3 / 6)


def test_histogram_is_numpy_inside_the_range(rng):
    values = rng.uniform(0, 1, 5000)
    counts, _ = np.histogram(values, 256, (0, 1))
    np.testing.assert_allclose(intensity.histogram(values), counts / counts.sum(), atol=1e-12)


def test_jensen_shannon_is_the_square_of_scipy(rng):
    p, q = rng.dirichlet(np.ones(256), 2)
    p[:20], q[30:50] = 0, 0
    p, q = p / p.sum(), q / q.sum()
    assert intensity.jensen_shannon(p, q) == pytest.approx(spatial.distance.jensenshannon(p, q) ** 2, rel=1e-9)
    assert intensity.jensen_shannon(p, p) == 0
    apart = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert intensity.jensen_shannon(*apart) == pytest.approx(np.log(2))
    assert intensity.bhattacharyya(*apart) == np.inf


def test_bhattacharyya_of_two_halves():
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.5, 0.5])
    assert intensity.bhattacharyya(p, q) == pytest.approx(np.log(2))
    assert intensity.bhattacharyya(p, p) == 0
