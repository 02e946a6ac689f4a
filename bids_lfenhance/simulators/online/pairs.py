"""Acquired pairs among simulated sessions: their stacks as they are, some left out, left and right exchanged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...nn.estimate import RESTORED
from ...nn.example import Example
from .fields import percentile
from .material import FULL
from .stacks import Simulated

SLOT_FULL = 120
"""The byte that the 95th percentile of a slot, in the brain, becomes."""

ALL_STACKS = 0.5
"""How often all stacks of a pair are shown; else some of them."""


@dataclass(frozen=True, eq=False)
class Pair:
    """One contrast of a session at both fields, RAS, 1 mm.

    ``slots`` (4, X, Y, Z) uint8 and ``covered`` (4, X, Y, Z) bool, see ``training.acquired``; ``resolution`` (4, 3)
    float32 mm, zero where there is no stack; ``high`` (X, Y, Z) uint8; ``curve`` (2, K) from high field to the contrast
    of the scan; ``mask`` (X, Y, Z) bool, brain; ``restored``: high field is a target as it is, too.
    """

    slots: np.ndarray
    covered: np.ndarray
    resolution: np.ndarray
    high: np.ndarray
    curve: np.ndarray
    mask: np.ndarray
    restored: bool

    def with_room(self, sides: Sequence[int], margin: int) -> "Pair":
        """The pair with ``margin`` voxels of nothing around it, and no side shorter than ``sides`` (3,)."""
        room = []
        for side, least in zip(self.mask.shape, sides, strict=True):
            more = max(2 * margin, least - side)
            room.append((more // 2, more - more // 2))
        slots, covered = (np.pad(one, [(0, 0), *room]) for one in (self.slots, self.covered))
        return replace(self, slots=slots, covered=covered, high=np.pad(self.high, room), mask=np.pad(self.mask, room))

    def session(self, kept: Sequence[int], flip: bool, device: torch.device) -> Simulated:
        """What a network is shown and its targets, with the stacks of the slots ``kept``."""

        def tensor(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.array(array[..., ::-1, :, :] if flip else array)).to(device)

        present = torch.zeros(4, device=device)
        present[[slot for slot in kept if self.resolution[slot, 0] > 0]] = 1
        brain = tensor(self.mask)
        own = np.interp(self.high / FULL, *self.curve).astype(np.float32)
        own, high = (tensor(one) for one in (own, self.high.astype(np.float32)))
        return Simulated(
            tensor(self.slots).float() / SLOT_FULL * present[:, None, None, None],
            tensor(self.covered) & (present > 0)[:, None, None, None],
            present > 0,
            torch.from_numpy(self.resolution).to(device) * present[:, None],
            (own / percentile(own[brain])).clamp(0, 4),
            (high / percentile(high[brain])).clamp(0, 4) if self.restored else None,
            brain,
            torch.zeros_like(high),
        )


@dataclass(frozen=True)
class PlannedPair:
    """A pair that joins the pool as ``number``, with the stacks of the slots ``kept``."""

    number: int
    source: Pair
    kept: tuple[int, ...]
    flip: bool

    def make(self, device: torch.device) -> Simulated:
        """What a network is shown and its targets."""
        return self.source.session(self.kept, self.flip, device)


def plan_pair(number: int, pair: Pair, generator: np.random.Generator) -> PlannedPair:
    """All stacks of the pair, or some, drawn."""
    slots = np.flatnonzero(pair.resolution[:, 0] > 0)
    if generator.random() >= ALL_STACKS:
        slots = generator.permutation(slots)[: generator.integers(1, len(slots) + 1)]
    return PlannedPair(number, pair, tuple(int(slot) for slot in slots), bool(generator.random() < 0.5))


def pairs_of(examples: Sequence[Example]) -> list[Pair]:
    """Every contrast of the acquired pairs among the examples."""
    return [
        Pair(
            np.asarray(example.slots[number]), np.asarray(example.covered[number], bool),
            np.asarray(example.resolution[number]), np.asarray(example.high[number]), example.curves[contrast],
            np.asarray(example.mask, bool), contrast in RESTORED,
        )
        for example in examples if example.kind == "stacks"
        for number, contrast in enumerate(example.contrasts["high"])
    ]  # fmt: skip
