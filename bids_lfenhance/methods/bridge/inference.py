"""Sampling of ``bridge``: from the learned estimate, at one noise level, along the diffusion."""

import torch
from torch import Tensor

from ...nn.flow import Velocity, heun, randn_like, uniform_times
from ...nn.residual import coloured, time_of
from ..flow import sampler
from .settings import ABOUT, BridgeSettings, resolve


def initial_state(like: Tensor, settings: BridgeSettings, generator: torch.Generator) -> Tensor:
    """The state of the flow where the bridge is crossed, (B, 1, X, Y, Z) as ``like``.

    u_K = √ᾱ_K r̃ + √(1−ᾱ_K) ε, with r̃ Gaussian of the residual's power: the diffusion is that of the residual, so the
    estimate is its origin, and r̃ stands for what the estimate lacks. Without a spectrum r̃ is 0.
    """
    noise, time = randn_like(like, generator), time_of(settings.start_level)
    if not settings.spectrum:
        return (1 - time) * noise
    return (1 - time) * noise + time * coloured(randn_like(like, generator), settings.spectrum)


def solve(velocity: Velocity, like: Tensor, settings: BridgeSettings, generator: torch.Generator) -> tuple[Tensor, int]:
    """(r̂, network calls): the diffusion in the time of the flow, where DDIM is Euler, and Heun is better."""
    times = uniform_times(settings.steps, time_of(settings.start_level))
    return heun(velocity, initial_state(like, settings, generator), times), 2 * settings.steps - 1


SAMPLER = sampler(ABOUT, resolve, solve)
