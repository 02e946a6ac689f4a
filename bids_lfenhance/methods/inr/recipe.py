"""Settings of ``inr``, their budgets, and its record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ...imaging.volume import Volume
from ...nn.method import Draw, Method
from ...simulators.contrast import POWER


def _told(text: str, source: str = "our choice") -> dict[str, str]:
    """Metadata of a field: what it does, and where its default comes from."""
    return {"help": text, "source": source}


@dataclass(frozen=True)
class InrSettings:
    """Options of ``inr``; the defaults are those of the ``cpu`` budget."""

    base: Literal["sr", "mean", "none"] = field(
        default="sr",
        metadata=_told("fused image that the network corrects; none, the published form, leaves it alone"),
    )
    activation: Literal["gabor", "wire", "siren", "ff"] = field(
        default="gabor", metadata=_told("wavelet of the trunk", "methods.md §3.3")
    )
    width: int = field(default=64, metadata=_told("features per layer", "published 256"))
    layers: int = field(default=3, metadata=_told("hidden layers", "methods.md §3.3"))
    omega: float = field(
        default=0.0,
        metadata=_told("frequency of the wavelets, radians per half field of view; 0: from the sampling", "§3.5"),
    )
    spread: float = field(default=3.0, metadata=_told("inverse width of the wavelets, s₀", "methods.md §3.5"))
    guide: bool = field(
        default=False,
        metadata=_told("show the network the fused images and tissue at each point, beside the coordinates"),
    )
    psf: bool = field(
        default=True, metadata=_told("integrate over the slice profile; off fits voxel centres", "methods.md §3.3")
    )
    psf_points: int = field(
        default=8, metadata=_told("Monte-Carlo points per low-field voxel and step, even", "published 16-24")
    )
    seg: float = field(
        default=0.1, metadata=_told("weight of Dice + cross-entropy; 0 drops the tissue head's loss", "methods.md §3.3")
    )
    tv: float = field(default=0.02, metadata=_told("weight of total variation; 0 drops it", "methods.md §3.3"))
    contrast: str = field(
        default="auto",
        metadata=_told(
            "auto fits the contrast vector, none keeps the low-field contrast; or the vector itself, CSF,GM,WM as low "
            "over high field",
            "methods.md §3.1",
        ),
    )
    restore: float = field(
        default=POWER, metadata=_told("power of the contrast vector: 1 trusts the tissue wholly, 0 changes no contrast")
    )
    smooth_mm: float = field(
        default=1.0, metadata=_told("smoothing of the tissue shares behind the contrast, standard deviation in mm")
    )
    steps: int = field(default=300, metadata=_told("steps of Adam", "published 2000"))
    batch: int = field(default=4096, metadata=_told("low-field voxels per step", "published 8192"))
    rate: float = field(
        default=3e-3, metadata=_told("learning rate at the start, falling to 0 as a cosine", "methods.md §3.3")
    )
    bf16: bool = field(
        default=True, metadata=_told("half precision where the processor multiplies it natively", "measured")
    )
    device: str = field(default="cpu", metadata=_told("where the network is fitted; the app's --device"))


BUDGETS: Mapping[str, Mapping[str, Any]] = {
    "sloppy": {"base": "mean", "width": 16, "layers": 2, "steps": 20, "batch": 512, "psf_points": 4},
    "cpu": {},
    "gpu": {"base": "none", "width": 256, "steps": 2000, "batch": 8192, "psf_points": 16},
}
"""What each budget changes; "gpu" is the published size."""


def prepare(volume: Volume, settings: InrSettings) -> Mapping[str, Any]:
    """What all seeds share: fused base, low-field voxels, contrast vectors."""
    # Torch is heavy: the command line reads the settings above without it.
    from .draw import set_up

    return set_up(volume, settings)


def sample(nets: Mapping[str, Any], volume: Volume, settings: InrSettings, generator: np.random.Generator) -> Draw:
    """One seed: fit, then query the grid."""
    from .draw import draw

    return draw(nets, volume, settings, generator)


METHOD = Method("inr", InrSettings, "lf2hf", "scan", sample, draws=3, budgets=BUDGETS, prepare=prepare)
