"""``interp``: the stacks of each contrast fused on the canonical grid, nothing learnt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ...imaging.fusion import Fusion, fuse_session
from ...imaging.volume import Volume
from ...nn.method import Draw, Method
from ..contrast import with_contrast


@dataclass(frozen=True)
class InterpSettings:
    """Options of ``interp``."""

    fusion: Fusion = field(
        default="sr",
        metadata={
            "help": "how stacks become one image: plain mean, or super-resolution that knows the slice profile",
            "source": "targets.md §3: the plain mean is the low-field baseline",
        },
    )
    contrast: Literal["none", "restored"] = field(
        default="none",
        metadata={
            "help": "contrast of the result: that of low field, as a baseline should have it, or that of high field, "
            "restored tissue by tissue as inr does",
            "source": "methods.md §3.1",
        },
    )


def sample(nets: Mapping[str, Any], volume: Volume, settings: InterpSettings, generator: np.random.Generator) -> Draw:
    """The fused session, (C, X, Y, Z), in the contrast asked for; one without stacks keeps the image it came with."""
    image = fuse_session(volume, settings.fusion)
    draw = Draw(image, {"fusion": settings.fusion, "nfe": 0, "warnings": []})
    return with_contrast(draw, volume, settings.contrast, volume.contrasts)


def varies(settings: InterpSettings) -> bool:
    """Never: there is nothing random in a fusion."""
    return False


METHOD = Method(
    "interp",
    InterpSettings,
    "lf2hf",
    "nothing",
    sample,
    budgets={"sloppy": {}, "cpu": {}, "gpu": {}},
    varies=varies,
)
