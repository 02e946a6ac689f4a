"""What low field is simulated from while a network learns: T1w heads, real images of other contrasts, label maps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...nn.example import Example

Kind = Literal["head", "image", "labels"]

WHITE, CSF = frozenset({2, 41, 7, 46, 16, 28, 60}), frozenset({4, 5, 14, 15, 24, 43, 44})
"""FreeSurfer's labels of white matter and fluid; the others are grey."""

MIRRORED = {41: 2, 42: 3, 43: 4, 44: 5, 46: 7, 47: 8, 49: 10, 50: 11, 51: 12, 52: 13, 53: 17, 54: 18, 58: 26, 60: 28}
"""Labels of the right side, which are painted as those of the left."""

FULL = 230.0
"""The byte that the 99.9th percentile of a brain becomes."""

ROUNDS = 60
"""Rounds of the mixture's fit to a histogram."""

TRIES = 1000
"""Voxels tried for the centre of a lesion before any will do."""


@dataclass(frozen=True, eq=False)
class TrainingHead:
    """One image or label map, RAS, 1 mm, brain only.

    ``image`` (X, Y, Z) uint8, 0 outside the brain: intensities of which ``FULL`` is the 99.9th percentile, or labels.
    ``posterior`` (256, 3) float32: share of CSF, GM and WM of each intensity of a T1w "head", whose ``means`` (3,) are
    in units of it; other kinds have none. ``person`` as ``dataset/subject``.
    """

    kind: Kind
    image: np.ndarray
    person: str
    posterior: np.ndarray | None = None
    means: tuple[float, ...] = ()

    def place_of_lesion(self, generator: np.random.Generator) -> tuple[int, ...]:
        """A voxel of the brain; of a T1w head one that is grey or white."""
        fits = np.arange(256) > 0
        if self.posterior is not None:
            fits &= self.posterior[:, 1:].sum(axis=1) > 0.6
        place = np.zeros(3, int)
        for _ in range(TRIES):
            place = generator.integers(self.image.shape)
            if fits[self.image[tuple(place)]]:
                break
        return tuple(int(index) for index in place)

    def paint(self, generator: np.random.Generator) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Means and spreads of each label, by number; those of a tissue are alike, left as right."""
        tissue = {name: float(generator.uniform(0.08, 1)) for name in ("white", "grey", "fluid")}
        means, spreads = [0.0], [0.0]
        for label in range(1, int(self.image.max()) + 1):
            name = "white" if label in WHITE else "fluid" if label in CSF else "grey"
            means.append(max(0.03, tissue[name] + 0.06 * float(generator.standard_normal())))
            spreads.append(float(generator.uniform(0, 0.05)))
        for label, left in MIRRORED.items():
            if label < len(means):
                means[label], spreads[label] = means[left], spreads[left]
        return tuple(means), tuple(spreads)

    def with_room(self, patch: Sequence[int], margin: int) -> "TrainingHead":
        """The head with ``margin`` voxels of nothing around it, and no side shorter than ``patch`` (3,)."""
        room = []
        for side, least in zip(self.image.shape, patch, strict=True):
            more = max(2 * margin, least - side)
            room.append((more // 2, more - more // 2))
        return replace(self, image=np.pad(self.image, room))


def t1w_head(image: np.ndarray, person: str) -> TrainingHead:
    """A T1w head with its tissues, found in the histogram of ``image`` (X, Y, Z) uint8."""
    posterior, means = tissue_of_intensity(np.bincount(image.ravel(), minlength=256))
    return TrainingHead("head", image, person, posterior, means)


def tissue_of_intensity(counts: np.ndarray) -> tuple[np.ndarray, tuple[float, ...]]:
    """((256, 3) float32 posteriors, (3,) means in units of ``FULL``) of three Gaussians fitted to a histogram (256,).

    They share one spread: with a spread each, that of fluid, the rarest, grows over the others, and the darkest and the
    brightest voxels belong to no one tissue.
    """
    counts = counts.astype(float)
    counts[0] = 0
    level = np.arange(256.0)
    share = np.cumsum(counts) / counts.sum()
    mean = np.array([(share < part).sum() for part in (0.06, 0.45, 0.85)], float)
    spread, weight = 20.0, np.full(3, 1 / 3)
    posterior = np.zeros((256, 3))
    for _ in range(ROUNDS):
        distance = (level[:, None] - mean) ** 2 / (2 * spread**2)
        likely = weight * np.exp(distance.min(axis=1, keepdims=True) - distance)
        posterior = likely / likely.sum(axis=1, keepdims=True)
        mass = counts[:, None] * posterior
        total = mass.sum(axis=0)
        mean = (mass * level[:, None]).sum(axis=0) / total
        spread = float(np.sqrt((mass * (level[:, None] - mean) ** 2).sum() / counts.sum())) + 0.5
        weight = total / total.sum()
    return posterior.astype(np.float32), tuple(float(value) / FULL for value in mean)


def heads_of(examples: Sequence[Example]) -> list[TrainingHead]:
    """Every image and label map of the examples."""
    heads = []
    for example in examples:
        if example.kind == "stacks":
            continue
        if example.kind == "maps":
            heads.append(TrainingHead("labels", np.asarray(example.labels), example.person))
            continue
        for contrast, stored in zip(example.contrasts["high"], example.high, strict=True):
            image = np.asarray(stored)
            known = contrast == "T1w"
            heads.append(t1w_head(image, example.person) if known else TrainingHead("image", image, example.person))
    return heads
