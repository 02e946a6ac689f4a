"""Which two low-field sessions test–retest is of."""

import numpy as np
import pytest

from bids_lfenhance.evaluation.session_pairs import POOLED, session_pairs
from bids_lfenhance.evaluation.structures import VOLUME_KEYS
from bids_lfenhance.evaluation.subject_values import SubjectValues

KEY = ("T1w", "inr", "tissue", "WM", "volume_mm3")


def pairs_of(people: list[list[str]], labels: list[str]) -> tuple[SubjectValues, SubjectValues]:
    """Pairs of people whose sessions in time are given; the volume of a session is its number in time, from 1."""
    names = [f"{number:02d}" for number in range(len(people))]
    volumes = SubjectValues(VOLUME_KEYS, names, labels)
    for name, sessions in zip(names, people, strict=True):
        for number, label in enumerate(sessions, start=1):
            volumes.add(KEY, (name, label), number)
            volumes.add(("T1w", "high", *KEY[2:]), (name, label), 9)
    order = {name: own for name, own in zip(names, people, strict=True) if len(own) > 1}
    return session_pairs(volumes, order)


def test_the_earliest_pair_of_most_people_is_first_and_the_rest_in_time() -> None:
    labels = ["baseline", "month6", "month12"]
    earlier, later = pairs_of([labels, labels, labels[:2], labels[:1]], labels)
    assert earlier.sessions == ("baseline–month6", "baseline–month12", "month6–month12")
    assert earlier.labels() == later.labels() == earlier.sessions, "pairs are not averaged"
    assert earlier.cells[KEY][:, 0].tolist() == [1, 1, 1, 1]
    assert later.cells[KEY][:3, 0].tolist() == [2, 2, 2]
    assert np.isnan(later.cells[KEY][3]).all()
    assert list(earlier.cells) == [KEY], "no high field"
    assert pairs_of([["A", "C"], ["A", "C"], ["A", "B", "C"]], ["A", "B", "C"])[0].sessions[0] == "A–C"


def test_where_people_went_in_different_orders_each_has_an_own_pair() -> None:
    earlier, later = pairs_of([["A", "B"], ["B", "A"], ["A", "B"], ["A"]], ["A", "B"])
    assert earlier.sessions == (POOLED, "A–B")
    assert earlier.cells[KEY][:, 0] == pytest.approx([1, 1, 1, np.nan], nan_ok=True)
    assert later.cells[KEY][:, 0] == pytest.approx([2, 2, 2, np.nan], nan_ok=True)
    assert earlier.cells[KEY][:3, 1].tolist() == [1, 2, 1], "by label, the other way round"


def test_labels_of_ones_own_make_one_pair_of_all() -> None:
    people = [[f"{number}a", f"{number}b"] for number in range(5)]
    earlier, later = pairs_of(people, [label for own in people for label in own])
    assert earlier.sessions == (POOLED,)
    assert (earlier.cells[KEY].ravel().tolist(), later.cells[KEY].ravel().tolist()) == ([1] * 5, [2] * 5)


@pytest.mark.parametrize("people", [[], [["A"], ["B"]]])
def test_nobody_with_two_sessions_makes_no_pair(people: list[list[str]]) -> None:
    earlier, later = pairs_of(people, ["A", "B"])
    assert earlier.sessions == later.sessions == ()


def test_one_person_has_a_pair() -> None:
    assert pairs_of([["A", "B"]], ["A", "B"])[0].sessions == ("A–B",)
