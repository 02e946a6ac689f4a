"""What a method that learns from simulated sessions is judged by."""

from dataclasses import dataclass

from .batch import Batch

PAIR = "pair"
"""Name of an acquired session; others are simulated."""


@dataclass(frozen=True, eq=False)
class Judged:
    """A whole head, a batch of one with its target; ``name`` of the session, ``own``: the scan's contrast is kept."""

    name: str
    own: bool
    batch: Batch
