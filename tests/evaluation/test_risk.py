"""The risk map: sees what the stacks contradict, up to the band limit and not beyond."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bids_lfenhance.evaluation.risk import _combine, _Fit, band_limit, fit_gains, risk_map
from bids_lfenhance.imaging.acquisition import Acquisition
from bids_lfenhance.imaging.grid import Grid, coverage
from bids_lfenhance.imaging.volume import Stack
from tests.oracle import acquire_session, phantom_head, rigid

from ..refusals import refused

AMPLITUDE = 0.3
"""Of the planted wave, in units of white matter."""


class Scene:
    """A phantom scanned by the independent oracle in three orthogonal planes, white-matter SNR 15."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        self.image, affine, self.tissue = phantom_head(80, rng)
        self.grid = Grid(affine, self.image.shape)
        self.mask = self.tissue.sum(axis=0) > 0.5
        self.stacks = [s.stack() for s in acquire_session(self.image, affine, self.tissue, rng, bias=0.0)]

    def risk(self, image: np.ndarray, planes: int) -> tuple[np.ndarray, dict]:
        return risk_map(image, self.stacks[:planes], self.tissue, self.mask, self.grid)

    def detection(self, frequency: float, planes: int, axis: int = 2) -> float:
        """AUC of the risk with a planted wave against the risk without, at the wave's own crests."""
        place = np.indices(self.image.shape) - np.array(self.image.shape).reshape(3, 1, 1, 1) / 2 - 8
        window = np.exp(-(place**2).sum(axis=0) / (2 * 9.0**2))
        wave = window * np.cos(2 * np.pi * frequency * place[axis])
        crests = self.mask & (np.abs(wave) > 0.5)
        with_wave, _ = self.risk((self.image + AMPLITUDE * wave).astype(np.float32), planes)
        without, _ = self.risk(self.image, planes)
        u = stats.mannwhitneyu(with_wave[crests], without[crests]).statistic
        return float(u / crests.sum() ** 2)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


def test_one_thick_stack_sees_coarse_and_is_blind_to_fine(scene):
    assert scene.detection(0.05, planes=1) >= 0.9
    assert scene.detection(0.3, planes=1) == pytest.approx(0.5, abs=0.05)


def test_orthogonal_stacks_see_more_of_the_fine(scene):
    assert scene.detection(0.05, planes=3) >= 0.9
    assert scene.detection(0.2, planes=3) >= 0.9
    assert scene.detection(0.3, planes=3) >= 0.8


def test_in_plane_even_one_stack_sees_finer(scene):
    assert scene.detection(0.2, planes=1, axis=0) > scene.detection(0.2, planes=1, axis=2) + 0.2


def test_truth_is_no_risk_though_its_contrast_and_units_differ(scene):
    risk, record = scene.risk(700 * scene.image, planes=3)
    assert np.median(risk[scene.mask]) < 1
    assert record["FractionAbove"] < 0.01
    same, _ = scene.risk(scene.image, planes=3)
    np.testing.assert_allclose(risk, same, atol=1e-3)
    assert not risk[~scene.mask].any()


def test_record_is_plain_json_and_complete(scene):
    _, record = scene.risk(scene.image, planes=3)
    assert json.loads(json.dumps(record)) == record
    assert record["FractionSeen"] == 1
    assert record["Warnings"] == []
    assert set(record["Stacks"][0]["Gains"]) == {"background", "CSF", "GM", "WM"}
    assert [entry["Stack"] for entry in record["Stacks"]] == [stack.name for stack in scene.stacks]
    # Three orthogonal stacks: each axis is some stack's fine one.
    assert list(record["BandLimit"].values()) == pytest.approx([0.4413 / 1.6] * 3, rel=0.01)


def test_fitted_gains_are_those_the_oracle_painted(scene):
    _, record = scene.risk(scene.image, planes=3)
    painted = np.array([0.40 / 0.25, 0.80 / 0.60, 1.00 / 1.00])
    for entry in record["Stacks"]:
        fitted = np.array([entry["Gains"][name] for name in ("CSF", "GM", "WM")])
        np.testing.assert_allclose(fitted, painted, rtol=0.12)


def test_chi_square_is_one_for_the_true_model(scene, rng):
    """Scans made by the very operator and noise assumed: an inverse crime anywhere but here."""
    gains = np.array([0.7, 1.3, 0.9])
    clean = (np.tensordot(gains, scene.tissue, axes=1) * scene.image).astype(np.float32)
    stacks = []
    for stack in scene.stacks:
        data = Acquisition.of(stack, scene.grid).forward(clean)
        noise = 0.05 * rng.normal(size=data.shape)
        stacks.append(replace(stack, data=(data + noise).astype(np.float32), sigma=0.05))
    _, record = risk_map(scene.image, stacks, scene.tissue, scene.mask, scene.grid)
    for entry in record["Stacks"]:
        assert entry["ReducedChiSquare"] == pytest.approx(1, abs=0.05)
        fitted = np.array([entry["Gains"][name] for name in ("CSF", "GM", "WM")])
        # Noise trades gains against the offset, which leaves the residual as it is.
        np.testing.assert_allclose(fitted, gains, rtol=0.1)


def test_a_fitted_gain_is_never_negative(rng):
    """An inverted scan gets no inverted image (https://github.com/layerfMRI/LAYNII/issues/88)."""
    columns = rng.random((500, 4))
    gains, _ = fit_gains(columns, 5 - columns.sum(axis=1), scale=5.0)
    assert (gains > 0).all()


def test_bounded_least_squares_recovers_the_gains(rng):
    columns = rng.uniform(0, 1, size=(500, 4))
    truth = np.array([0.9, 0.597, 0.763, 0.816])
    gains, offset = fit_gains(columns, columns @ truth + 0.01, scale=3.0)
    np.testing.assert_allclose(gains, truth, atol=1e-10)
    assert offset == pytest.approx(0.01, abs=1e-10)


def test_an_absent_tissue_gets_no_gain(rng):
    columns = rng.uniform(0, 1, size=(300, 4))
    columns[:, 1] = 0
    gains, _ = fit_gains(columns, columns @ np.array([1.0, 0, 2.0, 3.0]), scale=5.0)
    assert np.isnan(gains[1])
    np.testing.assert_allclose(gains[[0, 2, 3]], [1, 2, 3], atol=1e-9)


def thick(grid: Grid, rotation: float = 0.0) -> Stack:
    affine = rigid((0, 0, 0), (rotation, 0, 0), (0, 0, 0)) @ np.diag([1.6, 1.6, 5.0, 1.0])
    affine[:3, 3] -= affine[:3, :3] @ np.array([20, 20, 6.5])
    shape = (41, 41, 14)
    return Stack("s", "T1w", np.zeros(shape, np.float32), affine, affine, (1.6, 1.6, 5.0), 0.1)


def test_band_limit_is_where_a_wave_is_halved():
    grid = Grid(np.array([[1.0, 0, 0, -32], [0, 1, 0, -32], [0, 0, 1, -32], [0, 0, 0, 1]]), (64, 64, 64))
    operator = Acquisition.of(thick(grid), grid)
    limit = band_limit(operator)
    np.testing.assert_allclose(limit, [0.2758, 0.2758, 0.08826], rtol=1e-3)
    z = np.arange(64) - 32.0
    wave = np.broadcast_to(np.cos(2 * np.pi * limit[2] * z), grid.shape)
    middle = operator.forward(wave.astype(np.float32))[20, 20, 4:10]
    at = (operator.geometry.affine @ np.array([[20, 20, k, 1] for k in range(4, 10)]).T)[2]
    np.testing.assert_allclose(middle, 0.5 * np.cos(2 * np.pi * limit[2] * at), atol=0.01)


def test_band_limit_of_a_tilted_stack_mixes_its_axes():
    grid = Grid(np.eye(4), (32, 32, 32))
    limit = band_limit(Acquisition.of(thick(grid, rotation=90), grid))
    np.testing.assert_allclose(limit, [0.2758, 0.08826, 0.2758], rtol=1e-3)
    tilted = band_limit(Acquisition.of(thick(grid, rotation=45), grid))
    assert tilted[1] == pytest.approx(0.4413 / np.sqrt((1.6**2 + 5**2) / 2), rel=1e-3)


def test_the_profile_is_not_applied_twice(scene):
    """One slice raised: linear interpolation (5 mm) and 3 mm of smoothing make 6 mm; the profile again, 7.7."""
    stack = scene.stacks[0]
    raised = stack.data.copy()
    middle = stack.data.shape[2] // 2
    raised[:, :, middle] += 2
    risk, _ = risk_map(scene.image, [replace(stack, data=raised)], scene.tissue, scene.mask, scene.grid)
    column = risk[36:44, 36:44, 20:60].mean(axis=(0, 1))
    column = column - np.median(column)
    peak = int(column.argmax())
    above = np.interp([0.5 * column[peak]], column[: peak + 1], np.arange(peak + 1))[0]
    below = np.interp([-0.5 * column[peak]], -column[peak : peak + 9], np.arange(peak, peak + 9))[0]
    assert 4 < below - above < 6.8


def test_unseen_brain_is_unknown_not_safe(scene):
    stack = scene.stacks[0]
    half = replace(stack, data=stack.data[:, :, : stack.data.shape[2] // 2])
    risk, record = risk_map(scene.image, [half], scene.tissue, scene.mask, scene.grid)
    unknown = np.isnan(risk)
    assert 0.3 < unknown[scene.mask].mean() < 0.7
    assert not unknown[~scene.mask].any()
    assert record["FractionSeen"] == pytest.approx(1 - unknown[scene.mask].mean())
    assert "seen by no stack" in record["Warnings"][0]


def test_what_cannot_be_compared_is_refused(scene):
    with refused("no-scans"):
        scene.risk(scene.image, planes=0)
    with refused("no-mask"):
        scene.risk(np.full_like(scene.image, np.nan), planes=1)
    with refused("bad-values"):
        scene.risk(np.zeros_like(scene.image), planes=1)
    away = replace(scene.stacks[0], affine=rigid((900, 0, 0), (0, 0, 0), (0, 0, 0)) @ scene.stacks[0].affine)
    risk, record = risk_map(scene.image, [away], scene.tissue, scene.mask, scene.grid)
    assert np.isnan(risk[scene.mask]).all()
    assert not risk[~scene.mask].any()
    assert record["FractionSeen"] == 0


def test_a_stack_that_errs_alike_everywhere_is_the_same_risk_up_to_the_rim_and_none_beyond_its_view():
    """A voxel at the rim of the brain, or of a stack, is not half a risk; one beyond the stack has no neighbour's."""
    grid, affine = Grid(np.eye(4), (30, 30, 30)), np.diag([2.0, 2.0, 5.0, 1.0])
    affine[:3, 3] = 0.5, 0.5, 2.0
    brain = ((np.indices(grid.shape) - 14.5) ** 2).sum(axis=0) < 11**2
    where = ((np.indices((15, 15, 4)) * [[[[2]]], [[[2]]], [[[5]]]] + affine[:3, 3, None, None, None] - 14.5) ** 2).sum(
        axis=0
    ) < 11**2
    fit = _Fit(np.where(where, 2, 0).astype(np.float32), where, affine, np.ones(3), {})
    risk = _combine([fit], grid, brain)
    seen = coverage(where.shape, affine, grid)
    assert 0.1 < (brain & ~seen).sum() / brain.sum() < 0.5
    assert np.isnan(risk[brain & ~seen]).all()
    np.testing.assert_allclose(risk[brain & seen], 2, rtol=1e-3)
    assert not risk[~brain].any()
