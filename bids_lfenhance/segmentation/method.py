"""The record of ``regions``: how the network of the segmentation is trained."""

from collections.abc import Sequence

import torch

from ..nn.batch import Batch, Item, collate
from ..nn.example import Example
from ..nn.method import Trainable
from ..nn.source import Position, shuffled_index
from ..nn.stage import Nets, Stage
from .atlas import build_atlas
from .loss import stages
from .network import RegionNet, build, predict
from .score import score
from .settings import ABOUT
from .synthesis import paint_patch


class LabelSource:
    """Items from label maps, an image synthesised for each; every map once in every pass, in an order of its own."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples

    @property
    def identity(self) -> object:
        """Nothing beyond the examples and the version."""
        return None

    def item(self, stage: Stage, at: Position) -> Item:
        """An image of a label map, its regions, and where they lie in common space."""
        example = self.examples[shuffled_index(len(self.examples), stage, at)]
        return paint_patch(example.labels, example.template_coordinates, stage.patch, at.generator())

    def realise(self, stage: Stage, items: Sequence[Item], at: Sequence[Position], device: torch.device) -> Batch:
        """The items on the device."""
        return collate(items).to(device)


def initialise(nets: Nets, examples: Sequence[Example]) -> None:
    """Set the atlas: the label maps of the training, counted in common space."""
    network = nets["regions"]
    assert isinstance(network, RegionNet)
    network.atlas.copy_(
        torch.from_numpy(build_atlas((example.labels, example.template_coordinates[0]) for example in examples))
    )


TRAINABLE = Trainable(
    ABOUT,
    build,
    stages,
    predict,
    source=LabelSource,
    score=score,
    scores=("dice", "dice_low", "dice_thin"),
    initialise=initialise,
)
