"""The U-Net of ``cfm``: the velocity of a slice (IQT-CFM, section 2.2, figures 2, 3; docs/methods/cfm.md).

The source names the parts and not their sizes: several kernels side by side at the input, residual blocks with time and
squeeze-and-excitation, pixel (un)shuffle between levels, a transformer at the bottom. Each part can be left out.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...config import CONTRASTS
from .settings import CfmNetwork

GROUPS = 8
"""Groups of features that are normalised together."""

TIME = 128
"""Length of the vector that tells the time."""

KERNELS = (1, 3, 5, 7)

Pool = Literal["shuffle", "max"]


class MultiScale(nn.Module):
    """(N, W, U, V) from (N, K, U, V): an equal share of the features from each kernel of ``KERNELS``."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(inputs, width // len(KERNELS), size, padding=size // 2) for size in KERNELS
        )

    def forward(self, image: Tensor) -> Tensor:
        """(N, W, U, V)."""
        return torch.cat([branch(image) for branch in self.branches], dim=1)


class SqueezeExcite(nn.Module):
    """(N, W, U, V) times a gate in (0, 1) for each feature, from the means over the slice (Hu et al. 2018)."""

    def __init__(self, width: int, reduction: int = 16) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(width, max(1, width // reduction)),
            nn.SiLU(),
            nn.Linear(max(1, width // reduction), width),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, W, U, V)."""
        gated: Tensor = features * self.gate(features.mean(dim=(2, 3)))[:, :, None, None]
        return gated


class Residual(nn.Module):
    """skip(x) + SE(act(conv(act(conv(x)) + time))), (N, W', U, V) → (N, W, U, V) (Fig. 3)."""

    def __init__(self, inputs: int, width: int, se: bool) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inputs, width, 3, padding=1), nn.GroupNorm(GROUPS, width), nn.SiLU())
        self.time = nn.Sequential(nn.SiLU(), nn.Linear(TIME, width))
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(GROUPS, width), nn.SiLU())
        self.gate = SqueezeExcite(width) if se else nn.Identity()
        self.skip = nn.Identity() if inputs == width else nn.Conv2d(inputs, width, 1)

    def forward(self, features: Tensor, time: Tensor) -> Tensor:
        """(N, W, U, V); ``time`` (N, ``TIME``)."""
        inner = self.first(features) + self.time(time)[:, :, None, None]
        out: Tensor = self.skip(features) + self.gate(self.second(inner))
        return out


class Transformer(nn.Module):
    """One pre-norm layer of self-attention over the pixels of (N, W, U, V), four heads; without positions."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.think = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, features: Tensor) -> Tensor:
        """(N, W, U, V)."""
        tokens = features.flatten(2).transpose(1, 2)  # (N, U·V, W)
        parts = self.query_key_value(self.before(tokens)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (N, heads, U·V, W / heads) each
        seen = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.out(seen.transpose(1, 2).flatten(2))
        tokens = tokens + self.think(self.after(tokens))
        return tokens.transpose(1, 2).unflatten(2, features.shape[2:])


def down(inputs: int, width: int, pool: Pool) -> nn.Sequential:
    """(N, W', U, V) → (N, W, U/2, V/2): two by two pixels as features, or their greatest, then a 1×1 convolution."""
    if pool == "max":
        return nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(inputs, width, 1))
    return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * inputs, width, 1))


def up(inputs: int, width: int, pool: Pool) -> nn.Module:
    """(N, W', U, V) → (N, W, 2U, 2V): a convolution to four times the features, which become two by two pixels.

    The four start alike, so that no chequerboard is there to be unlearnt. ``pool`` "max": a transposed convolution.
    """
    if pool == "max":
        return nn.ConvTranspose2d(inputs, width, 2, stride=2)
    conv = nn.Conv2d(inputs, 4 * width, 3, padding=1)
    with torch.no_grad():
        conv.weight.copy_(conv.weight[::4].repeat_interleave(4, dim=0))
        assert conv.bias is not None
        conv.bias.zero_()
    return nn.Sequential(conv, nn.PixelShuffle(2))


def time_embedding(time: Tensor) -> Tensor:
    """(N, ``TIME``) float32: sines and cosines of times (N,) in [0, 1], from half a turn to thousands."""
    rates = 1000 * torch.exp(-math.log(1e4) * torch.arange(TIME // 2, device=time.device) / (TIME // 2))
    angles = time.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class VelocityNet(nn.Module):
    """The velocity (N, C, U, V) of slices in a state (N, C, U, V) at a time (N,), given a condition (N, K, U, V).

    ``base`` features at full resolution, then twice, four times as many, and ``bottleneck``. ``shuffle`` 2 works on
    two by two pixels folded into features: a quarter of the positions. The sides are multiples of ``multiple``.
    The last convolution starts at zero.
    """

    def __init__(
        self,
        channels: int,
        condition: int,
        base: int,
        bottleneck: int,
        shuffle: int = 1,
        se: bool = True,
        multiscale: bool = True,
        transformer: bool = True,
        pool: Pool = "shuffle",
    ) -> None:
        super().__init__()
        self.multiple = 8 * shuffle
        widths = (base, 2 * base, 4 * base, bottleneck)
        inputs = (channels + condition) * shuffle**2
        self.fold, self.unfold = nn.PixelUnshuffle(shuffle), nn.PixelShuffle(shuffle)
        self.time = nn.Sequential(nn.Linear(TIME, TIME), nn.SiLU(), nn.Linear(TIME, TIME))
        self.head = MultiScale(inputs, base) if multiscale else nn.Conv2d(inputs, base, 3, padding=1)
        self.encode = nn.ModuleList(Residual(width, width, se) for width in widths[:3])
        self.down = nn.ModuleList(down(widths[i], widths[i + 1], pool) for i in range(3))
        self.bottom = nn.ModuleList(Residual(bottleneck, bottleneck, se) for _ in range(2))
        self.attend = Transformer(bottleneck) if transformer else nn.Identity()
        self.up = nn.ModuleList(up(widths[i + 1], widths[i], pool) for i in range(3))
        self.decode = nn.ModuleList(Residual(2 * width, width, se) for width in widths[:3])
        self.tail = nn.Conv2d(base, channels * shuffle**2, 1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, state: Tensor, condition: Tensor, time: Tensor) -> Tensor:
        """(N, C, U, V)."""
        embedded = self.time(time_embedding(time))
        features = self.head(self.fold(torch.cat([state, condition], dim=1)))
        kept = []
        for encode, smaller in zip(self.encode, self.down, strict=True):
            kept.append(encode(features, embedded))
            features = smaller(kept[-1])
        features = self.bottom[1](self.attend(self.bottom[0](features, embedded)), embedded)
        for level in (2, 1, 0):
            features = torch.cat([self.up[level](features), kept[level]], dim=1)
            features = self.decode[level](features, embedded)
        out: Tensor = self.unfold(self.tail(features))
        return out


def build(settings: CfmNetwork) -> dict[str, nn.Module]:
    """``velocity``: see ``VelocityNet``."""
    s, channels = settings, len(CONTRASTS)
    condition = channels * (2 * s.n_ctx + 1) + channels
    return {
        "velocity": VelocityNet(
            channels, condition, s.base, s.bottleneck, s.shuffle, s.se, s.multiscale, s.transformer, s.pool
        )
    }
