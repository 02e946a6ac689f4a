"""A session with the contrast of high field, which regions are found in beside its own contrast."""

from dataclasses import replace

import numpy as np

from ..config import CONTRASTS
from ..imaging.volume import Volume
from . import get_method
from .enhance import fitted
from .estimate import RESTORED, estimate_as_learned
from .options import EstimateSampling
from .residual_options import ESTIMATE


def restore(volume: Volume, sampling: EstimateSampling, memory_gb: float | None = None) -> Volume | None:
    """The contrasts of a session that ``fusionnet`` has learned to give the contrast of high field; None without any.

    Deep grey matter stands out from white matter there as it does at 3 T (docs/methods/regions.md); ``sampling`` are
    the options that the session was enhanced with, whatever contrast they ask for.
    """
    present = np.array([name in RESTORED and name in volume.contrasts for name in CONTRASTS])
    if not present.any():
        return None
    stacks = tuple(stack for stack in volume.stacks if stack.contrast in RESTORED)
    part = replace(volume, present=present, stacks=stacks)
    method = get_method(ESTIMATE)
    ready = fitted(method, method.prepare(part, sampling), sampling, memory_gb)
    found = estimate_as_learned(part, ready.network, ready.loaded.contrasts, sampling.device, own=False)
    image = found.paste({name: one.image for name, one in found.contrasts.items()})
    return replace(part, image=image, stacks=(), tissue=None) if found.contrasts else None
