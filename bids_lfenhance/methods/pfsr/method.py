"""The record of ``pfsr``: how it is trained, and how it enhances."""

import torch

from ...nn.batch import Batch
from ...nn.method import Enhancer, Trainable
from ...nn.stage import Nets
from .inference import PfsrPrepared, enhance_batch, fit_to_memory, prepare, sample
from .loss import stages
from .network import build
from .settings import ABOUT, PfsrSampling, PfsrSettings, resolve


def predict(nets: Nets, batch: Batch, settings: PfsrSettings, generator: torch.Generator) -> torch.Tensor:
    """(B, C, X, Y, Z) high field, scaled; zero for contrasts that are not in the input."""
    return enhance_batch(nets, batch, settings)


TRAINABLE = Trainable(ABOUT, build, stages, predict)

ENHANCER: Enhancer[PfsrSampling, PfsrPrepared] = Enhancer(
    ABOUT, prepare, sample, fit_to_memory=fit_to_memory, resolve=resolve
)
