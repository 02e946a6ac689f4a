"""``interp``: the stacks of each contrast fused on the canonical grid, nothing learned."""

import numpy as np

from ...imaging.fusion import fuse_session
from ...nn.method import Draw, Enhancer, Prepared
from ..contrast import with_contrast
from .settings import ABOUT, InterpSettings


def sample(prepared: Prepared[InterpSettings], generator: np.random.Generator) -> Draw:
    """The fused session, (C, X, Y, Z), in the contrast asked for; one without stacks keeps the image it came with."""
    volume, settings = prepared.volume, prepared.settings
    image = fuse_session(volume, settings.fusion)
    draw = Draw(image, {"fusion": settings.fusion, "nfe": 0, "warnings": []})
    return with_contrast(draw, volume, settings.contrast, volume.contrasts)


ENHANCER: Enhancer[InterpSettings, Prepared[InterpSettings]] = Enhancer(
    ABOUT, Prepared, sample, is_stochastic=lambda settings: False
)
