"""One value per subject and low-field session under each key: what the tables of a cohort are made from."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .agreement import subject_means

ALL = "all"
"""The session under which a subject's sessions are averaged."""

Key = tuple[str, ...]


class SubjectValues:
    """``cells``: key → (subjects, sessions) float64, NaN where there is none; a key has one word per name.

    ``names`` say what the words of a key are; keys stay in the order in which they came. ``averaged``: whether a mean
    over the sessions is one of ``labels``.
    """

    def __init__(
        self, names: Sequence[str], subjects: Sequence[str], sessions: Sequence[str], averaged: bool = True
    ) -> None:
        self.names, self.subjects, self.sessions = tuple(names), tuple(subjects), tuple(sessions)
        self.averaged = averaged
        self.cells: dict[Key, np.ndarray] = {}
        self._row = {subject: number for number, subject in enumerate(subjects)}
        self._column = {session: number for number, session in enumerate(sessions)}

    def like(self, names: Sequence[str]) -> "SubjectValues":
        """An empty table of the same subjects and sessions, with other names."""
        return SubjectValues(names, self.subjects, self.sessions, self.averaged)

    def empty(self) -> np.ndarray:
        """(subjects, sessions) NaN."""
        return np.full((len(self.subjects), len(self.sessions)), np.nan)

    def add(self, key: Key, where: tuple[str, str], value: Any) -> float | None:
        """Store a value, if it is a finite number; the one that it replaces, or None.

        ``where``: subject and session.
        """
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        cells = self.cells.get(key)
        if cells is None:
            cells = self.cells[key] = self.empty()
        place = self._row[where[0]], self._column[where[1]]
        before = cells[place]
        cells[place] = value
        return None if math.isnan(before) else float(before)

    def get(self, *key: str) -> np.ndarray:
        """(subjects, sessions); all NaN where there is no such key."""
        cells = self.cells.get(key)
        return self.empty() if cells is None else cells

    def labels(self) -> tuple[str, ...]:
        """The sessions with any value, before them ``ALL`` where there is more than one and they are ``averaged``."""
        known = [np.isfinite(cells).any(axis=0) for cells in self.cells.values()]
        measured = np.any(known, axis=0) if known else np.zeros(len(self.sessions), bool)
        labels = tuple(label for label, yes in zip(self.sessions, measured, strict=True) if yes)
        return (ALL, *labels) if self.averaged and len(labels) > 1 else labels

    def columns(self, cells: np.ndarray, session: str) -> np.ndarray:
        """(subjects, 1) of one session, or under ``ALL`` (subjects, sessions)."""
        return cells if session == ALL else cells[:, [self._column[session]]]

    def of(self, cells: np.ndarray, session: str) -> np.ndarray:
        """(subjects,) of one session, or under ``ALL`` the mean of the sessions that a subject has; NaN for none."""
        if session != ALL:
            return cells[:, self._column[session]]
        known = np.isfinite(cells)
        return np.where(known, cells, 0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)

    def both(self, first: np.ndarray, second: np.ndarray, session: str) -> tuple[np.ndarray, np.ndarray]:
        """(subjects, 1) twice, or under ``ALL`` (subjects, sessions), NaN where a session has not both."""
        a, b = (self.columns(cells, session) for cells in (first, second))
        known = np.isfinite(a) & np.isfinite(b)
        return np.where(known, a, np.nan), np.where(known, b, np.nan)

    def paired(self, first: np.ndarray, second: np.ndarray, session: str) -> tuple[np.ndarray, np.ndarray]:
        """(n,) twice: of the subjects that have both; under ``ALL`` over the sessions that have both."""
        a, b = self.both(first, second, session)
        known = np.isfinite(a).any(axis=1)
        return subject_means(a[known]), subject_means(b[known])
