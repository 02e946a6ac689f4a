"""The residual CNN of ``pfsr``: the published one at the same resolution, and its cheap form on folded voxels.

The source does not print the layers of PF-SR. Groups of residual blocks with channel attention (RCAN in three
dimensions) are our choice, and so is what the attention looks at: RCAN's is a mean over the whole
array, which in training is a patch of 64 mm and in use a head. Such a network answers differently the more background
it is shown, and its answer in windows is not its answer in one piece. ``local`` gates each voxel by its own features
(which reach no further than the convolutions), so that patch, window and whole volume agree to rounding.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...config import CONTRASTS
from ...errors import InputError
from ...nn.pixel_shuffle import pixel_shuffle3d, pixel_unshuffle3d
from .settings import PfsrSettings


def _conv(inputs: int, outputs: int) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, 3, padding=1)


class Attention(nn.Module):
    """Features (B, W, X, Y, Z) times a gate in (0, 1): one per channel (``global``) or per channel and voxel."""

    def __init__(self, width: int, reduction: int, everywhere: bool) -> None:
        super().__init__()
        self.everywhere = everywhere
        self.squeeze = nn.Conv3d(width, max(1, width // reduction), 1)
        self.excite = nn.Conv3d(max(1, width // reduction), width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, W, X, Y, Z)."""
        seen = features.mean(dim=(2, 3, 4), keepdim=True) if self.everywhere else features
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(seen))))
        return features * gate


class Block(nn.Module):
    """x + attention(conv(relu(conv(x)))), (B, W, X, Y, Z)."""

    def __init__(self, width: int, reduction: int, attention: str) -> None:
        super().__init__()
        gate = nn.Identity() if attention == "none" else Attention(width, reduction, attention == "global")
        self.body = nn.Sequential(_conv(width, width), nn.ReLU(), _conv(width, width), gate)

    def forward(self, features: Tensor) -> Tensor:
        """(B, W, X, Y, Z)."""
        out: Tensor = features + self.body(features)
        return out


class Group(nn.Module):
    """x + conv(blocks(x)), (B, W, X, Y, Z)."""

    def __init__(self, width: int, blocks: int, reduction: int, attention: str) -> None:
        super().__init__()
        self.body = nn.Sequential(*(Block(width, reduction, attention) for _ in range(blocks)), _conv(width, width))

    def forward(self, features: Tensor) -> Tensor:
        """(B, W, X, Y, Z)."""
        out: Tensor = features + self.body(features)
        return out


class PfsrNet(nn.Module):
    """Low field (N, 1, X, Y, Z) and its contrast → high field of the same shape, ŷ = x + r(x).

    One network serves every contrast: after the first convolution each contrast has its own gain and offset per
    feature. The last convolution starts at zero, so that an untrained network returns what it was given.
    ``shuffle`` 2 works on voxels folded two by two by two: an eighth of the positions, a reach twice as long in mm.
    """

    def __init__(self, width: int, groups: int, blocks: int, reduction: int, shuffle: int, attention: str) -> None:
        super().__init__()
        self.shuffle = shuffle
        self.reach = shuffle * (3 + groups * (2 * blocks + 1)) + shuffle - 1
        self.head = _conv(shuffle**3, width)
        self.gain = nn.Parameter(torch.ones(len(CONTRASTS), width))
        self.offset = nn.Parameter(torch.zeros(len(CONTRASTS), width))
        self.body = nn.Sequential(
            *(Group(width, blocks, reduction, attention) for _ in range(groups)), _conv(width, width)
        )
        self.tail = _conv(width, shuffle**3)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor, contrast: Tensor) -> Tensor:
        """(N, 1, X, Y, Z), normalised as the input; ``contrast`` (N,) int64 indices into ``CONTRASTS``."""
        sides = image.shape[2:]
        ends = [amount for side in reversed(sides) for amount in (0, -side % self.shuffle)]  # last axis first
        padded = functional.pad(image, ends)
        one = (len(contrast), -1, 1, 1, 1)
        shallow = self.head(pixel_unshuffle3d(padded, self.shuffle))
        shallow = shallow * self.gain[contrast].view(one) + self.offset[contrast].view(one)
        residual = pixel_shuffle3d(self.tail(shallow + self.body(shallow)), self.shuffle)
        return image + residual[..., : sides[0], : sides[1], : sides[2]]


def build(settings: PfsrSettings) -> dict[str, nn.Module]:
    """``enhancer``: see ``PfsrNet``."""
    s = settings
    if s.attention == "global" and s.window:
        raise InputError(
            f"Expected window = 0 with global attention, which looks at the whole brain, found {s.window}; leave "
            "it out."
        )
    return {"enhancer": PfsrNet(s.width, s.groups, s.blocks, s.reduction, s.shuffle, s.attention)}
