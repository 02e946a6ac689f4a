"""The expected absolute error of an image."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from bids_lfenhance.evaluation.expected_error import (
    VALIDATED_CONTRASTS,
    WEIGHTS,
    expected_error,
    is_calibrated,
    scale_note,
    smoothed,
)
from bids_lfenhance.evaluation.session import compute_expected_error
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import volume_from_channels

SHAPE = (40, 44, 36)
GRID = Grid(np.eye(4), SHAPE)


@pytest.fixture
def mask() -> np.ndarray:
    inside = np.zeros(SHAPE, bool)
    inside[6:-6, 6:-6, 6:-6] = True
    return inside


def test_it_is_the_weighted_sum_where_nothing_varies(mask: np.ndarray) -> None:
    found = expected_error(np.full(SHAPE, 3.0), np.full(SHAPE, 5.0), mask, GRID)
    assert found[mask] == pytest.approx(3 * WEIGHTS["Std"] + 5 * WEIGHTS["Cycle"], rel=1e-5), "to the mask's border"
    assert (found[~mask] == 0).all()
    assert found.dtype == np.float32


def test_it_scales_with_the_image_and_what_no_stack_saw_counts_as_the_rest(mask: np.ndarray, rng) -> None:
    std, cycle = rng.random((2, *SHAPE))
    unseen = np.where(np.arange(SHAPE[2]) > 20, np.nan, cycle)
    one, thousand = (expected_error(k * std, k * unseen, mask, GRID) for k in (1, 1000))
    np.testing.assert_allclose(thousand, 1000 * one, rtol=1e-4)
    assert np.isfinite(one).all()
    even = expected_error(np.ones(SHAPE), np.where(np.isnan(unseen), np.nan, 2.0), mask, GRID)
    assert even[mask] == pytest.approx(even[20, 20, 10], rel=1e-5)


@pytest.mark.parametrize("zoom", [1.0, 2.0])
def test_the_smoothing_is_3_mm_wide_whatever_the_voxels(zoom: float) -> None:
    grid, point = Grid(np.diag([zoom, zoom, zoom, 1]), (41, 41, 41)), np.zeros((41, 41, 41))
    point[20, 20, 20] = 1
    line = smoothed(point, np.ones(point.shape, bool), grid)[:, 20, 20]
    half = np.interp(0.5, line[20:][::-1] / line[20], np.arange(20, 41)[::-1] - 20.0)
    assert 2 * half * zoom == pytest.approx(3, abs=0.5)


def test_it_foretells_errors_that_the_scale_tells_of(mask: np.ndarray, rng) -> None:
    """On made-up errors, half of them of twice the scale."""
    scale = np.where(np.arange(SHAPE[0]) > 18, 2.0, 1.0)[:, None, None] * np.ones(SHAPE)
    error = np.abs(rng.normal(size=SHAPE) * scale)
    found = expected_error(scale, np.zeros(SHAPE), mask, GRID)
    told, seen = found[mask], smoothed(error, mask, GRID)[mask]
    assert np.corrcoef(told, seen)[0, 1] > np.corrcoef(scale[mask], error[mask])[0, 1] > 0.2


@pytest.mark.parametrize("contrast", ["T1w", "T2w", "FLAIR"])
def test_what_is_said_of_the_scale_is_what_was_measured(contrast: str) -> None:
    """benchmarks/estimate.py wrote the shares of voxels within 2 SD."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "estimate.tsv"
    rows = list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))
    shares = {round(100 * float(row["coverage"])) for row in rows if row["contrast"] == contrast}
    said = [int(number) for number in re.findall(r"\d+(?= (?:to|%))", VALIDATED_CONTRASTS[contrast])]
    assert {min(shares), max(shares)} <= set(said) <= shares
    assert not is_calibrated(contrast) or np.median(list(shares)) >= 93


def test_a_contrast_that_was_never_tried_is_not_calibrated() -> None:
    assert not is_calibrated("PDw")
    assert "Not calibrated" in scale_note("PDw")


def test_what_the_scans_contradict_is_in_the_units_of_the_image():
    """A risk counts noise units, of which each stack has its own."""
    grid, whole = Grid(np.eye(4), (8, 8, 8)), np.ones((8, 8, 8), bool)
    std, risk = (volume_from_channels(grid, {"T1w": np.full(grid.shape, value, np.float32)}) for value in (0.0, 2.0))
    record = {"T1w": {"Stacks": [{"NoiseUnit": 30.0}, {"NoiseUnit": 50.0}]}}
    found = compute_expected_error(std, risk, record, whole).channel("T1w")
    np.testing.assert_allclose(found, WEIGHTS["Cycle"] * 2 * 40, rtol=1e-5)
