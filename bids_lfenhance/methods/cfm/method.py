"""The record of ``cfm``: how it is trained, and how it enhances."""

from ...nn.method import Trainable
from ..flow import build
from ..residual import enhancer
from ..residual_training import SCORES, EstimateSource, judge, measure
from .inference import DRAWING, predict
from .loss import losses, stages
from .settings import ABOUT, CfmSettings

TRAINABLE: Trainable[CfmSettings] = Trainable(
    ABOUT, build, stages, predict, completes=EstimateSource, judge=judge(losses, 2.0), scores=SCORES, conclude=measure
)

ENHANCER = enhancer(DRAWING)
