"""Label maps as what the network of the regions learns from: an image is synthesised for every item."""

from collections.abc import Sequence

import numpy as np
import torch

from ..nn.batch import Batch, Item, collate
from ..nn.source import Example, Position, order_of, people_of
from ..nn.stage import Stage
from .synthesis import paint_patch


class LabelSource:
    """Items from label maps: each seen once in every pass, in an order of the pass's own."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples
        self.people = people_of(examples)

    @property
    def identity(self) -> object:
        """Nothing beyond the examples and the version."""
        return None

    def item(self, stage: Stage, at: Position) -> Item:
        """An image of a label map, its regions, and where they lie in common space."""
        example = self.examples[order_of(len(self.examples), stage, at)]
        item = paint_patch(example.labels, example.where, stage.patch, at.generator())
        return item | {"person": np.array(self.people.index(example.person))}

    def realise(self, stage: Stage, items: Sequence[Item], at: Sequence[Position], device: torch.device) -> Batch:
        """The items on the device."""
        return collate(items).to(device)
