"""Pairs of low-field sessions of the same people, which test–retest compares."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from .structures import HIGH
from .subject_values import SubjectValues

POOLED = "first–second in time"
"""The pair of each person's own first two sessions."""


def session_pairs(volumes: SubjectValues, order: Mapping[str, Sequence[str]]) -> tuple[SubjectValues, SubjectValues]:
    """The low-field volumes of the earlier and of the later session of every pair that somebody has.

    Both have the pairs ("A–B") as sessions. The one to show comes first: the pair that most people have, or ``POOLED``
    where half of the people with several sessions lack that pair, or somebody had its sessions in the other order. The
    other pairs follow by label; beside ``POOLED``, only those of more than one person. ``order``: the sessions of each
    subject who has several, in time.
    """
    low = [np.isfinite(cells) for key, cells in volumes.cells.items() if key[1] != HIGH]
    known = np.any([np.zeros((len(volumes.subjects), len(volumes.sessions)), bool), *low], axis=0)
    place = {label: number for number, label in enumerate(volumes.sessions)}
    own = [
        [place[label] for label in order.get(subject, ()) if known[row, place[label]]]
        for row, subject in enumerate(volumes.subjects)
    ]
    counts = Counter(pair for sessions in own for pair in combinations(sorted(sessions), 2))
    pairs = sorted(counts)
    columns: dict[str, np.ndarray] = {}
    if pairs:
        best = max(pairs, key=lambda pair: counts[pair])  # the earliest of several
        turned = any(set(best) <= set(some) and some.index(best[0]) > some.index(best[1]) for some in own)
        if turned or 2 * counts[best] <= sum(len(some) > 1 for some in own):
            columns[POOLED] = np.array([some[:2] if len(some) > 1 else (-1, -1) for some in own])
            pairs = [pair for pair in pairs if counts[pair] > 1]
        else:
            pairs = [best, *(pair for pair in pairs if pair != best)]
        for pair in pairs:
            name = "–".join(volumes.sessions[number] for number in pair)
            columns[name] = np.tile(pair, (len(volumes.subjects), 1))
    return _columns(volumes, columns, 0), _columns(volumes, columns, 1)


def _columns(volumes: SubjectValues, columns: Mapping[str, np.ndarray], which: int) -> SubjectValues:
    """``columns``: by pair, (subjects, 2) the numbers of both sessions of each subject, −1 for none."""
    result = SubjectValues(volumes.names, volumes.subjects, list(columns), averaged=False)
    at = np.array([pair[:, which] for pair in columns.values()], int).reshape(len(columns), len(volumes.subjects)).T
    for key, cells in volumes.cells.items():
        if key[1] != HIGH:
            padded = np.column_stack([cells, np.full(len(cells), np.nan)])
            result.cells[key] = np.take_along_axis(padded, at, axis=1)
    return result
