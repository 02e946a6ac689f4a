"""Which of several sessions came first."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise

Dates = Mapping[tuple[str, str], datetime | None]
"""When each (subject, session) was acquired, where it is known, of subjects with several sessions."""


def in_time(dates: Dates, subject: str, sessions: Iterable[str]) -> list[str]:
    """A subject's sessions by the date on which they were acquired; by label where one has no date, 9 before 10."""
    wanted = list(sessions)
    known = {session: dates.get((subject, session)) for session in wanted}
    dated = all(known.values())
    return sorted(wanted, key=lambda one: ((dated and known[one]) or datetime.min, by_number(one)))


def labels_in_time(dates: Dates, labels: Iterable[str]) -> list[str]:
    """The labels of a study: none before one that a subject had earlier; by label where no subject had both.

    Dates of two subjects are not compared: each may have been moved by days of its own, to hide who it is.

    >>> days = {("a", "pre"): datetime(1925, 1, 1), ("a", "post"): datetime(1925, 3, 1)}
    >>> labels_in_time(days, ["post", "pre"]), labels_in_time({}, ["10", "2"])
    (['pre', 'post'], ['2', '10'])
    """
    left = sorted(set(labels), key=by_number)
    earlier: dict[str, set[str]] = {label: set() for label in left}
    for subject in {subject for subject, _ in dates}:
        own = [session for name, session in dates if name == subject and session in earlier]
        for before, after in pairwise(in_time(dates, subject, own)):
            earlier[after].add(before)
    found: list[str] = []
    while left:
        free = (label for label in left if not earlier[label] & set(left))
        found.append(next(free, left[0]))  # none is free where subjects contradict each other
        left.remove(found[-1])
    return found


def by_number(label: str) -> list[tuple[bool, int, str]]:
    """Sort key of a label in which numbers count as such.

    >>> sorted(["month12", "month6", "baseline", "10", "9"], key=by_number)
    ['9', '10', 'baseline', 'month6', 'month12']
    """
    parts = re.findall(r"\d+|\D+", label)
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
