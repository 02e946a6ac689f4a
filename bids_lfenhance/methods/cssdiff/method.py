"""The record of ``cssdiff``: how it is trained, and how it enhances."""

from ...nn.method import Trainable
from ..residual import enhancer
from ..residual_training import SCORES, EstimateOfHeads, score_sessions, store_estimate_hash
from .inference import SAMPLER
from .loss import losses, stages
from .network import build
from .settings import ABOUT, CssDiffSettings

TRAINABLE: Trainable[CssDiffSettings] = Trainable(
    ABOUT,
    build,
    stages,
    estimate=EstimateOfHeads,
    score_sessions=score_sessions(losses, "denoiser"),
    scores=SCORES,
    measure=store_estimate_hash,
)

ENHANCER = enhancer(SAMPLER)
