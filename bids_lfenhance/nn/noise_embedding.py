"""Embedding of the noise level of a diffusion, or the time of a flow, that a network is given."""

import math

import torch
from torch import Tensor, nn

FREQUENCIES = 32

EMBEDDING = 128
"""Features that the blocks of a network are given."""


def embedding_network() -> nn.Sequential:
    """(B, 64) of ``sinusoids`` → (B, ``EMBEDDING``)."""
    return nn.Sequential(nn.Linear(2 * FREQUENCIES, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING), nn.SiLU())


def sinusoids(time: Tensor) -> Tensor:
    """(B, 64): sines and cosines of ``time`` (B,) at frequencies from 1 to 1000."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000), FREQUENCIES, device=time.device))
    phase = time[:, None] * frequencies
    return torch.cat([torch.sin(phase), torch.cos(phase)], dim=1)
