"""Validation sessions: the same of a subject every time, whatever the training."""

import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from ...nn.batch import PAIR, ValidationSession
from ...nn.example import Example
from ...nn.settings import OnlineTraining
from .material import heads_of
from .pairs import pairs_of
from .parameters import draw_session, draw_stacks
from .source import MARGIN, whole_head
from .stacks import simulate

SESSIONS = (("axial", (0,), True), ("three", (0, 1, 2), True), ("own", (0, 1, 2), False))
"""Name, slots of the stacks, and whether the T1w at high field is a target too."""

MULTIPLE = 16
"""Sides of a head are multiples of this, so that four halvings of a U-Net need no padding."""


def fixed_sessions(example: Example, device: torch.device) -> Iterator[ValidationSession]:
    """Every head of an example in each of ``SESSIONS``, or an acquired ``PAIR``, with each target it has."""
    for pair in pairs_of([example]):
        sides = [-(-(side + 2 * MARGIN) // MULTIPLE) * MULTIPLE for side in pair.mask.shape]
        acquired = pair.with_room(sides, MARGIN).session(range(4), False, device)
        for own in (False, True) if pair.restored else (True,):
            yield ValidationSession(PAIR, own, whole_head(acquired, own))
    for number, found in enumerate(heads_of([example])):
        sides = [-(-(side + 2 * MARGIN) // MULTIPLE) * MULTIPLE for side in found.image.shape]
        head = found.with_room(sides, MARGIN)
        for name, slots, restored in SESSIONS:
            generator = np.random.default_rng([zlib.crc32(head.person.encode()), number, *name.encode()])
            restored = restored and head.kind == "head"  # noqa: PLW2901  (of others there is no such target)
            drawn = draw_session(generator, head, restored, OnlineTraining.lesions)
            drawn = replace(drawn, stacks=draw_stacks(generator, slots, head.image.shape))
            simulated = simulate(head, drawn, device)
            for own in (False, True) if restored else (True,):
                yield ValidationSession(name, own, whole_head(simulated, own))
