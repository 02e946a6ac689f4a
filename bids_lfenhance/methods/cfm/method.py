"""The record of ``cfm``: how it is trained, and how it enhances."""

from ...nn.method import Enhancer, Trainable
from ..learned import Learned
from .inference import enhance_batch, fit_to_memory, prepare, sample
from .loss import stages
from .network import build
from .settings import ABOUT, CfmSampling, CfmSettings, resolve


def is_stochastic(sampling: CfmSampling) -> bool:
    """Whether draws differ: the conditional mean is one image."""
    return sampling.mode == "sample"


TRAINABLE = Trainable(ABOUT, build, stages, enhance_batch)

ENHANCER: Enhancer[CfmSampling, Learned[CfmSettings]] = Enhancer(
    ABOUT, prepare, sample, fit_to_memory=fit_to_memory, is_stochastic=is_stochastic, resolve=resolve
)
