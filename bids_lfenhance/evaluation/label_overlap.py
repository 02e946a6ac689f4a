"""How well two label images agree."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


def structures(names: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """The labels of each name, and those of both sides together where a name has a left and a right.

    >>> structures({17: "left hippocampus", 53: "right hippocampus", 16: "brain stem"})
    {'left hippocampus': (17,), 'hippocampus': (17, 53), 'right hippocampus': (53,), 'brain stem': (16,)}
    """
    labels: dict[str, tuple[int, ...]] = {}
    for index, name in names.items():
        labels[name] = (index,)
        if (both := without_side(name)) != name:
            labels[both] = (*labels.get(both, ()), index)
    return labels


def without_side(name: str) -> str:
    """The name of both sides together; a name without a side as it is.

    >>> without_side("left caudate"), without_side("CSF")
    ('caudate', 'CSF')
    """
    return name.removeprefix("left ").removeprefix("right ")


@dataclass(frozen=True)
class Agreement:
    """Of a structure in two label images: ``dice`` in [0, 1]; ``volume_difference`` in % of the reference's volume.

    NaN: Dice where both images lack the structure, the difference where the reference does.
    """

    dice: float
    volume_difference: float


def agreements(
    labels: np.ndarray, reference: np.ndarray, of: Mapping[str, Sequence[int]], cut: Collection[int] = ()
) -> dict[str, Agreement]:
    """The agreement of each structure: Dice 2|A∩B| / (|A| + |B|), volume difference 100 (|A| − |B|) / |B|.

    Both (X, Y, Z) uint8 on one grid; ``of`` as ``structures`` gives it. Labels of one structure count as the same. NaN
    for a structure one of whose labels is ``cut``.

    >>> agreements(np.array([1, 1, 2], np.uint8), np.array([1, 2, 2], np.uint8), {"CSF": (1,)})
    {'CSF': Agreement(dice=0.6666666666666666, volume_difference=100.0)}
    """
    if labels.shape != reference.shape:
        raise ValueError(f"label images must share one grid, found {labels.shape} and {reference.shape}")
    pairs = np.bincount(labels.ravel().astype(np.int64) * 256 + reference.ravel(), minlength=256**2).reshape(256, 256)
    by_structure = {}
    for name, members in of.items():
        index = list(members)
        if set(index) & set(cut):
            by_structure[name] = Agreement(float("nan"), float("nan"))
            continue
        own, other = int(pairs[index].sum()), int(pairs[:, index].sum())
        both = int(pairs[np.ix_(index, index)].sum())
        dice = 2 * both / (own + other) if own + other else float("nan")
        by_structure[name] = Agreement(dice, 100 * (own - other) / other if other else float("nan"))
    return by_structure
