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

    def generator(self, *more: int) -> np.random.Generator:
        """Randomness of this item alone; ``more`` tells several generators of one item apart."""
        return np.random.default_rng([self.seed, self.stage, *more, self.step, self.number])


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
