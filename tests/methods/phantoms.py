"""Small sessions whose truth is known."""

from typing import Any

import numpy as np

from bids_lfenhance.imaging.fusion import fuse_mean
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Volume, volume_from_channels

from .. import oracle

MEANS = oracle.LF_MEANS


def small_session(
    rng: np.random.Generator, size: int = 28, contrasts: tuple[str, ...] = ("T1w", "T2w"), snr: float = 20.0
) -> Volume:
    """Two stacks per contrast of a small head, by the independent scanner."""
    image, affine, tissue = oracle.phantom_head(size, rng)
    grid = Grid(affine, image.shape)
    scans = [
        oracle.acquire_stack(
            image, affine, tissue, contrast, plane=plane, rng=rng, snr=snr, bias=0.0, zooms=(2.0, 2.0, 4.0)
        ).stack()
        for contrast in contrasts
        for plane in ("axi", "cor")
    ]
    channels = {name: fuse_mean([scan for scan in scans if scan.contrast == name], grid) for name in contrasts}
    return volume_from_channels(grid, channels, tuple(scans)).with_anatomy(tissue.sum(axis=0) > 0.5, tissue)


def thick_session(
    rng: np.random.Generator, planes: tuple[str, ...] = ("axi",), size: int = 40, snr: float = 20.0
) -> tuple[Volume, np.ndarray]:
    """Thick, noisy stacks of a small head by the independent scanner, and the sharp image behind them."""
    image, affine, tissue = oracle.phantom_head(size, rng)
    truth = oracle.low_field_image(image, tissue, MEANS["T1w"])
    grid = Grid(affine, image.shape)
    about: dict[str, Any] = {"snr": snr, "bias": 0.0, "zooms": (2.0, 2.0, 5.0), "margin_mm": 2.0}
    stacks = [
        oracle.acquire_stack(image, affine, tissue, "T1w", plane=plane, rng=rng, **about).stack() for plane in planes
    ]
    volume = volume_from_channels(grid, {"T1w": fuse_mean(stacks, grid)}, tuple(stacks))
    return volume.with_anatomy(tissue.sum(axis=0) > 0.5, tissue), truth


def psnr(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """PSNR in dB inside the mask; the range is the truth's maximum there."""
    return float(10 * np.log10(truth[mask].max() ** 2 / np.mean((image[mask] - truth[mask]) ** 2)))
