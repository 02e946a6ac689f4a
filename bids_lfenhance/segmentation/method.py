"""The record of ``regions``: how the network of the segmentation is trained."""

from collections.abc import Sequence

import torch

from ..nn.method import Trainable
from ..nn.source import Example
from ..nn.stage import Nets
from .atlas import build_atlas
from .loss import stages
from .network import RegionNet, build, predict
from .score import score
from .settings import ABOUT
from .source import LabelSource


def initialise(nets: Nets, examples: Sequence[Example]) -> None:
    """Set the atlas: the label maps of the training, counted in common space."""
    network = nets["regions"]
    assert isinstance(network, RegionNet)
    network.atlas.copy_(torch.from_numpy(build_atlas((example.labels, example.where[0]) for example in examples)))


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
