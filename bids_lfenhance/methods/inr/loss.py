"""The terms that ``inr`` minimises; intensities in units of the contrast's own scale."""

import torch
from torch import Tensor

RICIAN_BELOW = 5.0
"""SNR under which a magnitude image no longer has the mean of its signal."""


def rician_mean(signal: Tensor, sigma: Tensor) -> Tensor:
    """(B,) mean magnitude of a signal (B,) in noise of SD ``sigma`` (B,): √(s²+σ²) below SNR 5."""
    return torch.where(signal.abs() < RICIAN_BELOW * sigma, torch.sqrt(signal**2 + sigma**2), signal)


def segmentation(share: Tensor, target: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Dice + cross-entropy between PSF-averaged posteriors (B, 4) and those of the scan (B, 4)."""
    entropy = -(target * torch.log(share + epsilon)).sum(dim=1).mean()
    overlap = 2 * (share * target).sum(dim=0) + epsilon
    dice = 1 - (overlap / (share.sum(dim=0) + target.sum(dim=0) + epsilon)).mean()
    return dice + entropy
