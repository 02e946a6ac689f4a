"""The record of ``fusionnet``: how it is trained, and how it enhances."""

from ...nn.method import Enhancer, Trainable
from .inference import FusionNetPrepared, fit_to_memory, prepare, sample
from .loss import stages
from .network import build
from .settings import ABOUT, FusionNetSampling, FusionNetSettings, resolve
from .validation import SCORES, measure, predict, score_sessions


def is_stochastic(sampling: FusionNetSampling) -> bool:
    """Never: the estimate is one image."""
    return False


TRAINABLE: Trainable[FusionNetSettings] = Trainable(
    ABOUT, build, stages, predict, score_sessions=score_sessions, scores=SCORES, measure=measure
)

ENHANCER: Enhancer[FusionNetSampling, FusionNetPrepared] = Enhancer(
    ABOUT, prepare, sample, fit_to_memory=fit_to_memory, is_stochastic=is_stochastic, resolve=resolve
)
