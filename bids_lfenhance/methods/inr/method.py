"""The record of ``inr``."""

from ...nn.method import Enhancer
from .inference import InrPrepared, prepare, sample
from .settings import ABOUT, InrSettings

ENHANCER: Enhancer[InrSettings, InrPrepared] = Enhancer(ABOUT, prepare, sample)
