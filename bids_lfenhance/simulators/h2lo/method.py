"""The record of ``h2lo`` as what is trained, from high to low field."""

import torch

from ...nn.batch import Batch
from ...nn.method import Trainable
from ...nn.stage import Nets
from .inference import degrade_batch
from .loss import stages
from .network import build
from .settings import ABOUT, H2loSettings


def predict(nets: Nets, batch: Batch, settings: H2loSettings, generator: torch.Generator) -> torch.Tensor:
    """(B, C, X, Y, Z) low field, scaled; zero for contrasts without high field or without an operator."""
    return degrade_batch(nets, batch)


TRAINABLE = Trainable(ABOUT, build, stages, predict)
