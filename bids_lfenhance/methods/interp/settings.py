"""Settings of ``interp``; no torch."""

from dataclasses import dataclass, field
from typing import Literal

from ...imaging.fusion import Fusion
from ...nn.method import Description
from ...nn.settings import Checked, setting


@dataclass(frozen=True)
class InterpSettings(Checked):
    """Options of ``interp``."""

    fusion: Fusion = field(
        default="sr",
        metadata=setting(
            "how stacks become one image: plain mean, or super-resolution that knows the slice profile",
            "docs/metrics.md: the plain mean is the low-field baseline",
        ),
    )
    contrast: Literal["none", "restored"] = field(
        default="none",
        metadata=setting(
            "contrast of the result: that of low field, as a baseline should have it, or that of high field, restored "
            "tissue by tissue as inr does",
            "docs/methods/inr.md",
        ),
    )


ABOUT = Description(
    "interp",
    "lf2hf",
    "nothing",
    settings=InterpSettings,
    sampling=InterpSettings,
    budgets={"sloppy": {}, "cpu": {}, "gpu": {}},
)
