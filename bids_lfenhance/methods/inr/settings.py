"""Settings of ``inr``, and their budgets; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ...config import TISSUES
from ...errors import InputError
from ...imaging.contrast import POWER
from ...nn.method import Description
from ...nn.settings import Checked, JsonObject, setting

WAVELETS = ("gabor", "wire")
"""Activations with an envelope, whose inverse width is ``spread``."""


@dataclass(frozen=True)
class InrSettings(Checked):
    """Options of ``inr``; the defaults are those of the ``cpu`` budget."""

    base: Literal["sr", "mean", "none"] = field(
        default="sr",
        metadata=setting("fused image that the network corrects; none, the published form: no such image"),
    )
    activation: Literal["gabor", "wire", "siren", "ff"] = field(
        default="gabor", metadata=setting("wavelet of the trunk", "docs/methods/inr.md")
    )
    width: int = field(default=64, metadata=setting("features per layer", "published 256", least=2))
    layers: int = field(default=3, metadata=setting("hidden layers", "docs/methods/inr.md", least=1))
    omega: float = field(
        default=0.0,
        metadata=setting(
            "frequency of the wavelets, radians per half field of view; 0: from the sampling",
            "docs/methods/inr.md",
            least=0,
        ),
    )
    spread: float = field(
        default=0.0,
        metadata=setting(
            "inverse width of the wavelets of gabor and wire, s₀; 0: 3, and of wire at least a third of omega",
            "docs/methods/inr.md",
            least=0,
        ),
    )
    psf: bool = field(
        default=True,
        metadata=setting("integrate over the slice profile; off fits voxel centres", "docs/methods/inr.md"),
    )
    psf_points: int = field(
        default=8, metadata=setting("Monte-Carlo points per low-field voxel and step, even", "published 16-24", least=2)
    )
    seg: float = field(
        default=0.1,
        metadata=setting(
            "weight of Dice + cross-entropy; 0 drops the tissue head's loss", "docs/methods/inr.md", least=0
        ),
    )
    tv: float = field(
        default=0.02, metadata=setting("weight of total variation; 0 drops it", "docs/methods/inr.md", least=0)
    )
    contrast: str = field(
        default="auto",
        metadata=setting(
            "auto fits the contrast vector, none keeps the low-field contrast; or the vector itself, CSF,GM,WM as low "
            "over high field, where a session has one contrast",
            "docs/methods/inr.md",
        ),
    )
    restore: float = field(
        default=POWER,
        metadata=setting("power of the contrast vector: 1 trusts the tissue wholly, 0 changes no contrast", least=0),
    )
    steps: int = field(default=300, metadata=setting("steps of Adam", "published 2000", least=1))
    batch: int = field(default=4096, metadata=setting("low-field voxels per step", "published 8192", least=1))
    rate: float = field(
        default=3e-3,
        metadata=setting("learning rate at the start, falling to 0 as a cosine", "docs/methods/inr.md", above=0),
    )
    device: str = field(default="cpu", metadata=setting("where the network is fitted; the app's --device"))

    def __post_init__(self) -> None:
        """Check every field; points and, of ``ff``, features come in pairs; only wavelets have a width."""
        super().__post_init__()
        if self.spread and self.activation not in WAVELETS:
            message = f"Expected no spread with {self.activation}, which has none, found {self.spread:g}; leave it out."
            raise InputError(message, code="no-effect", key="spread")
        pairs = {"psf_points": self.psf_points} | ({"width": self.width} if self.activation == "ff" else {})
        for key, value in pairs.items():
            if value % 2:
                message = f"Expected an even {key}, as they come in pairs, found {value}; change it."
                raise InputError(message, code="bad-setting", key=key)
        if self.contrast not in ("auto", "none"):
            parse_contrast(self.contrast)


def parse_contrast(text: str) -> np.ndarray:
    """(3,) the contrast vector given by hand, CSF,GM,WM; ``InputError`` for anything else.

    >>> parse_contrast("1,0.62,0.47").tolist()
    [1.0, 0.62, 0.47]
    """
    try:
        vector = np.array([float(part) for part in text.split(",")])
    except ValueError:
        vector = np.zeros(0)
    if vector.shape != (len(TISSUES),) or not ((vector >= 0.1) & (vector <= 10)).all():
        raise InputError(
            "Expected the contrast as auto, none or three numbers CSF,GM,WM between 0.1 and 10, "
            f"found {text!r}; write for example 1,0.62,0.47."
        )
    return vector


BUDGETS: Mapping[str, JsonObject] = {
    "sloppy": {"base": "mean", "width": 16, "layers": 2, "steps": 20, "batch": 512, "psf_points": 4},
    "cpu": {},
    "gpu": {"base": "none", "width": 256, "steps": 2000, "batch": 8192, "psf_points": 16},
}
"""What each budget changes; "gpu" is the published size."""

ABOUT = Description(
    "inr",
    "lf2hf",
    "scan",
    settings=InrSettings,
    sampling=InrSettings,
    budgets=BUDGETS,
    draws=3,
    sentence="fitting an implicit neural representation (a Gabor network) to all scans of the session at once, through "
    "a model of their slice profiles and contrast",
    references=("indrakanti", "wire", "mcginnis"),
)
