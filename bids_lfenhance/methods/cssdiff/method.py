"""The record of ``cssdiff``: how it is trained, and how it enhances."""

from ...nn.method import Trainable
from ..residual import enhancer
from .inference import DRAWING, predict
from .loss import stages
from .network import build
from .settings import ABOUT, CssDiffSettings

TRAINABLE: Trainable[CssDiffSettings] = Trainable(ABOUT, build, stages, predict)

ENHANCER = enhancer(DRAWING)
