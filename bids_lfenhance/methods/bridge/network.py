"""The magnitude-preserving U-Net in three dimensions, for the prior and the small bridge; and the published bridge.

Written from the equations of Karras et al. 2024 (EDM2) as docs/methods/bridge.md states them. Every layer passes on
features of unit magnitude: weights are normalised per output, sums and concatenations weighed, nothing has an offset.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ...nn.pixel_shuffle import pixel_shuffle3d, pixel_unshuffle3d
from .settings import BridgeSettings, checked

SILU = 0.596
"""The root mean square of SiLU on a unit normal: what it is divided by."""

BRANCH = 0.3
"""Weight of a block's branch in the sum with what goes past it."""

LARGEST = 256.0
"""Where features are clipped."""

HEAD = 64
"""Features per head of the attention."""


def mp_silu(x: Tensor) -> Tensor:
    """SiLU that keeps the magnitude of a unit normal; any shape."""
    return functional.silu(x) / SILU


def mp_sum(a: Tensor, b: Tensor, weight: float = BRANCH) -> Tensor:
    """((1−t) a + t b) / √((1−t)² + t²): the magnitude of two that do not correlate is kept; one shape."""
    return ((1 - weight) * a + weight * b) / math.hypot(1 - weight, weight)


def mp_cat(a: Tensor, b: Tensor) -> Tensor:
    """(B, Na + Nb, …): both together, weighed so that each counts the same, however many channels it has."""
    both = math.sqrt((a.shape[1] + b.shape[1]) / 2)
    return torch.cat([a * (both / math.sqrt(a.shape[1])), b * (both / math.sqrt(b.shape[1]))], dim=1)


def unit(x: Tensor, dim: int = 1) -> Tensor:
    """Features with a root mean square of 1 along ``dim``, at each place by itself."""
    return x / (x.square().mean(dim=dim, keepdim=True).sqrt() + 1e-4)


class Linear(nn.Module):
    """A convolution (kernel of 1 or 3 voxels), or a matrix (kernel 0), that keeps magnitudes; without offset.

    Weights are used as w / (‖w‖ per output), and in training stored with a root mean square of 1: the length of a
    stored weight says nothing, and if it grew the steps of the optimiser would mean less and less.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *(kernel,) * (3 if kernel else 0)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, outputs, …) of (B, inputs, …)."""
        axes = tuple(range(1, self.weight.ndim))
        if self.training:
            # Not the graph's business: a second pass finds unit weights and changes nothing but rounding.
            self.weight.data.div_(self.weight.data.square().mean(dim=axes, keepdim=True).sqrt() + 1e-12)
        length = torch.linalg.vector_norm(self.weight, dim=axes, keepdim=True)
        weight = self.weight / (length + 1e-12)
        if weight.ndim == 2:
            return functional.linear(x, weight)
        return functional.conv3d(x, weight, padding=weight.shape[-1] // 2)


class Attention(nn.Module):
    """Cosine attention between all positions of (B, W, X, Y, Z), summed with what it was given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD)
        self.ask = Linear(width, 3 * width, 1)
        self.answer = Linear(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, W, X, Y, Z)."""
        batch, width, *_ = x.shape
        asked = self.ask(x).reshape(batch, 3, self.heads, width // self.heads, -1).transpose(3, 4)
        query, key, value = unit(asked, dim=4).unbind(1)
        seen = functional.scaled_dot_product_attention(query, key, value).transpose(2, 3)
        return mp_sum(x, self.answer(seen.reshape(x.shape)))


class Block(nn.Module):
    """Two convolutions beside a short cut, the first one's answer scaled by the noise level (B, E).

    The ``encoder``'s brings its input to unit features first, after resampling and any change of width; the decoder's
    does not, and changes width inside the branch and on the short cut.
    """

    def __init__(
        self, inputs: int, outputs: int, embedding: int, encoder: bool, resample: float = 1.0, attention: bool = False
    ) -> None:
        super().__init__()
        self.encoder, self.resample = encoder, resample
        self.past = Linear(inputs, outputs, 1) if inputs != outputs else None
        self.first = Linear(outputs if encoder else inputs, outputs, 3)
        self.level = Linear(embedding, outputs, 0)
        self.gain = nn.Parameter(torch.zeros(()))
        self.second = Linear(outputs, outputs, 3)
        self.attention = Attention(outputs) if attention else None

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(B, outputs, …) of (B, inputs, …): the sides halved, kept or doubled."""
        if self.resample < 1:
            x = functional.avg_pool3d(x, 2)
        elif self.resample > 1:
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
        if self.encoder:
            x = unit(x if self.past is None else self.past(x))
        branch = self.first(mp_silu(x))
        scale = 1 + self.gain * self.level(level)
        branch = self.second(mp_silu(branch * scale[:, :, None, None, None]))
        if not self.encoder and self.past is not None:
            x = self.past(x)
        x = mp_sum(x, branch)
        if self.attention is not None:
            x = self.attention(x)
        return x.clamp(-LARGEST, LARGEST)


class Waves(nn.Module):
    """(B, W) of (B,): √2 cos(2π(f c + φ)) of fixed random frequencies, of unit magnitude over what is random."""

    frequency: Tensor
    phase: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("frequency", torch.randn(width))
        self.register_buffer("phase", torch.rand(width))

    def forward(self, number: Tensor) -> Tensor:
        """(B, W)."""
        return math.sqrt(2) * torch.cos(2 * math.pi * (number[:, None] * self.frequency + self.phase))


class UNet(nn.Module):
    """(B, ``inputs``, X, Y, Z) and the noise level (B,) → (B, ``outputs``, X, Y, Z), any sides; 0 before training.

    Level l has (l+1)·``width`` features and sides halved l times; ``blocks`` a level on the way down, one more on the
    way up; ``attention`` between the positions of the lowest level. ``shuffle`` 2 works on voxels folded two by two by
    two. ``lean`` keeps no features of a block for the gradient but computes them again.
    """

    def __init__(
        self, inputs: int, outputs: int, width: int, levels: int, blocks: int, attention: bool, shuffle: int, lean: bool
    ) -> None:
        super().__init__()
        self.shuffle, self.multiple, self.lean = shuffle, shuffle * 2 ** (levels - 1), lean
        embedding = width * levels
        self.waves = Waves(width)
        self.embed = Linear(width, embedding, 0)
        self.head = Linear(inputs * shuffle**3 + 1, width, 3)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        kept, before = [width], width
        for level in range(levels):
            after, lowest = width * (level + 1), attention and level == levels - 1
            if level:
                self.down.append(Block(before, before, embedding, True, 0.5))
                kept.append(before)
            for _ in range(blocks):
                self.down.append(Block(before, after, embedding, True, 1.0, lowest))
                kept.append(after)
                before = after
        for level in reversed(range(levels)):
            after, lowest = width * (level + 1), attention and level == levels - 1
            if level == levels - 1:
                self.up.append(Block(before, after, embedding, False, 1.0, lowest))
                self.up.append(Block(after, after, embedding, False))
            else:
                self.up.append(Block(before, before, embedding, False, 2.0))
            for _ in range(blocks + 1):
                self.up.append(Joined(Block(before + kept.pop(), after, embedding, False, 1.0, lowest)))
                before = after
        self.tail = Linear(width, outputs * shuffle**3, 3)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """(B, outputs, X, Y, Z); ``noise`` (B,) is ln(σ/√ᾱ)/4 of each item."""
        sides = images.shape[2:]
        room = [amount for side in reversed(sides) for amount in (0, -side % self.multiple)]
        x = pixel_unshuffle3d(functional.pad(images, room, mode="replicate") if any(room) else images, self.shuffle)
        level = mp_silu(self.embed(self.waves(noise)))
        x = self.head(torch.cat([x, torch.ones_like(x[:, :1])], dim=1))
        kept = [x]
        for block in self.down:
            x = self._run(block, x, level)
            kept.append(x)
        for block in self.up:
            x = self._run(block, x, level, kept.pop()) if isinstance(block, Joined) else self._run(block, x, level)
        x = self.tail(x) * self.gain
        return pixel_shuffle3d(x, self.shuffle)[..., : sides[0], : sides[1], : sides[2]]

    def _run(self, block: nn.Module, *inputs: Tensor) -> Tensor:
        if self.lean and self.training:
            found: Tensor = checkpoint(block, *inputs, use_reentrant=False)
            return found
        out: Tensor = block(*inputs)
        return out


class Joined(nn.Module):
    """A block of the decoder that also sees what the encoder kept of the same size."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, level: Tensor, kept: Tensor) -> Tensor:
        """(B, outputs, …) of (B, Na, …) and (B, Nb, …)."""
        out: Tensor = self.block(mp_cat(x, kept), level)
        return out


class Swin(nn.Module):
    """The published bridge: MONAI's Swin UNETR, which hears of the noise level at its lowest features (FiLM).

    The source does not say that it knows the level; without it one network must guess it.
    """

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        from monai.networks.nets import SwinUNETR

        # Not on the device that is set: its constructor reads numbers, which tensors without memory do not have.
        with torch.device("cpu"):
            swin: Any = SwinUNETR(
                inputs,
                outputs,
                feature_size=width,
                # By groups, not by single channels: those would lose how bright a window is.
                norm_name=("group", {"num_groups": width // 3}),
                use_v2=True,
                use_checkpoint=True,
            )
        self.swin = swin.to(torch.get_default_device())
        self.swin.encoder10 = Told(swin.encoder10, 16 * width)

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """(B, outputs, X, Y, Z) of (B, inputs, X, Y, Z), any sides; ``noise`` (B,) is ln(σ/√ᾱ)/4 of each item."""
        sides = images.shape[2:]
        room = [amount for side in reversed(sides) for amount in (0, -side % 32)]
        bottom = self.swin.encoder10
        bottom.noise = noise
        found: Tensor = self.swin(functional.pad(images, room, mode="replicate") if any(room) else images)
        bottom.noise = None
        return found[..., : sides[0], : sides[1], : sides[2]]


class NoiseBlind(nn.Module):
    """A bridge without the noise level as input, as the source may be read."""

    def __init__(self, bridge: nn.Module) -> None:
        super().__init__()
        self.bridge = bridge

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """(B, outputs, X, Y, Z) of (B, inputs, X, Y, Z); ``noise`` (B,) is not looked at."""
        found: Tensor = self.bridge(images, torch.zeros_like(noise))
        return found


class Told(nn.Module):
    """A layer whose answer is scaled and shifted by the noise level: gain 1 and offset 0 before training."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer = layer
        self.noise: Tensor | None = None
        self.hear = nn.Linear(1, 64)
        self.tell = nn.Linear(64, 2 * width)
        nn.init.zeros_(self.tell.weight)
        nn.init.zeros_(self.tell.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, …)."""
        assert self.noise is not None
        gain, offset = self.tell(functional.silu(self.hear(self.noise[:, None]))).chunk(2, dim=1)
        x = self.layer(x)
        out: Tensor = x * (1 + gain[:, :, None, None, None]) + offset[:, :, None, None, None]
        return out


def build(settings: BridgeSettings) -> dict[str, nn.Module]:
    """``bridge`` and ``prior``, each where it is wanted: see ``UNet`` and ``Swin``."""
    s = checked(settings)
    nets: dict[str, nn.Module] = {}
    if s.bridge and s.bridge_net == "swin":
        nets["bridge"] = Swin(6, 3, s.bridge_width)
    elif s.bridge:
        nets["bridge"] = UNet(
            6, 3, s.bridge_width, s.levels, s.blocks, s.attention, s.shuffle, s.gradient_checkpointing
        )
    if s.bridge and not s.bridge_time:
        nets["bridge"] = NoiseBlind(nets["bridge"])
    if s.diffusion:
        nets["prior"] = UNet(9, 3, s.width, s.levels, s.blocks, s.attention, s.shuffle, s.gradient_checkpointing)
    return nets
