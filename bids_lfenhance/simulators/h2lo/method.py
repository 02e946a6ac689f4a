"""The record of ``h2lo`` as what is trained, from high to low field."""

from ...nn.method import Trainable
from .inference import degrade_batch
from .loss import stages
from .network import build
from .settings import ABOUT

TRAINABLE = Trainable(ABOUT, build, stages, lambda nets, batch, settings, generator: degrade_batch(nets, batch))
