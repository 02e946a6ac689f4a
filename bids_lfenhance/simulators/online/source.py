"""A source that simulates as the training goes: a pool of whole heads on the device, of which every step cuts patches.

Head j of the pool is a function of (seed, stage, j), and the step says which heads are in it, so a training that is
resumed fills it with the same ones. Even heads are T1w with both targets, odd ones of any kind in the contrast of the
scan; of the items of a step, those with an even number aim at the T1w, the others at the contrast of the scan.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ...nn.batch import Batch, Item, required
from ...nn.estimate import network_input
from ...nn.example import Example
from ...nn.settings import OnlineTraining
from ...nn.source import HeadEstimate, Position, best_corner
from ...nn.stage import Stage
from .fields import Noise
from .material import TrainingHead, heads_of
from .pairs import PlannedPair, pairs_of, plan_pair
from .parameters import SessionParameters, draw_session
from .stacks import Simulated, prepare_noise, simulate

FIRST = 8
"""Heads in the pool when a stage begins."""

MARGIN = 16
"""Empty voxels around a brain: room for its deformation, the blur of a stack and motion. With 8, one deformed head in
six touched the border."""

BOTH = 0.15
"""How often an item in the contrast of the scan is cut from a head whose T1w is a target in the same step."""

TRIES, ENOUGH_BRAIN = 8, float(np.nextafter(0.2, 1))
"""Corners tried for a patch, and the share of brain that is enough: any above 0.2."""

_POOL = 3
"""Stream of the heads of a pool, beside those of ``nn.source``."""


@dataclass(frozen=True)
class Planned:
    """A head of the pool before it is simulated: number in the pool, what was drawn, and the noise made ahead."""

    number: int
    source: TrainingHead
    drawn: SessionParameters
    noise: Noise

    def make(self, device: torch.device) -> Simulated:
        """What a network is shown and its targets."""
        return simulate(self.source, self.drawn, device, self.noise)


@dataclass(frozen=True, eq=False)
class Entry:
    """A head of the pool; ``brain`` (X, Y, Z) bool on the processor.

    ``estimates``: what a patch's ``mean`` and ``scale`` are cut from, (1, 1, X, Y, Z) in half precision, by whether
    the contrast of the scan is kept; made when first asked for.
    """

    simulated: Simulated
    brain: np.ndarray
    estimates: dict[bool, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def estimate(self, make: HeadEstimate, own: bool) -> tuple[Tensor, Tensor]:
        """The estimate of the whole head, as in use: from a patch, a network with normalisation gives another."""
        own = own or self.simulated.high is None
        if own not in self.estimates:
            made = make(whole_head(self.simulated, own))
            self.estimates[own] = required(made.mean).half(), required(made.scale).half()
        return self.estimates[own]


class OnlineSource:
    """Patches of low field simulated during training; where a kind of heads is missing, the others replace it.

    ``estimate`` adds ``mean`` and ``scale`` to whole heads, once for each in the pool; None: patches have neither.
    """

    def __init__(
        self, examples: Sequence[Example], settings: OnlineTraining, estimate: HeadEstimate | None = None
    ) -> None:
        heads, self._pairs = heads_of(examples), pairs_of(examples)
        self.settings, self._estimate = settings, estimate
        self._heads = {kind: [head for head in heads if head.kind == kind] for kind in ("head", "labels", "image")}
        self._pool: dict[tuple[int, int, int], Entry] = {}

    @property
    def identity(self) -> object:
        """How often each kind is drawn, the pool, and the estimate; the heads are the training's examples."""
        s = self.settings
        mixture = {"labels": s.label_maps, "images": s.other_contrasts, "lesions": s.lesions, "pairs": s.pairs}
        estimate = {"estimate": self._estimate.identity} if self._estimate else {}
        return {"mixture": mixture, "pool": s.pool, "renew": s.renew, **estimate}

    def heads_in(self, step: int) -> range:
        """Numbers of the heads that are in the pool at a step."""
        size = self.settings.pool
        newest = min(FIRST, size) + step // self.settings.renew
        return range(max(0, newest - size), newest)

    def item(self, stage: Stage, at: Position) -> Item:
        """The head that joins the pool at this step, with its noise, where one does; in the step's first item."""
        joins = at.number == 0 and at.step > 0 and at.step % self.settings.renew == 0
        new = [self.plan(stage, at.seed, at.stage, self.heads_in(at.step)[-1])] if joins else []
        for planned in new:
            if isinstance(planned, Planned):
                prepare_noise(planned.drawn, planned.source.image.shape, planned.noise)
        return {"new": new}

    def plan(self, stage: Stage, seed: int, number_of_stage: int, number: int) -> Planned | PlannedPair:
        """Head ``number`` of the pool of a stage: whose it is and what is drawn of it."""
        generator = np.random.default_rng([seed, number_of_stage, _POOL, number])
        pairs = [pair for pair in self._pairs if pair.restored or number % 2]
        if pairs and (generator.random() < self.settings.pairs or not any(self._heads.values())):
            pair = pairs[int(generator.integers(len(pairs)))].with_room(stage.patch, MARGIN)
            return plan_pair(number, pair, generator)
        restored = number % 2 == 0 and bool(self._heads["head"])
        heads = self._heads["head"] if restored else self._of_any_kind(generator)
        head = heads[int(generator.integers(len(heads)))].with_room(stage.patch, MARGIN)
        drawn = draw_session(generator, head, restored, self.settings.lesions)
        return Planned(number, head, drawn, Noise(drawn.seed))

    def _of_any_kind(self, generator: np.random.Generator) -> list[TrainingHead]:
        """The heads of a kind, drawn from the kinds available."""
        labels, images = self.settings.label_maps, self.settings.other_contrasts
        shares = {"head": max(0.0, 1 - labels - images), "labels": labels, "image": images}
        available = {kind: share for kind, share in shares.items() if self._heads[kind]}
        kinds, weights = list(available), np.array(list(available.values())) + 1e-9
        return self._heads[kinds[int(generator.choice(len(kinds), p=weights / weights.sum()))]]

    def realise(self, stage: Stage, items: Sequence[Item], at: Sequence[Position], device: torch.device) -> Batch:
        """Patches on the device; what the pool lacks is simulated first."""
        with torch.no_grad():
            self._fill(stage, at[0], device, [new for item in items for new in item["new"]])
            return joined([self._cut(stage, one) for one in at])

    def _fill(self, stage: Stage, at: Position, device: torch.device, made: Iterable[Planned | PlannedPair]) -> None:
        ready = {planned.number: planned for planned in made}
        wanted = {(at.seed, at.stage, number) for number in self.heads_in(at.step)}
        for key in self._pool.keys() - wanted:
            del self._pool[key]
        for key in sorted(wanted - self._pool.keys()):
            planned = ready.get(key[2]) or self.plan(stage, *key)
            simulated = planned.make(device).packed()
            self._pool[key] = Entry(simulated, simulated.brain.cpu().numpy())

    def _cut(self, stage: Stage, at: Position) -> Batch:
        """One item: a patch of a head of the pool, where there is brain."""
        generator = at.generator()
        own = at.number % 2 == 1
        odd = own and generator.random() >= BOTH
        numbers = [number for number in self.heads_in(at.step) if number % 2 == int(odd)]
        entry = self._pool[(at.seed, at.stage, numbers[int(generator.integers(len(numbers)))])]
        corner = best_corner(entry.brain, stage.patch, generator, TRIES, ENOUGH_BRAIN)
        batch = patch_of(entry.simulated, own, corner, stage.patch)
        if self._estimate is None:
            return batch
        box = _box(corner, stage.patch)
        mean, scale = (whole[0, 0][box].float()[None, None] for whole in entry.estimate(self._estimate, own))
        return replace(batch, mean=mean, scale=scale)


def patch_of(simulated: Simulated, own: bool, corner: Sequence[int], patch: Sequence[int]) -> Batch:
    """A batch of one, (1, C, *patch): ``input`` of the network, target in the contrast asked for, brain, lesions."""
    box = _box(corner, patch)
    device = simulated.image.device
    target = simulated.own if own or simulated.high is None else simulated.high
    kept = own or simulated.high is None
    inputs = network_input(
        simulated.image[(slice(None), *box)].float()[None],
        simulated.covered[(slice(None), *box)][None],
        simulated.present[None],
        simulated.resolution[None],
        torch.tensor([float(kept)], device=device),
    )
    return Batch(
        inputs,
        torch.ones(1, 1, dtype=torch.bool, device=device),
        simulated.brain[box][None, None],
        target[box].float()[None, None],
        lesions=simulated.lesions[box].float()[None, None],
    )


def _box(corner: Sequence[int], patch: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(start, start + side) for start, side in zip(corner, patch, strict=True))


def whole_head(simulated: Simulated, own: bool) -> Batch:
    """All of a head as a batch of one."""
    return patch_of(simulated, own, (0, 0, 0), simulated.brain.shape)


def joined(batches: Sequence[Batch]) -> Batch:
    """The items of several batches that have the same fields in one."""
    names = [name for name, value in vars(batches[0]).items() if value is not None]
    return Batch(**{name: torch.cat([getattr(batch, name) for batch in batches]) for name in names})
