"""The network of the regions: a U-Net on voxels folded two by two by two, told where in the head it looks."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..nn.fold import fold, unfold
from .regions import indices

FOLD = 2
"""Voxels a side that become channels: the network works at 2 mm and answers at 1 mm."""


class RegionNet(nn.Module):
    """Any image (B, 1, X, Y, Z) and its ``place`` (B, 4, 4) → logits (B, 33, X, Y, Z) of the channels of ``regions``.

    The coordinates of common space are three more inputs: left and right look alike, and a part of a head does not
    tell which it is. MONAI's ``BasicUNet`` between the folding and its inverse; ``widths`` of its levels and of its
    last features.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        from monai.networks.nets import BasicUNet

        classes = len(indices()) * FOLD**3
        self.body: Any = BasicUNet(3, FOLD**3 + 3, classes, widths, norm=("instance", {"affine": True}))

    def forward(self, image: Tensor, place: Tensor) -> Tensor:
        """(B, 33, X, Y, Z) logits."""
        sides = image.shape[2:]
        padded = functional.pad(image, [n for side in reversed(sides) for n in (0, -side % FOLD)])
        folded = fold(padded, FOLD)
        seen = torch.cat([folded, coordinates(place, folded.shape[2:])], dim=1)
        logits: Tensor = unfold(self.body(seen), FOLD)
        return logits[..., : sides[0], : sides[1], : sides[2]]


def coordinates(place: Tensor, sides: torch.Size) -> Tensor:
    """(B, 3, X/2, Y/2, Z/2): where the middle of each cell lies in common space."""
    axes = [torch.arange(side, device=place.device, dtype=place.dtype) * FOLD + (FOLD - 1) / 2 for side in sides]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return torch.einsum("bij,jxyz->bixyz", place[:, :3, :3], index) + place[:, :3, 3, None, None, None]
