"""What a training learns from, item by item; every item is a function of its position, so nothing has to be saved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from .batch import Batch, Item
from .stage import Stage


@dataclass(frozen=True)
class Position:
    """Which item of a training: all randomness of an item follows from these four numbers.

    ``stage`` number of the stage, ``step`` in it, ``number`` of the item in the step.
    """

    seed: int
    stage: int
    step: int
    number: int

    def generator(self) -> np.random.Generator:
        """Randomness of this item alone."""
        return np.random.default_rng([self.seed, self.stage, _ITEM, self.step, self.number])


_ORDER, _ITEM = 1, 2
"""Streams of random numbers: orders of passes; items."""


def order_of(count: int, stage: Stage, at: Position) -> int:
    """Which of ``count`` examples an item is of: in every pass each is seen once, in an order of the pass's own."""
    passes, position = divmod(at.step * stage.batch + at.number, count)
    order = np.random.default_rng([at.seed, at.stage, _ORDER, passes]).permutation(count)
    return int(order[position])


class Example(Protocol):
    """What methods with a source of their own use of an example (``training.examples.Example``)."""

    @property
    def kind(self) -> str:
        """Which of the following it has.

        "heads" have images, "maps" labels, "labels" these and ``template_coordinates``; "stacks" all else but labels.
        """

    @property
    def contrasts(self) -> Mapping[str, tuple[str, ...]]:
        """``high``: the contrasts of ``high``."""

    @property
    def high(self) -> np.ndarray:
        """(n, X, Y, Z) uint8, high field of the brain."""

    @property
    def slots(self) -> np.ndarray:
        """(n, 4, X, Y, Z) uint8, acquired stacks."""

    @property
    def covered(self) -> np.ndarray:
        """(n, 4, X, Y, Z) uint8, 1 where a stack covers."""

    @property
    def resolution(self) -> np.ndarray:
        """(n, 4, 3) float32 mm, zero where there is no stack."""

    @property
    def mask(self) -> np.ndarray:
        """(X, Y, Z) bool, brain."""

    @property
    def curves(self) -> Mapping[str, np.ndarray]:
        """(2, K) by contrast, from high field to the contrast of low field."""

    @property
    def person(self) -> str:
        """``dataset/subject``."""

    @property
    def labels(self) -> np.ndarray:
        """(X, Y, Z) uint8, a label map."""

    @property
    def template_coordinates(self) -> np.ndarray:
        """(W, 3, X/2, Y/2, Z/2) float16, where its cells lie in common space, by W warps."""


def people_of(examples: Sequence[Example]) -> list[str]:
    """Whose examples these are, in alphabetical order."""
    return sorted({example.person for example in examples})


class Source(Protocol):
    """What a training learns from. An item is a function of the stage and of its position, and of nothing else."""

    @property
    def identity(self) -> object:
        """Plain JSON of all that decides the items: a checkpoint only goes on where it is the same."""

    @property
    def people(self) -> Sequence[str]:
        """Names of the persons it draws from, ``dataset/subject``, in the order that ``Batch.person`` counts them."""

    def item(self, stage: Stage, at: Position) -> Item:
        """One item as numpy arrays; called on CPU threads, ahead of time, in any order."""

    def realise(self, stage: Stage, items: Sequence[Item], at: Sequence[Position], device: torch.device) -> Batch:
        """The items as a batch on the device; called once a step, before its phases, in the training's own thread.

        What is simulated on the device is simulated here, with randomness from the positions.
        """
