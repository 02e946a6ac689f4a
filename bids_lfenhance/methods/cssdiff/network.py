"""Networks of ``cssdiff``: denoiser, reverse generator, discriminators, slice encoder, restorer."""

from itertools import pairwise
from typing import Any

import torch
from monai.networks.nets import DiffusionModelUNet, PatchDiscriminator
from torch import Tensor, nn
from torch.nn import functional

from .settings import CHANNELS, CssDiffSettings, seen_channels

TOKEN = 128
"""Length of what tells a slice from others."""

SIDE = 64
"""Pixels a side of the slices that the encoder is shown."""

GROUPS = 8
"""Groups of features that are normalised together."""


class Denoiser(nn.Module):
    """x̂_0 (N, C, U, V) of slices in a state (N, C, U, V) at a level (N,), given ``seen`` (N, K, U, V) and ``tokens``.

    The first C channels of ``seen`` are the slices' low field, to which the U-Net's answer is added: its last
    convolution starts at zero, so that an untrained network gives back low field. ``tokens`` (N, T, ``TOKEN``) enter
    by cross-attention at the lowest level, or are None. ``shuffle`` pixels a side are folded into features, for a
    fraction of the work. The sides are multiples of ``shuffle`` times 2 to the number of halvings. With ``latent`` the
    network also sees noise (N, C, U, V), zero where it is given none.
    """

    def __init__(
        self,
        channels: int,
        seen: int,
        widths: tuple[int, ...],
        blocks: int,
        tokens: bool,
        shuffle: int = 1,
        latent: bool = False,
    ) -> None:
        super().__init__()
        self.latent = latent
        seen += channels * latent
        self.fold, self.unfold = nn.PixelUnshuffle(shuffle), nn.PixelShuffle(shuffle)
        lowest = tuple(number == len(widths) - 1 for number in range(len(widths)))
        self.unet = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=(channels + seen) * shuffle**2,
            out_channels=channels * shuffle**2,
            channels=widths,
            attention_levels=lowest,
            num_res_blocks=blocks,
            num_head_channels=32,
            norm_num_groups=GROUPS,
            with_conditioning=tokens,
            cross_attention_dim=TOKEN if tokens else None,
        )

    def forward(
        self, state: Tensor, seen: Tensor, tokens: Tensor | None, level: Tensor, latent: Tensor | None = None
    ) -> Tensor:
        """(N, C, U, V) float32."""
        given = [state, seen]
        if self.latent:
            given.append(torch.zeros_like(state) if latent is None else latent)
        shown = self.fold(torch.cat(given, dim=1))
        answer: Tensor = self.unfold(self.unet(shown, timesteps=level, context=tokens))
        return seen[:, : state.shape[1]].float() + answer.float()


class Reverse(nn.Module):
    """F: the low field (N, C, U, V), without noise, in [−1, 1], of high field (N, C, U, V)."""

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        around: dict[str, Any] = {"padding_mode": "reflect"}
        wide = 4 * width
        self.down = nn.Sequential(
            _normal(nn.Conv2d(channels, width, 7, padding=3, **around), width),
            _normal(nn.Conv2d(width, 2 * width, 3, 2, 1), 2 * width),
            _normal(nn.Conv2d(2 * width, wide, 3, 2, 1), wide),
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(
                _normal(nn.Conv2d(wide, wide, 3, padding=1, **around), wide),
                nn.Conv2d(wide, wide, 3, padding=1, **around),
                nn.InstanceNorm2d(wide),
            )
            for _ in range(blocks)
        )
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2),
            _normal(nn.Conv2d(wide, 2 * width, 3, padding=1, **around), 2 * width),
            nn.Upsample(scale_factor=2),
            _normal(nn.Conv2d(2 * width, width, 3, padding=1, **around), width),
        )
        self.tail = _silent(nn.Conv2d(width, channels, 7, padding=3, **around))

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, U, V)."""
        features = self.down(image)
        for block in self.blocks:
            features = features + block(features)
        found: Tensor = self.tail(self.up(features)).tanh()
        return found


def _silent(conv: nn.Conv2d) -> nn.Conv2d:
    # All zeros until it has learned: weights tell by themselves whether there is anything to be asked of them.
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv


def _normal(conv: nn.Conv2d, width: int) -> nn.Sequential:
    # The norm takes the mean away: a bias would be learned from nothing.
    conv.register_parameter("bias", None)
    return nn.Sequential(conv, nn.InstanceNorm2d(width), nn.ReLU())


class SliceDiscriminator(nn.Module):
    """Logits (N, 1, U', V') of patches being real, of images (N, C, U, V): a 70 × 70 PatchGAN."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.net = PatchDiscriminator(
            spatial_dims=2, channels=width, in_channels=channels, num_layers_d=3, norm="INSTANCE"
        )

    def forward(self, image: Tensor) -> Tensor:
        """(N, 1, U', V')."""
        found: Tensor = self.net(image)[-1]
        return found


class Encoder(nn.Module):
    """f: a unit vector (N, ``TOKEN``) for each of slices (N, C, U, V), of which contrasts ``present`` (N, C) count.

    One network sees each contrast alone, at ``SIDE``² pixels and normalised by itself; the answers are averaged. What
    is absent is not computed.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 24, 48, 96, 96)
        parts: list[nn.Module] = []
        for before, after in pairwise(widths):
            parts += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(GROUPS, after), nn.SiLU()]
        self.net = nn.Sequential(*parts, nn.Flatten(), nn.Linear(widths[-1] * (SIDE // 16) ** 2, TOKEN))

    def forward(self, slices: Tensor, present: Tensor) -> Tensor:
        """(N, ``TOKEN``)."""
        item, channel = present.nonzero(as_tuple=True)
        small = functional.interpolate(slices[item, channel][:, None], (SIDE, SIDE), mode="bilinear", antialias=True)
        small = small - small.mean(dim=(2, 3), keepdim=True)
        small = small / (small.square().mean(dim=(2, 3), keepdim=True) + 1e-6).sqrt()
        found = self.net(small).float()
        together = found.new_zeros((len(slices), TOKEN)).index_add(0, item, found)
        return functional.normalize(together, dim=1)


class Restorer(nn.Module):
    """E_T: high field (N, C, U, V) from such with blocks turned or taken out: a U-Net of four levels, no input skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = (24, 48, 96, 96)
        inputs = (channels, *widths[:-1])
        self.encode = nn.ModuleList(_double(a, b) for a, b in zip(inputs, widths, strict=True))
        self.decode = nn.ModuleList(_double(widths[n + 1] + widths[n], widths[n]) for n in (2, 1, 0))
        self.tail = _silent(nn.Conv2d(widths[0], channels, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, U, V)."""
        kept, features = [], image
        for number, encode in enumerate(self.encode):
            features = encode(functional.avg_pool2d(features, 2) if number else features)
            kept.append(features)
        for decode, beside in zip(self.decode, kept[-2::-1], strict=True):
            features = decode(torch.cat([functional.interpolate(features, scale_factor=2), beside], dim=1))
        found: Tensor = self.tail(features)
        return found


def _double(inputs: int, width: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for before in (inputs, width):
        parts += [nn.Conv2d(before, width, 3, padding=1), nn.GroupNorm(GROUPS, width), nn.SiLU()]
    return nn.Sequential(*parts)


def build(settings: CssDiffSettings) -> dict[str, nn.Module]:
    """``denoiser``; with SGP ``encoder``, with LSC ``restorer``, ``patches``, with the chain ``judge`` and,
    unless it is physics, ``reverse``.
    """
    s, channels, seen = settings, CHANNELS, seen_channels(settings)
    widths = tuple(min(2**number, 4) * s.width for number in range(s.levels))
    latent = s.ccd and s.chain == "literal"
    denoiser = Denoiser(channels, seen, widths, s.blocks, s.sgp, s.shuffle, latent)
    nets: dict[str, nn.Module] = {"denoiser": denoiser}
    if s.sgp:
        nets["encoder"] = Encoder()
    if s.lsc and s.ccd:
        nets |= {"restorer": Restorer(channels), "patches": SliceDiscriminator(channels, s.discriminator_width)}
    if s.ccd:
        nets["judge"] = SliceDiscriminator(2 * channels, s.discriminator_width)
        if s.reverse == "learned":
            nets["reverse"] = Reverse(channels, s.reverse_width, 6)
    return nets
