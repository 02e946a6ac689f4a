"""The record of ``bridge``: how it enhances. Its weights are those of ``cfm``, whose training makes them."""

from ..residual import enhancer
from .inference import SAMPLER

ENHANCER = enhancer(SAMPLER)
