"""The record of ``cfm``: how it is trained, and how it enhances."""

from ...nn.method import Trainable
from ..flow import build
from ..residual import enhancer
from .inference import DRAWING, predict
from .loss import stages
from .settings import ABOUT, CfmSettings

TRAINABLE: Trainable[CfmSettings] = Trainable(ABOUT, build, stages, predict)

ENHANCER = enhancer(DRAWING)
