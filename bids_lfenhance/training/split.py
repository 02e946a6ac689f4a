"""The split of persons into training, validation and test: how it is made and stored, and checks against leaks."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..bids.atomic import atomic_write
from ..errors import InputError

if TYPE_CHECKING:
    from ..nn.weights import LoadedWeights

PARTS = ("train", "validation", "test")

FRACTIONS = (0.7, 0.1, 0.2)
"""Of the persons, for each of ``PARTS``."""


@dataclass(frozen=True)
class Split:
    """Three parts of the persons (``Example.person``), none in two of them; ``how`` says how they were chosen."""

    train: tuple[str, ...]
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    how: str = "given"

    def __post_init__(self) -> None:
        for part in PARTS:
            names = getattr(self, part)
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise InputError(
                    f"Expected every subject of {part} once, found {', '.join(twice)} more often; name each once.",
                    code="bad-split",
                )
        for one, other in combinations(PARTS, 2):
            both = sorted(set(getattr(self, one)) & set(getattr(self, other)))
            if both:
                raise InputError(
                    f"Expected every subject in one part of the split, found {', '.join(both)} in both {one} and "
                    f"{other}; leave each in one."
                )
        if not self.train:
            raise InputError("Expected at least one subject to train on, found none; add subjects or change the split.")


def make_split(subjects: Iterable[str], seed: int, fold: tuple[int, int] | None = None) -> Split:
    """The persons in an order drawn from ``seed``, cut into train, validation and test.

    Each part gets its share of ``FRACTIONS``, validation and test at least one person. ``fold`` (k, n), k from 1: test
    is the k-th of n equal parts instead, so that the n folds test everybody once; validation takes its share of the
    rest.
    """
    persons = sorted(set(subjects))
    order = [persons[i] for i in np.random.default_rng(seed).permutation(len(persons))]
    if fold is not None:
        k, n = fold
        if not (1 <= k <= n and 2 <= n <= len(persons)):
            raise InputError(
                f"Expected from 2 to {len(persons)} folds, as many as subjects at most, and one of them, counted from "
                f"0, found {n} folds and number {k - 1}; change --folds or --fold.",
                code="bad-split",
                folds=n,
            )
        test = order[k - 1 :: n]
        how = f"fold {k} of {n}, seed {seed}"
    else:
        test = order[: _count(FRACTIONS[2], len(persons))]
        how = f"fractions {FRACTIONS}, seed {seed}"
    rest = [person for person in order if person not in test]
    held = _count(FRACTIONS[1] / (FRACTIONS[0] + FRACTIONS[1]), len(rest))
    return Split(tuple(sorted(rest[held:])), tuple(sorted(rest[:held])), tuple(sorted(test)), how)


def _count(share: float, persons: int) -> int:
    return max(1, round(share * persons))


def write_split(split: Split, path: str | Path) -> Path:
    """The path, now holding the split as JSON."""
    return atomic_write(path, json.dumps(asdict(split), indent=1) + "\n")


def read_split(path: str | Path) -> Split:
    """The split of a JSON file with ``train``, ``validation`` and ``test``: lists of subjects."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if unknown := sorted(set(content) - {*PARTS, "how"}):
            raise ValueError(f"it has {', '.join(unknown)}")
        if odd := [part for part in PARTS if not isinstance(content.get(part, []), list)]:
            raise ValueError(f"{', '.join(odd)} is no list")
        parts = {part: tuple(str(person) for person in content.get(part, ())) for part in PARTS}
        return Split(**parts, how=str(content.get("how", f"read from {Path(path).name}")))
    except InputError:
        raise
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"Expected a split in {path}, a JSON file with lists train, validation and test, found none ({error})."
        ) from error


def check_no_leakage(
    split: Split, seen: Mapping[str, Iterable[str]], part: Literal["validation", "test"] = "test"
) -> None:
    """Raise InputError if a test subject was seen; ``seen``: whom weights or a simulator were trained on.

    Test subjects must be unseen by all of them; validation subjects (``part`` "validation") by the weights to begin
    with, which would otherwise seem best before they learn anything.
    """
    for name, persons in seen.items():
        leaked = sorted(set(persons) & set(getattr(split, part)))
        if leaked:
            raise InputError(
                f"Expected {part} subjects that nothing was trained on, found that {name} was trained on "
                f"{', '.join(leaked)}; move them out of the {part} part, or choose other weights."
            )


def check_unseen(split: Split, start: "LoadedWeights") -> None:
    """Raise InputError if the weights to begin with have learned from validation or test subjects.

    Who only validated them, as their recipe says, may validate again.
    """
    name, validated = f"the weights {start.path}", start.recipe.get("split", {}).get("validation", ())
    check_no_leakage(split, {name: start.trained_on})
    check_no_leakage(split, {name: set(start.trained_on) - set(validated)}, "validation")
