"""The record of ``bridge``: how it enhances. Its weights are those of ``cfm``, whose training makes them."""

from ...nn.method import Enhancer
from ..residual import ResidualPrepared, conclude, fit_to_memory
from ..residual_options import is_stochastic, maps_to_come
from .inference import prepare, sample
from .settings import ABOUT, BridgeSampling, BridgeSettings, resolve

ENHANCER: Enhancer[BridgeSampling, ResidualPrepared[BridgeSettings]] = Enhancer(
    ABOUT,
    prepare,
    sample,
    fit_to_memory=fit_to_memory,
    is_stochastic=is_stochastic,
    resolve=resolve,
    map_metadata=maps_to_come,
    conclude=conclude,
)
