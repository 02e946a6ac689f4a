"""The acquisition in torch: numpy's numbers under any rotation, and gradients that are the exact adjoint."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from bids_lfenhance.imaging.acquisition import Acquisition
from bids_lfenhance.imaging.grid import Grid, zooms_of
from bids_lfenhance.imaging.profile import FWHM_PER_SD, PAD_MM
from bids_lfenhance.nn.acquisition import frequencies, padded_spectrum, sample
from bids_lfenhance.simulators.presets import get_preset, stack_geometry
from bids_lfenhance.simulators.simulator import random_motion
from tests.simulators.sources import phantom_source

SOURCE = phantom_source(size=28)
WIDTHS = ((1.6, 1.6, 5.0), (0.2, 1.5, 4.0), (2.5, 2.5, 2.5))


def geometry_of(plane: str, degrees: float, seed: int) -> Grid:
    geometry = stack_geometry(get_preset("T1w", plane), SOURCE.grid)
    motion = random_motion(np.random.default_rng(seed), 2.0, degrees, np.zeros(3))
    return Grid(motion @ geometry.affine, geometry.shape)


def placed(geometry: Grid, fwhm: Sequence[float]) -> tuple[Tensor, Tensor]:
    """((4, 4) voxel of the stack → voxel of the image; (3, 3) SD of its Gaussian profile, voxels of the image)."""
    grid = SOURCE.grid
    width = np.maximum(np.asarray(fwhm, float), min(grid.zooms)) / FWHM_PER_SD
    axes = geometry.affine[:3, :3] / np.array(zooms_of(geometry.affine))
    to_grid = np.linalg.inv(grid.affine) @ geometry.affine
    return torch.from_numpy(to_grid), torch.from_numpy(np.linalg.inv(grid.affine[:3, :3]) @ axes * width)


def acquire(image: Tensor, to_grid: Tensor, profile: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(B, I, J, K): what stacks with Gaussian profiles (B, 3, 3) measure of images (B, X, Y, Z)."""
    pad = math.ceil(PAD_MM)
    spectrum, sides = padded_spectrum(image, pad)
    steps = torch.stack(torch.broadcast_tensors(*frequencies(sides, image.device)))
    phase = torch.einsum("bra,rxyz->baxyz", profile.float(), steps)
    transfer = torch.exp(-2 * math.pi**2 * phase.square().sum(dim=1))
    return sample(spectrum, sides, transfer, to_grid, shape, pad)


@pytest.mark.parametrize(("plane", "degrees"), [("axi", 0.0), ("cor", 3.0), ("sag", 60.0), ("axi", 60.0)])
def test_it_measures_what_the_numpy_operator_measures(plane: str, degrees: float) -> None:
    """Several images at once, each with a pose and a profile of its own."""
    geometries = [geometry_of(plane, degrees, seed) for seed in range(3)]
    images = np.stack([np.roll(SOURCE.image / 1000, seed, axis=0) for seed in range(3)]).astype(np.float32)
    expected = np.stack(
        [
            Acquisition(geometry, fwhm, SOURCE.grid).forward(image)
            for geometry, fwhm, image in zip(geometries, WIDTHS, images, strict=True)
        ]
    )
    parts = [placed(geometry, fwhm) for geometry, fwhm in zip(geometries, WIDTHS, strict=True)]
    to_grid, profile = (torch.stack(part) for part in zip(*parts, strict=True))
    found = acquire(torch.from_numpy(images), to_grid, profile, geometries[0].shape)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4 * expected.max())


def test_its_gradient_is_the_adjoint() -> None:
    geometry = geometry_of("sag", 5.0, 0)
    operator = Acquisition(geometry, WIDTHS[0], SOURCE.grid)
    to_grid, profile = placed(geometry, WIDTHS[0])
    image = torch.from_numpy(SOURCE.image / 1000)[None].requires_grad_()
    samples = torch.randn(1, *geometry.shape, generator=torch.Generator().manual_seed(2))
    measured = acquire(image, to_grid[None], profile[None], geometry.shape)
    (back,) = torch.autograd.grad(measured, image, samples)
    expected = operator.frame.image(operator.spread(samples[0].numpy().ravel()))
    np.testing.assert_allclose(back[0].numpy(), expected, atol=1e-4 * np.abs(expected).max())
