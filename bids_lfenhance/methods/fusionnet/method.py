"""The record of ``fusionnet``: how it is trained, and how it enhances."""

from functools import partial

from ...nn.method import Enhancer, Trainable
from ..options import EstimateSampling, settings_with
from .inference import FusionNetPrepared, fit_to_memory, prepare, sample
from .loss import stages
from .network import build
from .settings import ABOUT, FusionNetSettings
from .validation import SCORES, measure, score_sessions

TRAINABLE: Trainable[FusionNetSettings] = Trainable(
    ABOUT, build, stages, score_sessions=score_sessions, scores=SCORES, measure=measure
)

ENHANCER: Enhancer[EstimateSampling, FusionNetPrepared] = Enhancer(
    ABOUT,
    prepare,
    sample,
    fit_to_memory=fit_to_memory,
    is_stochastic=lambda sampling: False,
    resolve=partial(settings_with, ABOUT),
)
