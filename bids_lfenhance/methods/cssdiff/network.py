"""The networks of ``cssdiff``: a slice denoiser of the residual, and the encoder whose tokens it attends to."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...nn.noise_embedding import EMBEDDING, embedding_network, sinusoids
from ...nn.residual import CONDITION, condition_of
from .settings import HEADS, CssDiffNetwork

CHANNELS = 3 + 2 + CONDITION
"""State of slices i − 1, i, i + 1; estimate of i − 1 and i + 1; the condition of slice i."""

UNSHUFFLE = 2
"""Pixels a side that are folded into features."""

STATE_OFFSETS, ESTIMATE_OFFSETS, TOKEN_OFFSETS = (-1, 0, 1), (-1, 1), (-6, 0, 6)
"""Slices about i whose state, whose estimate, and whose tokens the denoiser is shown."""

SIDE, GRID, TOKEN = 64, 4, 128
"""Pixels a side the encoder sees; tokens a side of a slice; features of a token."""


class Norm(nn.LayerNorm):
    """Normalises the features of (N, C, X, Y) pixel by pixel, so that a crop is seen as the whole slice is."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, X, Y)."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Encoder(nn.Module):
    """f, the encoder of structure-guided pre-training: 16 tokens (N, 16, ``TOKEN``) of slices (N, 1, X, Y)."""

    def __init__(self) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for before, after in pairwise((1, 24, 48, 96, TOKEN)):
            parts += [nn.Conv2d(before, after, 3, 2, 1), Norm(after), nn.SiLU()]
        self.net = nn.Sequential(*parts)
        self.whole = nn.Linear(GRID * GRID * TOKEN, TOKEN)

    def forward(self, slices: Tensor) -> Tensor:
        """(N, 16, ``TOKEN``)."""
        small = functional.interpolate(slices, (SIDE, SIDE), mode="bilinear", antialias=True)
        tokens: Tensor = self.net(small).flatten(2).transpose(1, 2)
        return tokens

    def vector(self, tokens: Tensor) -> Tensor:
        """(N, ``TOKEN``) unit vectors of tokens (N, 16, ``TOKEN``): by which slices are distinguished."""
        return functional.normalize(self.whole(tokens.flatten(1)).float(), dim=1)


class Attention(nn.Module):
    """Adds to (N, C, X, Y) the cross-attention of every pixel to tokens (N, T, ``TOKEN``); 0 at initialisation."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = Norm(features)
        self.ask = nn.Linear(features, features)
        self.answer = nn.Linear(TOKEN, 2 * features)
        self.out = nn.Linear(features, features)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """(N, C, X, Y)."""
        query = _heads(self.ask(self.norm(x).flatten(2).transpose(1, 2)))
        key, value = (_heads(part) for part in self.answer(tokens).chunk(2, dim=2))
        mixed = functional.scaled_dot_product_attention(query, key, value)
        answer: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return x + answer.transpose(1, 2).unflatten(2, x.shape[2:])


class Block(nn.Module):
    """Two normalised 3×3 convolutions with SiLU beside a shortcut; the level scales and shifts the first."""

    def __init__(self, features_in: int, features_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features_in, features_out, 3, padding=1)
        self.norm1 = Norm(features_out)
        self.conv2 = nn.Conv2d(features_out, features_out, 3, padding=1)
        self.norm2 = Norm(features_out)
        same = features_in == features_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(features_in, features_out, 1)
        self.level = nn.Linear(EMBEDDING, 2 * features_out)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(N, out, X, Y)."""
        scale, shift = self.level(embedding)[..., None, None].chunk(2, dim=1)
        hidden = functional.silu(self.norm1(self.conv1(x)) * (1 + scale) + shift)
        return functional.silu(self.norm2(self.conv2(hidden)) + self.shortcut(x))


class SliceDenoiser(nn.Module):
    """v of the state of slice i: (N, ``CHANNELS``, X, Y), level (N,), tokens (N, 48, ``TOKEN``) → (N, 1, X, Y).

    A U-Net on pixels folded two by two, X and Y multiples of ``multiple``; the two coarsest resolutions attend to the
    tokens. The level is the angle φ of u = cos φ r + sin φ ε over π/2.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.multiple = UNSHUFFLE * 2 ** (len(widths) - 1)
        ins = (UNSHUFFLE**2 * CHANNELS, *widths[:-1])
        up = list(reversed(widths[:-1]))
        self.encoder = nn.ModuleList(Block(a, b) for a, b in zip(ins, widths, strict=True))
        self.down = nn.ModuleList(nn.Conv2d(width, width, 2, stride=2) for width in widths[:-1])
        self.place = nn.Parameter(0.2 * torch.randn(len(TOKEN_OFFSETS) * GRID**2, TOKEN))
        self.attend = nn.ModuleList(Attention(width) for width in (widths[-2], widths[-1], widths[-2]))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in zip(list(reversed(widths))[:-1], up, strict=True)
        )
        self.decoder = nn.ModuleList(Block(2 * width, width) for width in up)
        self.last = nn.Conv2d(widths[0], UNSHUFFLE**2, 1)
        self.level = embedding_network()
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, level: Tensor, tokens: Tensor) -> Tensor:
        """(N, 1, X, Y)."""
        embedding, tokens = self.level(sinusoids(level)), tokens + self.place
        x = functional.pixel_unshuffle(x, UNSHUFFLE).contiguous(memory_format=torch.channels_last)
        skips: list[Tensor] = []
        coarsest = len(self.down)
        for number, block in enumerate(self.encoder):
            x = block(x, embedding)
            if number >= coarsest - 1:
                x = self.attend[number - coarsest + 1](x, tokens)
            if number < coarsest:
                skips.append(x)
                x = self.down[number](x)
        for number, (widen, block) in enumerate(zip(self.up, self.decoder, strict=True)):
            x = block(torch.cat([widen(x), skips.pop()], dim=1), embedding)
            if number == 0:
                x = self.attend[2](x, tokens)
        return functional.pixel_shuffle(self.last(x), UNSHUFFLE)


def build(settings: CssDiffNetwork) -> dict[str, nn.Module]:
    """``denoiser``, and ``encoder`` (f), whose tokens of slices it attends to."""
    return {"denoiser": SliceDenoiser(settings.widths), "encoder": Encoder()}


def slices_of(field: Tensor) -> Tensor:
    """(Z, X, Y): the axial slices of a field (1, 1, X, Y, Z)."""
    return field[0, 0].movedim(-1, 0)


def condition_channels(mean: Tensor, scale: Tensor, inputs: Tensor, index: Tensor) -> Tensor:
    """(N, 21, X, Y): channels of the denoiser for slices ``index``, beside the state.

    ``mean``, ``scale``, ``inputs`` (1, C, X, Y, Z): the estimate and what it was made of.
    """
    own = condition_of(mean[..., index], scale[..., index], inputs[..., index])[0].movedim(-1, 0)
    return torch.cat([neighbours(slices_of(mean), index, ESTIMATE_OFFSETS), own], dim=1)


def neighbours(slices: Tensor, index: Tensor, offsets: Sequence[int]) -> Tensor:
    """(N, offsets, …): the slices of (Z, …) at ``offsets`` from those of ``index`` (N,), the ends repeated."""
    return slices[(index[:, None] + torch.tensor(offsets, device=index.device)).clamp(0, len(slices) - 1)]


def _heads(x: Tensor) -> Tensor:
    return x.unflatten(2, (HEADS, -1)).transpose(1, 2)
