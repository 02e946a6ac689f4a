"""The expected error of a volume."""

import csv
from pathlib import Path

import numpy as np
import pytest

from bids_lfenhance.evaluation.volume_error import FACTORS, with_expected_error

ROW = {"index": 17, "name": "left hippocampus", "volume_mm3": 4000.0, "uncertain_mm3": 200.0}


@pytest.mark.parametrize(("segmentation", "name"), [("regions", "left hippocampus"), ("tissue", "GM")])
def test_it_grows_with_doubt_and_thick_slices_and_is_told_in_mm3_and_per_cent(segmentation, name) -> None:
    row = ROW | {"name": name}
    one, two = with_expected_error([row, row | {"uncertain_mm3": 400.0}], segmentation, "T1w", 1.6)
    (thick,) = with_expected_error([row], segmentation, "T1w", 3.2)
    assert thick["volume_error_mm3"] == pytest.approx(2 * one["volume_error_mm3"])
    assert two["volume_error_mm3"] == pytest.approx(2 * one["volume_error_mm3"])
    assert one["volume_error_percent"] == pytest.approx(100 * one["volume_error_mm3"] / 4000)
    assert 0 < one["volume_error_mm3"] < 4000
    assert {key: one[key] for key in row} == row


@pytest.mark.parametrize(
    ("change", "segmentation", "contrast", "coarsest"),
    [
        ({"volume_mm3": None}, "regions", "T1w", 1.6),
        ({"volume_mm3": 0.0}, "regions", "T1w", 1.6),
        ({"uncertain_mm3": np.nan}, "regions", "T1w", 1.6),
        ({"uncertain_mm3": None}, "regions", "T1w", 1.6),
        ({"name": "bone"}, "tissue", "T1w", 1.6),
        ({}, "synthseg", "T1w", 1.6),
        ({}, "regions", "FLAIR", 1.6),
        ({}, "regions", "T1w", None),
    ],
)
def test_none_is_said_where_none_is_known(change, segmentation, contrast, coarsest) -> None:
    (row,) = with_expected_error([ROW | change], segmentation, contrast, coarsest)
    assert row["volume_error_mm3"] is None
    assert row["volume_error_percent"] is None


def test_the_factors_are_those_that_were_measured() -> None:
    """benchmarks/reliability.py volumes wrote them."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "volume-factors.tsv"
    (row,) = csv.DictReader(path.read_text().splitlines(), delimiter="\t")
    assert {name: float(value) for name, value in row.items()} == {"regions": FACTORS["regions"]} | FACTORS["tissue"]
