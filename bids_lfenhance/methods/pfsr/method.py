"""The record of ``pfsr``: how it is trained, and how it enhances."""

from ...nn.method import Enhancer, Trainable
from .inference import PfsrPrepared, enhance_batch, fit_to_memory, prepare, sample
from .loss import stages
from .network import build
from .settings import ABOUT, PfsrSampling, resolve

TRAINABLE = Trainable(
    ABOUT, build, stages, lambda nets, batch, settings, generator: enhance_batch(nets, batch, settings)
)

ENHANCER: Enhancer[PfsrSampling, PfsrPrepared] = Enhancer(
    ABOUT, prepare, sample, fit_to_memory=fit_to_memory, resolve=resolve
)
