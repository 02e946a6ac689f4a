"""The part of a session that a network sees, scaled as in training; and its result put back where it came from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..config import CONTRASTS
from ..imaging.grid import CANONICAL_ZOOM, Box, Grid, box_of
from ..imaging.volume import Volume
from .intensity_scale import Scale

MARGIN = 8
"""Voxels around the brain that a network is shown, as in training."""

OUTSIDE = "the input, outside the brain mask"
"""What the record of a draw says about the image outside the brain."""


@dataclass(frozen=True)
class BrainCrop:
    """The brain of a session with a margin, in the contrasts that the weights know.

    ``image`` (C, x, y, z) float32 in the session's units; ``mask`` (x, y, z) bool; ``known`` (C,) bool: contrasts that
    are there and that the weights know; ``scale`` of the image inside the mask; ``box`` where the crop lies.
    """

    volume: Volume
    box: Box
    image: np.ndarray
    mask: np.ndarray
    known: np.ndarray
    scale: Scale

    @classmethod
    def of(cls, volume: Volume, contrasts: Sequence[str], margin: int = MARGIN) -> "BrainCrop":
        """Crop a session, ``margin`` voxels around its brain, for weights that know ``contrasts``.

        Without a mask, what is not zero is taken for brain.
        """
        known = np.array([name in contrasts for name in CONTRASTS]) & volume.present
        mask = np.asarray(volume.image.any(axis=0) if volume.mask is None else volume.mask)
        box = box_of(mask, margin)
        image, mask = volume.image[(slice(None), *box)], mask[box]
        return cls(volume, box, image, mask, known, Scale.of(image, mask))

    @property
    def grid(self) -> Grid:
        """Where the voxels of the crop lie."""
        return self.volume.grid.cut(self.box)

    def paste(self, found: np.ndarray) -> np.ndarray:
        """(C, X, Y, Z) float32: the session with a network's result (C, x, y, z) in place of the known contrasts.

        Outside the mask the input stays: a mask that is a voxel short must not cut brain away.
        """
        out = self.volume.image.astype(np.float32)
        enhanced = self.scale.undo(found)
        for channel in np.flatnonzero(self.known):
            out[(channel, *self.box)] = np.where(self.mask, enhanced[channel], out[(channel, *self.box)])
        return out

    def scales(self) -> dict[str, float]:
        """{contrast: what its image was divided by}, for the record."""
        return {name: float(self.scale.values[CONTRASTS.index(name)]) for name in self.volume.contrasts}

    def warnings(self, contrasts: Sequence[str]) -> list[str]:
        """What the user should know of weights for ``contrasts`` on this session."""
        warnings = [
            f"{name} was not enhanced, but only fused: the weights know only {', '.join(contrasts)}"
            for name in self.volume.contrasts
            if not self.known[CONTRASTS.index(name)]
        ]
        if not np.allclose(self.volume.grid.zooms, CANONICAL_ZOOM):
            warnings.append(
                f"the network learned on voxels of {CANONICAL_ZOOM:g} mm and was used on others: do not trust it"
            )
        if self.volume.mask is None:
            warnings.append("the session came without a brain mask: what is not zero was taken for brain")
        return warnings
