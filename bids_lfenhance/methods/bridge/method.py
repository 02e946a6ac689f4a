"""The record of ``bridge``: how it is trained, and how it enhances."""

from ...nn.method import Enhancer, Trainable
from ..learned import Learned
from .inference import enhance_batch, fit_to_memory, prepare, sample
from .loss import auxiliary_networks, stages
from .network import build
from .settings import ABOUT, BridgeSampling, BridgeSettings, resolve

TRAINABLE = Trainable(ABOUT, build, stages, enhance_batch, auxiliary_networks=auxiliary_networks)

ENHANCER: Enhancer[BridgeSampling, Learned[BridgeSettings]] = Enhancer(
    ABOUT, prepare, sample, fit_to_memory=fit_to_memory, resolve=resolve
)
