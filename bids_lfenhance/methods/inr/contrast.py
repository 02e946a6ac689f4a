"""The contrast vectors that ``inr`` undoes: fitted, given by hand, or none."""

from typing import TYPE_CHECKING

import numpy as np

from ...config import TISSUES
from ...errors import InputError
from ...imaging.contrast import fit_contrast
from ...imaging.volume import Volume

if TYPE_CHECKING:
    from .settings import InrSettings


def vectors_of(
    volume: Volume, signal: np.ndarray, tissue: np.ndarray, settings: "InrSettings"
) -> tuple[dict[str, np.ndarray], list[str]]:
    """({contrast: (3,) c}, warnings) of the fitted ``signal`` (C, X, Y, Z), one channel per contrast present."""
    flat = {name: np.ones(len(TISSUES)) for name in volume.contrasts}
    if settings.contrast == "none":
        return flat, []
    if volume.tissue is None or volume.mask is None:
        return flat, ["the low-field contrast was kept: the volume came without brain mask and tissue"]
    vectors, warnings = flat, []
    for channel, name in enumerate(volume.contrasts):
        if settings.contrast != "auto":
            vectors[name] = parse_contrast(settings.contrast)
            continue
        sigma = float(np.median([stack.sigma for stack in volume.stacks_of(name)]))
        vectors[name], doubts = fit_contrast(name, signal[channel], tissue, volume.mask, sigma)
        warnings += doubts
    return vectors, warnings


def parse_contrast(text: str) -> np.ndarray:
    """(3,) the vector given by hand, CSF,GM,WM.

    >>> parse_contrast("1,0.62,0.47").tolist()
    [1.0, 0.62, 0.47]
    """
    try:
        vector = np.array([float(part) for part in text.split(",")])
    except ValueError:
        vector = np.zeros(0)
    if vector.shape != (len(TISSUES),) or not ((vector >= 0.1) & (vector <= 10)).all():
        raise InputError(
            "expected the contrast as auto, none or three numbers CSF,GM,WM between 0.1 and 10, "
            f"found {text!r}: write for example 1,0.62,0.47"
        )
    return vector
