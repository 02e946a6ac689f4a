"""The record of ``fusionnet``: how it enhances."""

from ...nn.method import Enhancer
from .inference import FusionNetPrepared, fit_to_memory, prepare, sample
from .settings import ABOUT, FusionNetSampling, resolve


def is_stochastic(sampling: FusionNetSampling) -> bool:
    """Never: the estimate is one image."""
    return False


ENHANCER: Enhancer[FusionNetSampling, FusionNetPrepared] = Enhancer(
    ABOUT, prepare, sample, fit_to_memory=fit_to_memory, is_stochastic=is_stochastic, resolve=resolve
)
