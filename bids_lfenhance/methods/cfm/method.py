"""The record of ``cfm``: how it is trained, and how it enhances."""

from ...nn.method import Trainable
from ..flow import build
from ..residual import enhancer
from ..residual_training import SCORES, EstimateOfHeads, measure, score_sessions
from .inference import SAMPLER
from .loss import losses, stages
from .settings import ABOUT, CfmSettings

TRAINABLE: Trainable[CfmSettings] = Trainable(
    ABOUT,
    build,
    stages,
    estimate=EstimateOfHeads,
    score_sessions=score_sessions(losses, "flow"),
    scores=SCORES,
    measure=measure,
)

ENHANCER = enhancer(SAMPLER)
