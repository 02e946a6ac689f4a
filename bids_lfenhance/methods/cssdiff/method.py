"""The record of ``cssdiff``: how it is trained, and how it enhances."""

from ...nn.method import Enhancer, Trainable
from ..learned import Learned
from .inference import enhance_batch, fit_to_memory, prepare, sample
from .loss import stages
from .maps import maps_to_come
from .network import build
from .settings import ABOUT, CssDiffSampling, CssDiffSettings, resolve

TRAINABLE = Trainable(ABOUT, build, stages, enhance_batch)

ENHANCER: Enhancer[CssDiffSampling, Learned[CssDiffSettings]] = Enhancer(
    ABOUT, prepare, sample, fit_to_memory=fit_to_memory, resolve=resolve, map_metadata=maps_to_come
)
