"""The formula of structural similarity (Wang et al. 2004, eq. 13), for numpy and for torch."""

from typing import Any

Array = Any
"""numpy.ndarray or torch.Tensor, which this layer does not import."""

K1, K2 = 0.01, 0.03
"""Shares of the data range whose squares keep the fraction finite."""

SIGMA, RADIUS = 1.5, 5
"""SD and half-width of the Gaussian window, voxels: 11 wide, cut at 3.5 σ."""


def similarity(mean_x: Array, mean_y: Array, var_x: Array, var_y: Array, cov: Array, data_range: float = 1.0) -> Array:
    """SSIM in [−1, 1] of local means, variances and the covariance of two images, all of one shape and dtype."""
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    above = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
    return above / ((mean_x * mean_x + mean_y * mean_y + c1) * (var_x + var_y + c2))
