"""Intensities of the regions in one image: a mixture of Gaussians with the atlas as prior, by expectation maximisation.

Van Leemput et al. 1999 (IEEE TMI 18:897), Ashburner and Friston 2005. It needs no known contrast.
"""

import torch
from torch import Tensor

ROUNDS = 4
"""Rounds of expectation maximisation; the means hardly move after three."""

FEWEST = 50.0
"""Cells of the whole image that count as members of each group, so that one which is hardly there stays wide."""

NARROWEST = 0.03
"""Least standard deviation of a group, the mean of the brain being 1."""


Gaussians = tuple[Tensor, Tensor]
"""Mean and variance of each group, (B, G, 1) each."""


def fit_mixture(seen: Tensor, prior: Tensor, groups: Tensor) -> Gaussians:
    """The Gaussians of the groups in each image.

    Parameters
    ----------
    seen : (B, N) float32 intensities of some voxels, the mean of the brain about 1
    prior : (B, 33, N) float32 probabilities of the atlas there
    groups : (33,) int64 group of each channel, 0 … G−1: regions of one tissue are equally bright

    In single precision whatever the network multiplies in: a variance of bfloat16 has no digits.
    """
    member = torch.zeros(int(groups.max()) + 1, len(groups), device=prior.device)
    member[groups, torch.arange(len(groups), device=prior.device)] = 1
    with torch.autocast(seen.device.type, enabled=False):
        shares = torch.einsum("gc,bcn->bgn", member, prior)
        gaussians = _moments(seen, shares)
        for _ in range(ROUNDS):
            found = (shares.clamp(min=1e-8).log() + log_likelihood(seen, gaussians)).softmax(dim=1)
            gaussians = _moments(seen, found)
    return gaussians


def log_likelihood(seen: Tensor, gaussians: Gaussians) -> Tensor:
    """(B, G, N) log density of intensities (B, N) in each group, less a constant."""
    mean, variance = gaussians
    return (seen[:, None] - mean).square_().mul_(-0.5 / variance).sub_(0.5 * variance.log())


def _moments(seen: Tensor, shares: Tensor) -> Gaussians:
    """Mean and variance of each group, drawn towards those of the whole image where it is small."""
    whole = seen.mean(dim=1)[:, None, None]
    spread = seen.var(dim=1)[:, None, None]
    total = shares.sum(dim=2, keepdim=True) + FEWEST
    mean = ((shares @ seen[:, :, None]) + FEWEST * whole) / total
    square = ((shares @ (seen**2)[:, :, None]) + FEWEST * (spread + whole**2)) / total
    return mean, (square - mean**2).clamp(min=NARROWEST**2)
