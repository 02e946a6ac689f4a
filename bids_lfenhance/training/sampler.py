"""Batches of patches, each a pure function of (seed, stage, step): there is no state to save or to share."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..config import CONTRASTS
from .examples import Example

if TYPE_CHECKING:
    from torch import Tensor

Flips = Literal["none", "flip", "all"]
Arrays = dict[str, np.ndarray]
Draw = Callable[[Example, tuple[int, int, int], np.random.Generator], Arrays]

TRIES = 20
"""Corners drawn for one patch before the one with the most brain is taken."""

MIN_BRAIN = 0.5
"""Share of brain in a patch that is good enough."""

_ORDER, _ITEM = 1, 2


@dataclass(frozen=True)
class Augmentation:
    """What is done to a patch, each by chance.

    ``flips``: "none"; "flip" left–right; "all" every axis, and left–right exchanged with front–back (flips and
    quarter turns). ``jitter``: input and target of a contrast times one factor from 1 ± this. ``drop``: chance that
    a contrast is taken out of the input; never all of them.
    """

    flips: Flips = "flip"
    jitter: float = 0.05
    drop: float = 0.3


@dataclass(frozen=True)
class Sampler:
    """Draws the patches of one stage.

    ``examples`` to learn from; ``maps`` the method's direction; ``patch`` (3,) voxels; ``batch`` items per step;
    ``seed`` and ``stage`` (its number) make all the chance there is. ``draw`` makes an item; None: ``draw_patch``.
    """

    examples: Sequence[Example]
    maps: Literal["lf2hf", "hf2lf", "regions"]
    patch: tuple[int, int, int]
    batch: int
    seed: int
    stage: int
    augmentation: Augmentation = Augmentation()
    draw: Draw | None = None

    def item(self, step: int, number: int) -> Arrays:
        """Patch ``number`` of a step, the keys of a batch without its first axis; ``person`` numbers who it is of.

        In every pass over the examples each is seen once, in an order of the pass's own.
        """
        passes, position = divmod(step * self.batch + number, len(self.examples))
        order = np.random.default_rng([self.seed, self.stage, _ORDER, passes]).permutation(len(self.examples))
        generator = np.random.default_rng([self.seed, self.stage, _ITEM, step, number])
        example = self.examples[order[position]]
        if self.draw is not None:
            item = self.draw(example, self.patch, generator)
        else:
            item = draw_patch(example, self.maps, self.patch, self.augmentation, generator)
        return item | {"person": np.array(self.people.index(example.person))}

    @cached_property
    def people(self) -> list[str]:
        """Whose examples these are, in alphabetical order."""
        return sorted({example.person for example in self.examples})

    def items(self, step: int, numbers: Sequence[int]) -> "dict[str, Tensor]":
        """Some patches of a step as a batch of tensors (nn/method.py, ``Batch``)."""
        return collate([self.item(step, number) for number in numbers])


def whole(example: Example, maps: Literal["lf2hf", "hf2lf", "regions"]) -> "dict[str, Tensor]":
    """The whole volume of an example as a batch of one, not augmented."""
    return collate([_crop(example, maps, (0, 0, 0), example.mask.shape)])


def collate(items: Sequence[Arrays]) -> "dict[str, Tensor]":
    """The items stacked along a new first axis, as tensors."""
    import torch

    return {key: torch.from_numpy(np.stack([item[key] for item in items])) for key in items[0]}


def draw_patch(
    example: Example,
    maps: Literal["lf2hf", "hf2lf", "regions"],
    patch: tuple[int, int, int],
    augmentation: Augmentation,
    generator: np.random.Generator,
) -> Arrays:
    """One patch of an example: where there is brain, turned, scaled and thinned out by chance.

    High field is in the contrast of low field where the example has a curve for it; whole volumes never are.
    """
    turned = augmentation.flips == "all" and bool(generator.random() < 0.5)
    shape = (patch[1], patch[0], patch[2]) if turned else patch
    item = _crop(example, maps, _corner(example.mask, shape, generator), shape)
    for name, curve in example.curves.items() if maps == "lf2hf" else ():
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


def _corner(mask: np.ndarray, shape: tuple[int, ...], generator: np.random.Generator) -> tuple[int, int, int]:
    """The corner of a patch with ``MIN_BRAIN`` brain, or the best of ``TRIES``; a patch too large is centred."""
    spare = np.array(mask.shape) - shape
    best, most = (0, 0, 0), -1.0
    for _ in range(TRIES):
        drawn = np.where(spare > 0, generator.integers(0, np.maximum(spare, 0) + 1), spare // 2)
        corner = (int(drawn[0]), int(drawn[1]), int(drawn[2]))
        box = tuple(slice(max(0, start), start + n) for start, n in zip(corner, shape, strict=True))
        share = float(mask[box].mean())
        if share > most:
            best, most = corner, share
        if share >= MIN_BRAIN:
            break
    return best


def _crop(
    example: Example, maps: Literal["lf2hf", "hf2lf", "regions"], corner: tuple[int, int, int], shape: tuple[int, ...]
) -> Arrays:
    """The box of an example, zero where it reaches beyond the volume, all contrasts in their channels."""
    source: list[slice] = []
    room: list[slice] = []  # where in the patch it goes
    for start, n, size in zip(corner, shape, example.mask.shape, strict=True):
        low, high = max(0, start), min(size, start + n)
        source.append(slice(low, high))
        room.append(slice(low - start, high - start))
    fields = ("low", "high") if maps == "lf2hf" else ("high", "low")
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
    shift = np.eye(4)
    shift[:3, 3] = corner
    return item | {"mask": mask, "place": (example.place @ shift).astype(np.float32)}


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
    moved["place"] = (item["place"].astype(np.float64) @ back).astype(np.float32)
    return moved


def _drop(item: Arrays, chance: float, generator: np.random.Generator) -> None:
    """Take contrasts out of the input, each by chance; one of those that were there always stays."""
    there = np.flatnonzero(item["present"])
    kept = generator.random(len(there)) >= chance
    kept[generator.integers(len(there))] |= not kept.any()
    for channel in there[~kept]:
        item["input"][channel] = 0
        item["present"][channel] = False


class Prefetch:
    """The batches of a sampler in order, the next few made in the background; the result does not depend on it."""

    def __init__(
        self, sampler: Sampler, numbers: Sequence[Sequence[int]], first: int, last: int, workers: int = 1
    ) -> None:
        """``numbers``: the items of each chunk of a step; ``first``, ``last`` (excluded): the steps; threads at it."""
        self._sampler, self._numbers, self._last, self._ahead = sampler, numbers, last, workers + 1
        self._pool = ThreadPoolExecutor(workers, "patches")
        self._queue: list[Future[list[tuple[int, dict[str, Tensor]]]]] = []
        self._next = first

    def get(self) -> "list[tuple[int, dict[str, Tensor]]]":
        """The chunks of the next step: the number of the first item, and the batch."""
        while len(self._queue) <= self._ahead and self._next < self._last:
            self._queue.append(self._pool.submit(self._make, self._next))
            self._next += 1
        return self._queue.pop(0).result()

    def close(self) -> None:
        """End the background thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _make(self, step: int) -> "list[tuple[int, dict[str, Tensor]]]":
        return [(chunk[0], self._sampler.items(step, chunk)) for chunk in self._numbers]
