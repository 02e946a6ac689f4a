"""The record of ``cfm``: how it is trained, and how it enhances."""

from ...nn.method import Enhancer, Trainable
from ..residual import ResidualPrepared, build, conclude, fit_to_memory
from ..residual_options import is_stochastic, maps_to_come
from ..residual_training import SCORES, EstimateSource, measure, score
from .inference import predict, prepare, sample
from .loss import stages
from .settings import ABOUT, CfmSampling, CfmSettings, resolve

TRAINABLE: Trainable[CfmSettings] = Trainable(
    ABOUT, build, stages, predict, source=EstimateSource, score=score, scores=SCORES, conclude=measure
)

ENHANCER: Enhancer[CfmSampling, ResidualPrepared[CfmSettings]] = Enhancer(
    ABOUT,
    prepare,
    sample,
    fit_to_memory=fit_to_memory,
    is_stochastic=is_stochastic,
    resolve=resolve,
    map_metadata=maps_to_come,
    conclude=conclude,
)
