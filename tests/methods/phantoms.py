"""Small sessions whose truth is known."""

import numpy as np

from bids_lfenhance.imaging.acquisition import Acquisition
from bids_lfenhance.imaging.fusion import fuse_mean
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Stack, Volume, volume_from_channels

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
    rng: np.random.Generator, size: int = 40, sigma: float = 0.05, zooms: tuple[float, float, float] = (2.0, 2.0, 5.0)
) -> tuple[Volume, np.ndarray]:
    """One thick, noisy stack with the Gaussian profile of ``imaging.acquisition``, and the sharp image behind it."""
    image, affine, tissue = oracle.phantom_head(size, rng)
    truth = oracle.low_field_image(image, tissue, MEANS["T1w"])
    grid = Grid(affine, image.shape)
    placed, shape = oracle.scanner_affine(image, affine, "axi", zooms, margin_mm=2.0)
    clean = Acquisition(Grid(placed, shape), zooms, grid).forward(truth)
    noise = sigma * rng.normal(size=(2, *shape))
    data = np.hypot(clean + noise[0], noise[1]).astype(np.float32)
    stack = Stack("acq-axi_T1w", "T1w", data, placed, placed, zooms, sigma)
    volume = volume_from_channels(grid, {"T1w": fuse_mean([stack], grid)}, (stack,))
    return volume.with_anatomy(tissue.sum(axis=0) > 0.5, tissue), truth


def psnr(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """PSNR in dB inside the mask; the range is the truth's maximum there."""
    return float(10 * np.log10(truth[mask].max() ** 2 / np.mean((image[mask] - truth[mask]) ** 2)))
