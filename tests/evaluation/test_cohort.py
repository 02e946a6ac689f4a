"""Tables of a cohort: what is compared, over which sessions, in which family of tests."""

import math

import numpy as np
import pytest

from bids_lfenhance.evaluation.cohort import METRIC_KEYS, Table, metric_table, volume_table
from bids_lfenhance.evaluation.structures import VOLUME_KEYS
from bids_lfenhance.evaluation.subject_values import SubjectValues


def compared(changes: dict[str, np.ndarray], contrasts: tuple[str, ...] = ("T1w",)) -> Table:
    """Rows of one metric that low field has 20 + the number of the session; ``changes`` by session, NaN for none."""
    names = [f"{number:02d}" for number in range(len(next(iter(changes.values()))))]
    data = SubjectValues(METRIC_KEYS, names, list(changes))
    for contrast in contrasts:
        for number, (session, own) in enumerate(changes.items()):
            for name, change in zip(names, own, strict=True):
                key = ("brain-fit", "brain", "psnr")
                data.add((contrast, "preproc", *key), (name, session), 20.0 + number)
                data.add((contrast, "inr", *key), (name, session), 20.0 + number + change)
    return metric_table(data)


def row_of(table: Table, session: str, image: str = "inr") -> dict:
    return next(row for row in table if (row["session"], row["image"]) == (session, image))


def test_one_outlier_turns_the_mean_and_not_the_direction_of_the_test() -> None:
    row = row_of(compared({"A": np.array([*np.linspace(1, 2, 14), -30])}), "A")
    assert row["difference_mean"] < 0 < row["difference_hodges_lehmann"]
    assert row["p_holm"] < 0.05


@pytest.mark.parametrize(("people", "least"), [(5, math.nan), (6, 4 / 2**6), (7, 4 / 2**7)])
def test_sessions_averaged_are_a_family_and_so_many_pairs_reach_no_less(people: int, least: float) -> None:
    rising = np.linspace(1, 2, people)
    table = compared({"A": rising, "B": rising}, ("T1w", "T2w"))
    row = row_of(table, "all")
    assert [row["p_holm"], row["p_holm_least"]] == pytest.approx([least, least], nan_ok=True), "of two contrasts"
    assert row_of(table, "A")["p_holm"] == pytest.approx(2 * least, nan_ok=True), "of two contrasts and two sessions"


def test_a_mean_says_over_how_many_sessions_and_the_change_beside_which_baseline() -> None:
    nothing = np.full(8, math.nan)
    table = compared({"A": np.ones(8), "B": nothing, "C": nothing})
    low, enhanced = row_of(table, "all", "preproc"), row_of(table, "all")
    assert (low["n"], low["sessions"], low["mean"]) == (8, 24, 21)
    assert (enhanced["n"], enhanced["sessions"], enhanced["mean"]) == (8, 8, 21)
    assert (enhanced["baseline_mean"], enhanced["difference_mean"]) == (20, 1)


def test_sessions_stand_in_the_order_of_time() -> None:
    table = compared({"baseline": np.ones(3), "month6": np.ones(3), "month12": np.ones(3)})
    sessions = list(dict.fromkeys(row["session"] for row in table))
    assert sessions == ["all", "baseline", "month6", "month12"]


def test_limits_of_all_sessions_hold_those_of_single_ones() -> None:
    rng = np.random.default_rng(0)
    names, sessions = [f"{number:02d}" for number in range(60)], ["1", "2", "3", "4"]
    volumes = SubjectValues(VOLUME_KEYS, names, sessions)
    key = ("regions", "hippocampus", "volume_mm3")
    for name in names:
        truth = rng.normal(4000, 300)
        for session in sessions:
            volumes.add(("T1w", "high", *key), (name, session), truth)
            volumes.add(("T1w", "inr", *key), (name, session), truth + rng.normal(0, 200))
    wide = {row["session"]: row["upper"] - row["lower"] for row in volume_table(volumes)}
    assert wide["all"] == pytest.approx(np.mean([wide[session] for session in sessions]), rel=0.05)
