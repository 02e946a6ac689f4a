"""The expected error of a volume."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from bids_lfenhance.evaluation.volume_error import FACTOR, VALIDATED_CONTRASTS, with_expected_error

ROW = {"index": 17, "name": "left hippocampus", "volume_mm3": 4000.0, "uncertain_mm3": 200.0}


def test_it_grows_with_what_the_segmentation_doubts_and_is_told_in_mm3_and_per_cent() -> None:
    one, two = with_expected_error([ROW, ROW | {"uncertain_mm3": 400.0}], "regions", "T1w")
    assert two["volume_error_mm3"] == pytest.approx(2 * one["volume_error_mm3"])
    assert one["volume_error_percent"] == pytest.approx(100 * one["volume_error_mm3"] / 4000)
    assert 0 < one["volume_error_mm3"] < 4000
    assert {key: one[key] for key in ROW} == ROW
    assert all(with_expected_error([ROW], "regions", contrast) == [one] for contrast in VALIDATED_CONTRASTS)


@pytest.mark.parametrize(
    ("change", "segmentation", "contrast"),
    [
        ({"volume_mm3": None}, "regions", "T1w"),
        ({"volume_mm3": 0.0}, "regions", "T1w"),
        ({"uncertain_mm3": np.nan}, "regions", "T1w"),
        ({"uncertain_mm3": None}, "regions", "T1w"),
        ({"name": "GM"}, "tissue", "T1w"),
        ({}, "synthseg", "T1w"),
        ({}, "regions", "FLAIR"),
    ],
)
def test_none_is_said_where_none_is_known(change: dict, segmentation: str, contrast: str) -> None:
    (row,) = with_expected_error([ROW | change], segmentation, contrast)
    assert row["volume_error_mm3"] is None
    assert row["volume_error_percent"] is None


def results(name: str) -> list[dict[str, str]]:
    """A table that benchmarks/reliability.py volumes wrote."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / f"{name}.tsv"
    return list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))


def test_the_factor_is_no_narrower_than_the_one_that_was_fitted() -> None:
    (row,) = results("volume-factors")
    assert float(row["all"]) <= FACTOR


def test_nine_in_ten_differences_were_smaller_for_people_who_were_not_used_in_the_fit() -> None:
    """Neither many fewer nor all of them: an error that covers everything says nothing."""
    others = [row for row in results("volume-error") if "," in row["factor of"]]
    counts = [re.match(r"(\d+) of (\d+)", row["inside, with the app's"]) for row in others]
    inside, all_ = np.sum([[int(number) for number in count.groups()] for count in counts if count], axis=0)
    assert 0.87 < inside / all_ < 0.95
