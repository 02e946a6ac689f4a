"""The intensity scale every network works in: one number per contrast, kept so that it can be undone."""

from dataclasses import dataclass

import numpy as np

PERCENTILE = 99.9
"""Share of the brain, %, that lies below 1 after scaling: the brightest thousandth (vessels, fat) sets no scale."""


@dataclass(frozen=True)
class Scale:
    """What an image is divided by: ``values`` (C,) float32, the 99.9th percentile inside the brain mask, 1 if absent.

    Training and inference share this one class, so that a network is used on the scale it was trained on.
    """

    values: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray, mask: np.ndarray) -> "Scale":
        """The scale of an image (C, X, Y, Z) inside a mask (X, Y, Z) bool; a channel without signal keeps 1."""
        inside = [channel[mask] if channel.any() else np.zeros(0) for channel in image]  # absent contrasts cost nothing
        percentiles = [float(np.percentile(values, PERCENTILE)) if values.size else 0.0 for values in inside]
        return cls(np.array([value if np.isfinite(value) and value > 0 else 1.0 for value in percentiles], np.float32))

    def apply(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(C, X, Y, Z) float32: the image divided by the scale, zero outside the mask."""
        return np.where(mask, np.asarray(image, np.float32) / self.values[:, None, None, None], np.float32(0))

    def undo(self, image: np.ndarray) -> np.ndarray:
        """(C, X, Y, Z) float32: a scaled image in its own units again."""
        return np.asarray(image, np.float32) * self.values[:, None, None, None]
