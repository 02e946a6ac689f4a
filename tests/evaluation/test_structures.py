"""Both sides together, and one figure per subject over all structures, on numbers worked out by hand."""

import math

import numpy as np
import pytest

from bids_lfenhance.evaluation.session_pairs import session_pairs
from bids_lfenhance.evaluation.structures import (
    OVERLAP_KEYS,
    VOLUME_KEYS,
    overlap_summary,
    repeat_summary,
    volume_summary,
    with_both_sides,
)
from bids_lfenhance.evaluation.subject_values import SubjectValues

VOLUMES = {
    "left putamen": {"high": 100, "preproc": (80, 90)},
    "right putamen": {"high": 100, "preproc": (100, 130)},
    "brain stem": {"high": 50, "preproc": (55, 45)},
    "total intracranial": {"high": 1000, "preproc": (1, 1)},
}


@pytest.fixture
def volumes() -> SubjectValues:
    found = SubjectValues(VOLUME_KEYS, ["01"], ["A", "B"])
    for name, images in VOLUMES.items():
        for session, place in (("A", 0), ("B", 1)):
            found.add(("T1w", "high", "regions", name, "volume_mm3"), ("01", session), images["high"])
            found.add(("T1w", "preproc", "regions", name, "volume_mm3"), ("01", session), images["preproc"][place])
    return with_both_sides(found)


def test_sides_are_summed_and_stand_before_the_first(volumes: SubjectValues) -> None:
    names = list(dict.fromkeys(key[3] for key in volumes.cells))
    assert names == ["putamen", "left putamen", "right putamen", "brain stem", "total intracranial"]
    assert volumes.get("T1w", "preproc", "regions", "putamen", "volume_mm3").tolist() == [[180, 220]]


def test_a_lost_side_is_no_half_structure() -> None:
    found = SubjectValues(VOLUME_KEYS, ["01"], ["A"])
    found.add(("T1w", "high", "regions", "left putamen", "volume_mm3"), ("01", "A"), 100)
    assert np.isnan(with_both_sides(found).get("T1w", "high", "regions", "putamen", "volume_mm3")).all()


def test_errors_of_volumes_and_of_repeats(volumes: SubjectValues) -> None:
    errors = volume_summary(volumes)
    assert list(errors.cells) == [
        ("T1w", "preproc", "regions", "volume_error_percent"),
        ("T1w", "preproc", "regions", "volume_error_percent_deep"),
    ]
    assert errors.get("T1w", "preproc", "regions", "volume_error_percent") == pytest.approx(np.array([[10, 10]]))
    assert errors.get("T1w", "preproc", "regions", "volume_error_percent_deep") == pytest.approx(np.array([[10, 10]]))
    repeat = repeat_summary(*session_pairs(volumes, {"01": ["A", "B"]}))
    assert repeat.sessions == ("A–B",)
    assert repeat.get("T1w", "preproc", "regions", "repeat_percent")[0, 0] == pytest.approx((20 + 20) / 2)


def test_dice_over_structures_leaves_out_sides_and_what_is_not_there() -> None:
    found = SubjectValues(OVERLAP_KEYS, ["01"], ["A"])
    for name, dice in (("left putamen", 0.1), ("putamen", 0.8), ("brain stem", 0.6), ("3rd ventricle", math.nan)):
        found.add(("T1w", "inr", "regions", name), ("01", "A"), dice)
    means = overlap_summary(found)
    assert means.get("T1w", "inr", "regions", "dice")[0, 0] == pytest.approx(0.7)
    assert means.get("T1w", "inr", "regions", "dice_deep")[0, 0] == pytest.approx(0.8)
