"""A session in the high-field contrast that ``fusionnet`` has learned, in which regions are segmented too."""

from dataclasses import replace

import numpy as np
from numpy.random import default_rng

from ..config import CONTRASTS
from ..imaging.volume import Volume
from . import get_method
from .enhance import enhance
from .estimate import RESTORED
from .options import EstimateSampling
from .residual_options import ESTIMATE


def restore(volume: Volume, sampling: EstimateSampling, memory_gb: float | None = None) -> Volume | None:
    """The contrasts of a session that ``fusionnet`` has learned to give the contrast of high field.

    None where it has none of these, or where ``sampling``, the options that the session was enhanced with, asked for
    that contrast already. Deep grey matter stands out from white matter there as it does at 3 T
    (docs/methods/regions.md).
    """
    present = np.array([name in RESTORED and name in volume.contrasts for name in CONTRASTS])
    if sampling.target_contrast == "learned" or not present.any():
        return None
    stacks = tuple(stack for stack in volume.stacks if stack.contrast in RESTORED)
    part = replace(volume, present=present, stacks=stacks)
    asked = replace(sampling, target_contrast="learned")
    result = enhance(part, get_method(ESTIMATE), asked, default_rng(0), memory_gb=memory_gb)
    made = result.provenance["records"][0]["contrasts"]
    return replace(part, image=result.image, stacks=(), tissue=None) if made else None
