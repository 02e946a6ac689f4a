"""What a training learns from, item by item; every item is a function of its position, so nothing has to be saved."""

from collections.abc import Sequence
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


def shuffled_index(count: int, stage: Stage, at: Position) -> int:
    """Which of ``count`` examples an item is of: in every pass each is seen once, in an order of the pass's own."""
    passes, position = divmod(at.step * stage.batch + at.number, count)
    order = np.random.default_rng([at.seed, at.stage, _ORDER, passes]).permutation(count)
    return int(order[position])


def best_corner(
    mask: np.ndarray, shape: Sequence[int], generator: np.random.Generator, tries: int, enough: float
) -> tuple[int, int, int]:
    """The corner of a patch of which a share ``enough`` is in ``mask`` (X, Y, Z) bool, or the best of ``tries``.

    A patch, ``shape`` (3,), that is too large is centred.
    """
    spare = np.array(mask.shape) - shape
    best, most = (0, 0, 0), -1.0
    for _ in range(tries):
        drawn = np.where(spare > 0, generator.integers(0, np.maximum(spare, 0) + 1), spare // 2)
        corner = (int(drawn[0]), int(drawn[1]), int(drawn[2]))
        box = tuple(slice(max(0, start), start + n) for start, n in zip(corner, shape, strict=True))
        share = float(mask[box].mean())
        if share > most:
            best, most = corner, share
        if share >= enough:
            break
    return best


class HeadEstimate(Protocol):
    """Adds the estimate that a method builds on to whole heads."""

    @property
    def identity(self) -> str:
        """SHA-256 of the weights of the estimate."""

    def __call__(self, batch: Batch) -> Batch:
        """The batch, of one whole head, with ``mean`` and ``scale``."""


class Source(Protocol):
    """What a training learns from. An item is a function of the stage and of its position, and of nothing else."""

    @property
    def identity(self) -> object:
        """Plain JSON of all that decides the items: a checkpoint is continued only where it is the same."""

    def item(self, stage: Stage, at: Position) -> Item:
        """One item as numpy arrays; called on CPU threads, ahead of time, in any order."""

    def realise(self, stage: Stage, items: Sequence[Item], at: Sequence[Position], device: torch.device) -> Batch:
        """The items as a batch on the device; called once a step, before its phases, in the training's own thread.

        What is simulated on the device is simulated here, with randomness from the positions.
        """
