"""Batches of patches, each a pure function of (seed, stage, step): there is no state to save or to share."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from ..config import CONTRASTS
from ..imaging.grid import translation
from ..nn.batch import Batch, Item, collate
from ..nn.example import Example
from ..nn.method import Direction
from ..nn.source import Position, Source, best_corner, shuffled_index
from ..nn.stage import Stage

Flips = Literal["none", "flip", "all"]
Arrays = dict[str, np.ndarray]

TRIES = 20
"""Corners drawn for one patch before the one with the most brain is taken."""

MIN_BRAIN = 0.5
"""Share of brain in a patch that is good enough."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to a patch, each at random.

    ``flips``: "none"; "flip" left–right; "all" every axis, and left–right exchanged with front–back (flips and
    quarter turns). ``jitter``: input and target of a contrast times one factor from 1 ± this. ``drop``: chance that
    a contrast is taken out of the input; never all of them.
    """

    flips: Flips = "flip"
    jitter: float = 0.05
    drop: float = 0.3


class ExampleSource:
    """Patches of examples. A stage learns from those of its kind; from all, where there are none of it.

    ``examples`` to learn from; ``direction`` says which field is the input.
    """

    def __init__(
        self, examples: Sequence[Example], direction: Direction, augmentation: Augmentation | None = None
    ) -> None:
        self.examples, self.direction = examples, direction
        self.augmentation = augmentation or Augmentation()

    @property
    def identity(self) -> object:
        """Nothing beyond the examples and the options of the training."""
        return None

    def item(self, stage: Stage, at: Position) -> Arrays:
        """One patch, flipped, scaled and thinned out at random."""
        examples = examples_of_stage(self.examples, stage)
        example = examples[shuffled_index(len(examples), stage, at)]
        return draw_patch(example, self.direction, stage.patch, self.augmentation, at.generator())

    def realise(self, stage: Stage, items: Sequence[Item], at: Sequence[Position], device: torch.device) -> Batch:
        """The patches on the device."""
        return collate(items).to(device)


def examples_of_stage(examples: Sequence[Example], stage: Stage) -> list[Example]:
    """The examples of the kind that the stage learns from; all where there are none of it."""
    return [example for example in examples if stage.data in (example.kind, "all")] or list(examples)


def whole(example: Example, direction: Direction) -> Batch:
    """The whole volume of an example as a batch of one, not augmented."""
    return collate([_crop(example, direction, (0, 0, 0), example.mask.shape)])


def draw_patch(
    example: Example,
    direction: Direction,
    patch: tuple[int, int, int],
    augmentation: Augmentation,
    generator: np.random.Generator,
) -> Arrays:
    """One patch of an example: where there is brain, turned, scaled and thinned out at random.

    High field is in the contrast of low field where the example has a curve for it; whole volumes never are.
    """
    turned = augmentation.flips == "all" and bool(generator.random() < 0.5)
    shape = (patch[1], patch[0], patch[2]) if turned else patch
    corner = best_corner(example.mask, shape, generator, TRIES, MIN_BRAIN)
    item = _crop(example, direction, corner, shape)
    for name, curve in example.curves.items() if direction == "lf2hf" else ():
        target = item["target"][CONTRASTS.index(name)]
        target[:] = np.interp(target, *curve)
    if turned:
        item = _moved(item, _exchange())
    axes = {"none": 0, "flip": 1, "all": 3}[augmentation.flips]
    for axis in np.flatnonzero(generator.random(3) < 0.5):
        if axis < axes:
            item = _moved(item, _mirror(int(axis), patch[axis]))
    gain = generator.uniform(1 - augmentation.jitter, 1 + augmentation.jitter, len(CONTRASTS)).astype(np.float32)
    for key in ("input", "target"):
        item[key] = item[key] * gain[:, None, None, None]
    _drop(item, augmentation.drop, generator)
    return item


def _crop(example: Example, direction: Direction, corner: tuple[int, int, int], shape: tuple[int, ...]) -> Arrays:
    """The box of an example, zero where it reaches beyond the volume, all contrasts in their channels."""
    source: list[slice] = []
    room: list[slice] = []  # where in the patch it goes
    for start, n, size in zip(corner, shape, example.mask.shape, strict=True):
        low, high = max(0, start), min(size, start + n)
        source.append(slice(low, high))
        room.append(slice(low - start, high - start))
    fields = ("low", "high") if direction == "lf2hf" else ("high", "low")
    item: Arrays = {}
    for key, flag, field in zip(("input", "target"), ("present", "wanted"), fields, strict=True):
        image = np.zeros((len(CONTRASTS), *shape), np.float32)
        stored = example.low if field == "low" else example.high
        for channel, name in zip(stored, example.contrasts[field], strict=True):
            image[CONTRASTS.index(name)][tuple(room)] = channel[tuple(source)]
        item[key] = image
        item[flag] = np.array([name in example.contrasts[field] for name in CONTRASTS])
    mask = np.zeros((1, *shape), bool)
    mask[0][tuple(room)] = example.mask[tuple(source)]
    return item | {"mask": mask, "to_template": (example.to_template @ translation(corner)).astype(np.float32)}


def _mirror(axis: int, size: int) -> np.ndarray:
    """(4, 4) index after a flip of an axis → index before it."""
    matrix = np.eye(4)
    matrix[axis, axis], matrix[axis, 3] = -1, size - 1
    return matrix


def _exchange() -> np.ndarray:
    """(4, 4) index after the first two axes changed places → index before it; its own inverse."""
    return np.eye(4)[[1, 0, 2, 3]]


def _moved(item: Mapping[str, np.ndarray], back: np.ndarray) -> Arrays:
    """The item with its images flipped or turned; ``back`` (4, 4) signed permutation, new index → old index."""
    turn = np.abs(back[:3, :3]).argmax(axis=0)
    flipped = [1 + axis for axis in range(3) if back[:3, axis].sum() < 0]
    moved = dict(item)
    for key in ("input", "target", "mask"):
        moved[key] = np.flip(item[key].transpose(0, *(1 + turn)), flipped)
    moved["to_template"] = (item["to_template"].astype(np.float64) @ back).astype(np.float32)
    return moved


def _drop(item: Arrays, chance: float, generator: np.random.Generator) -> None:
    """Take contrasts out of the input, each at random; one of those that were present always stays."""
    present = np.flatnonzero(item["present"])
    kept = generator.random(len(present)) >= chance
    kept[generator.integers(len(present))] |= not kept.any()
    for channel in present[~kept]:
        item["input"][channel] = 0
        item["present"][channel] = False


MicroBatch = tuple[Sequence[Position], Sequence[Item]]
"""The items of a step that go through the networks at once, and their positions."""


class Prefetch:
    """The items of a stage, step by step, the next few made on threads; the result does not depend on how many."""

    def __init__(
        self,
        source: Source,
        stage: Stage,
        numbers: Sequence[Sequence[int]],
        start: Position,
        workers: int = 1,
    ) -> None:
        """``numbers``: the items of each group of a step; ``start``: the position of the next step's first item."""
        self._source, self._stage, self._numbers, self._ahead = source, stage, numbers, workers + 1
        self._pool = ThreadPoolExecutor(workers, "patches")
        self._queue: list[Future[list[MicroBatch]]] = []
        self._next = start

    def get(self) -> list[MicroBatch]:
        """The groups of the next step."""
        while len(self._queue) <= self._ahead and self._next.step < self._stage.steps:
            self._queue.append(self._pool.submit(self._make, self._next))
            self._next = replace(self._next, step=self._next.step + 1)
        return self._queue.pop(0).result()

    def close(self) -> None:
        """End the background threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _make(self, at: Position) -> list[MicroBatch]:
        groups = [[replace(at, number=number) for number in numbers] for numbers in self._numbers]
        return [(group, [self._source.item(self._stage, one) for one in group]) for group in groups]
