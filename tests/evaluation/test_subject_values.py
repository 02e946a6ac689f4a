"""One figure per subject and session: averages over sessions, and pairs of what both have."""

import numpy as np

from bids_lfenhance.evaluation.subject_values import ALL, SubjectValues


def made() -> SubjectValues:
    values = SubjectValues(("image",), ["01", "02", "03"], ["A", "B", "C"])
    for subject, session, value in (("01", "A", 1.0), ("01", "B", 3.0), ("02", "A", 5.0), ("03", "B", float("nan"))):
        values.add(("low",), (subject, session), value)
    return values


def test_sessions_of_a_subject_are_averaged_first() -> None:
    values = made()
    assert values.labels() == (ALL, "A", "B"), "nobody has a C"
    assert values.of(values.get("low"), ALL)[:2].tolist() == [2.0, 5.0]
    assert np.isnan(values.of(values.get("low"), ALL)[2])
    assert np.isnan(values.get("no such")).all()


def test_pairs_are_over_the_sessions_that_both_have() -> None:
    values = made()
    values.add(("high",), ("01", "B"), 7)
    values.add(("high",), ("02", "B"), 9)
    low, high = values.paired(values.get("low"), values.get("high"), ALL)
    assert (low.tolist(), high.tolist()) == ([3.0], [7.0])
    assert values.paired(values.get("low"), values.get("high"), "A")[0].size == 0


def test_what_was_there_before_is_told() -> None:
    values = made()
    assert values.add(("low",), ("01", "A"), 2.0) == 1.0
    assert values.add(("low",), ("01", "A"), "n/a") is None
    assert values.add(("low",), ("01", "C"), True) is None
    assert values.get("low")[0, 0] == 2.0
