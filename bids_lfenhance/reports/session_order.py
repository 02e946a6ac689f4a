"""Which of several sessions came first."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

Dates = Mapping[tuple[str, str], datetime | None]
"""When each (subject, session) was acquired, where it is known, of subjects with several sessions."""


def _dated(dates: Dates) -> dict[str, list[str]]:
    """The sessions by date of each subject all of whose sessions have one."""
    own: dict[str, dict[str, datetime]] = {}
    for (subject, session), date in dates.items():
        own.setdefault(subject, {})[session] = date or datetime.min
    return {
        subject: sorted(days, key=lambda one: (days[one], by_number(one)))
        for subject, days in own.items()
        if datetime.min not in days.values()
    }


def labels_in_time(dates: Dates, labels: Iterable[str]) -> list[str]:
    """The labels of a study: none before one that a subject had earlier by date; by label where no subject had both.

    Dates of two subjects are not compared: each may have been moved by days of its own, to hide who it is.

    >>> days = {("a", "pre"): datetime(1925, 1, 1), ("a", "post"): datetime(1925, 3, 1), ("b", "pre"): None}
    >>> days |= {("b", "post"): None}
    >>> labels_in_time(days, ["post", "pre"]), labels_in_time({}, ["10", "2"])
    (['pre', 'post'], ['2', '10'])
    """
    left = sorted(set(labels), key=by_number)
    earlier: dict[str, set[str]] = {label: set() for label in left}
    for own in _dated(dates).values():
        for before, after in pairwise(one for one in own if one in earlier):
            earlier[after].add(before)
    found: list[str] = []
    while left:
        free = (label for label in left if not earlier[label] & set(left))
        found.append(next(free, left[0]))  # none is free where subjects contradict each other
        left.remove(found[-1])
    return found


def orders_in_time(dates: Dates, labels: Sequence[str]) -> dict[str, list[str]]:
    """The sessions of each subject who has several, by date; in the order of ``labels`` where one has no date.

    >>> days = {("a", "1"): datetime(2024, 5, 1), ("a", "2"): datetime(2024, 4, 1), ("b", "1"): None, ("b", "2"): None}
    >>> orders_in_time(days, ["1", "2"])
    {'a': ['2', '1'], 'b': ['1', '2']}
    """
    dated, subjects = _dated(dates), dict.fromkeys(subject for subject, _ in dates)
    return {one: dated.get(one) or [label for label in labels if (one, label) in dates] for one in subjects}


def by_number(label: str) -> list[tuple[bool, int, str]]:
    """Sort key of a label in which numbers count as such.

    >>> sorted(["month12", "month6", "baseline", "10", "9"], key=by_number)
    ['9', '10', 'baseline', 'month6', 'month12']
    """
    parts = re.findall(r"\d+|\D+", label)
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
