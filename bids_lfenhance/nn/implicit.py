"""Layers of implicit neural representations: a point in, features out."""

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

Activation = Literal["gabor", "wire", "siren", "ff"]


class _Gabor(torch.autograd.Function):
    """cos(u)·exp(−v²) with both partial derivatives kept from the forward pass.

    Autograd would keep seven arrays of the size of the batch; two are enough, and a fit on a CPU is bound by them.
    """

    @staticmethod
    def forward(ctx, u: Tensor, v: Tensor) -> Tensor:  # type: ignore[no-untyped-def]  # torch names it so
        envelope = torch.exp(-v * v)
        out = torch.cos(u) * envelope
        ctx.save_for_backward(torch.sin(u).mul_(envelope).neg_(), (-2 * v).mul_(out))
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
        by_u, by_v = ctx.saved_tensors
        return grad * by_u, grad * by_v


def gabor(u: Tensor, v: Tensor) -> Tensor:
    """cos(u)·exp(−v²), elementwise."""
    out: Tensor = _Gabor.apply(u, v)
    return out


def linear(inputs: int, outputs: int, bound: float, generator: torch.Generator, dtype: torch.dtype) -> nn.Linear:
    """A linear layer with weights uniform in ±bound and biases in ±1/√inputs, drawn from ``generator`` alone."""
    layer: nn.Linear = skip_init(nn.Linear, inputs, outputs, dtype=dtype)
    with torch.no_grad():
        for tensor, limit in ((layer.weight, bound), (layer.bias, 1 / math.sqrt(inputs))):
            parts = torch.view_as_real(tensor) if dtype.is_complex else tensor
            parts.uniform_(-limit, limit, generator=generator)
    return layer


class GaborLayer(nn.Module):
    """cos(ω(W₁h+b₁))·exp(−(s(W₂h+b₂))²), (N, inputs) → (N, outputs)."""

    def __init__(self, inputs: int, outputs: int, omega: float, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.omega, self.scale = omega, scale
        bound = 1 / math.sqrt(inputs)
        self.wave = linear(inputs, outputs, bound, generator, torch.float32)
        self.envelope = linear(inputs, outputs, bound, generator, torch.float32)

    def forward(self, h: Tensor) -> Tensor:
        """(N, outputs) in [−1, 1]."""
        return gabor(self.omega * self.wave(h), self.scale * self.envelope(h))


class WireLayer(nn.Module):
    """exp(jωu − |su|²), u = Wh+b complex, (N, inputs) → (N, outputs)."""

    def __init__(
        self, inputs: int, outputs: int, omega: float, scale: float, first: bool, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.omega, self.scale = omega, scale
        dtype = torch.float32 if first else torch.complex64
        self.linear = linear(inputs, outputs, 1 / math.sqrt(inputs), generator, dtype)

    def forward(self, h: Tensor) -> Tensor:
        """(N, outputs) complex."""
        u = self.linear(h).to(torch.complex64)
        magnitude = -self.omega * u.imag - (self.scale**2) * (u.real**2 + u.imag**2)
        return torch.polar(torch.exp(magnitude), self.omega * u.real)


class SineLayer(nn.Module):
    """sin(ω(Wh+b)), (N, inputs) → (N, outputs), initialised as SIREN."""

    def __init__(self, inputs: int, outputs: int, omega: float, first: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.omega = omega
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / omega
        self.linear = linear(inputs, outputs, bound, generator, torch.float32)

    def forward(self, h: Tensor) -> Tensor:
        """(N, outputs) in [−1, 1]."""
        return torch.sin(self.omega * self.linear(h))


class FourierLayer(nn.Module):
    """[cos(Bx), sin(Bx)], B ~ N(0, ω²) fixed, (N, inputs) → (N, outputs)."""

    projection: Tensor

    def __init__(self, inputs: int, outputs: int, omega: float, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("projection", omega * torch.randn(inputs, outputs // 2, generator=generator))

    def forward(self, h: Tensor) -> Tensor:
        """(N, outputs) in [−1, 1]."""
        phase = h @ self.projection
        return torch.cat([torch.cos(phase), torch.sin(phase)], dim=-1)


class ReluLayer(nn.Module):
    """max(0, Wh+b), (N, inputs) → (N, outputs)."""

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = linear(inputs, outputs, math.sqrt(6 / inputs), generator, torch.float32)

    def forward(self, h: Tensor) -> Tensor:
        """(N, outputs), not negative."""
        return torch.relu(self.linear(h))


def trunk(
    activation: Activation, inputs: int, width: int, layers: int, omega: float, scale: float, generator: torch.Generator
) -> nn.Sequential:
    """``layers`` layers of one activation, (N, inputs) → (N, width).

    ``omega`` and ``scale`` are the frequency and the inverse width of the wavelets; a complex layer is narrower by √2,
    so that it holds as many real numbers.
    """
    if activation == "wire":
        narrow = max(1, round(width / math.sqrt(2)))
        sizes = [inputs] + [narrow] * layers
        return nn.Sequential(
            *(WireLayer(a, b, omega, scale, i == 0, generator) for i, (a, b) in enumerate(pairwise(sizes)))
        )
    sizes = [inputs] + [width] * layers
    pairs = list(pairwise(sizes))
    if activation == "gabor":
        return nn.Sequential(*(GaborLayer(a, b, omega, scale, generator) for a, b in pairs))
    if activation == "siren":
        return nn.Sequential(*(SineLayer(a, b, omega, i == 0, generator) for i, (a, b) in enumerate(pairs)))
    first = FourierLayer(inputs, width, omega, generator)
    return nn.Sequential(first, *(ReluLayer(a, b, generator) for a, b in pairs[1:]))
