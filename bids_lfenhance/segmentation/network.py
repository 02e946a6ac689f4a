"""The network of the regions: an atlas warped to the head, and a U-Net that corrects it by what the image shows."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..nn.batch import Batch, required
from ..nn.convolution import Conv1x1x1, Conv3x3x3
from ..nn.pixel_shuffle import pixel_shuffle3d, pixel_unshuffle3d
from ..nn.stage import Nets
from ..nn.windows import Windows, blend
from .atlas import NODES, nodes_of
from .mixture import Gaussians, fit_mixture, log_likelihood
from .regions import groups_of_channels, indices, mirrored_channels
from .settings import RegionsNetwork, RegionsSettings

CELL = 2
"""Voxels a side that become channels: the network works on cells of 2 mm and answers at 1 mm."""

SLAB = 4
"""Cells along an axis that are answered at once: (33, X, Y, Z) in single precision would be most of the memory."""

OVERLAP = 0.25
"""Overlap of the windows through which a head is seen, as a share of their sides."""

LEAST = 1e-4
"""Least probability of the atlas: people differ more than fourteen label maps show."""


class RegionNet(nn.Module):
    """Any image (B, 1, X, Y, Z) and ``where`` (B, 3, X/2, Y/2, Z/2) its cells lie → logits (B, 33, X, Y, Z).

    Sides are even. To the logarithm of the atlas' probabilities the log-likelihood of each voxel's intensity is added,
    under a mixture fitted to this very image (``mixture``), so that no contrast has to be known; a U-Net corrects the
    sum, seeing the image, the atlas and what the mixture makes of both. Its last layer is initialised near zero, so it
    starts as the classical segmentation by atlas and mixture (Van Leemput et al. 1999).
    ``widths``: features of its levels; ``patch`` (3,) voxels that it is trained on, and the size of windows in use: the
    normalisation depends on what it is shown, and a whole head differs from a part.
    """

    atlas: Tensor
    groups: Tensor

    def __init__(self, widths: Sequence[int], patch: Sequence[int]) -> None:
        super().__init__()
        self.windows = Windows(tuple(side // CELL for side in patch), OVERLAP)
        classes = len(indices())
        empty = torch.zeros(classes, *NODES)
        empty[0] = 1
        self.register_buffer("atlas", empty)
        self.register_buffer("groups", torch.from_numpy(groups_of_channels()), persistent=False)
        self.trust = nn.Parameter(torch.tensor(0.3))
        self.body = UNet(CELL**3 + 2 * classes, widths)
        self.answer = nn.Conv3d(widths[0], classes * CELL**3, 1)
        for weight in self.answer.parameters():
            nn.init.normal_(weight, std=1e-3)  # next to nothing, but not zero, which would let no gradient through

    def forward(self, image: Tensor, where: Tensor, voxels: Tensor | None = None) -> Tensor:
        """(B, 33, X, Y, Z) logits, float16; or, with ``voxels`` (V,) of the eight in a cell, (B, 33, V, x, y, z)."""
        prior, folded = self.warped_prior(where), pixel_unshuffle3d(image.float(), CELL)
        sample = folded[:, 0].flatten(1)  # one voxel of a cell: its noise is the image's
        with torch.no_grad():
            gaussians = fit_mixture(sample, prior.flatten(2), self.groups)
        if voxels is not None:
            return self.logits_at(
                folded[:, voxels], prior, self.body(self.unet_input(folded, prior, gaussians)), gaussians, voxels
            )
        return self.full_logits(folded, prior, gaussians)

    @torch.no_grad()
    def full_logits(self, folded: Tensor, prior: Tensor, gaussians: Gaussians) -> Tensor:
        """(B, 33, 2x, 2y, 2z) logits of every voxel, float16, the head seen by windows; without gradient."""
        features = blend(self.body, self.unet_input(folded, prior, gaussians), self.windows)
        every = torch.arange(CELL**3, device=prior.device)
        shape = (len(prior), prior.shape[1], *(CELL * side for side in prior.shape[2:]))
        logits = torch.empty(shape, dtype=torch.float16, device=prior.device)
        slabs = [part.split(SLAB, dim=-3) for part in (folded, prior, features)]
        for answer, seen, expected, found in zip(logits.split(SLAB * CELL, dim=-3), *slabs, strict=True):
            answer.copy_(pixel_shuffle3d(self.logits_at(seen, expected, found, gaussians, every).flatten(1, 2), CELL))
        return logits

    @torch.no_grad()
    def unet_input(self, folded: Tensor, prior: Tensor, gaussians: Gaussians) -> Tensor:
        """(B, 8 + 2·33, x, y, z) what the U-Net sees: the image, the atlas, and what the mixture makes of both."""
        likely = log_likelihood(folded[:, 0].flatten(1), gaussians)[:, self.groups].unflatten(2, prior.shape[2:])
        return torch.cat([folded, prior, (prior.log() + 0.5 * likely).softmax(dim=1)], dim=1)

    def logits_at(
        self, folded: Tensor, prior: Tensor, features: Tensor, gaussians: Gaussians, voxels: Tensor
    ) -> Tensor:
        """(B, 33, V, x, y, z) logits of some voxels of the cells."""
        likely = log_likelihood(folded.flatten(1), gaussians).unflatten(2, folded.shape[1:])[:, self.groups]
        weight, bias = (part.unflatten(0, (-1, CELL**3))[:, voxels].flatten(0, 1) for part in self.answer.parameters())
        learned = functional.conv3d(features, weight, bias).unflatten(1, (-1, len(voxels)))
        return learned + self.trust * likely + prior[:, :, None].log()

    def warped_prior(self, where: Tensor) -> Tensor:
        """(B, 33, x, y, z) probabilities of the atlas at ``where`` (B, 3, x, y, z); left is the mirror of right."""
        left = where[:, :1] < 0
        right_half = torch.cat([where[:, :1].abs(), where[:, 1:]], dim=1)
        points = nodes_of(right_half).flip(1).movedim(1, -1).to(self.atlas.dtype)
        atlas = self.atlas.expand(len(where), *self.atlas.shape)
        found = functional.grid_sample(atlas, points, padding_mode="border", align_corners=True).float()
        found = torch.where(left, found[:, torch.from_numpy(mirrored_channels()).to(where.device)], found)
        return (found + LEAST) / (1 + LEAST * found.shape[1])


class UNet(nn.Module):
    """Features (B, i, x, y, z) → (B, widths[0], x, y, z); two convolutions a level each way, any sides.

    Each channel is normalised over space: with a normalisation over the channels of each place, features that are the
    same everywhere outgrew the rest, and 1100 steps of training changed nothing (docs/notebook.md).
    """

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        pairs = list(zip([inputs, *widths[:-1]], widths, strict=True))
        self.down = nn.ModuleList(nn.Sequential(Layer(i, o), Layer(o, o)) for i, o in pairs)
        self.narrow = nn.ModuleList(Conv1x1x1(o, i) for i, o in pairs[1:])
        self.up = nn.ModuleList(nn.Sequential(Layer(2 * i, i), Layer(i, i)) for i, _ in pairs[1:])

    def forward(self, image: Tensor) -> Tensor:
        """(B, widths[0], x, y, z)."""
        skips = [self.down[0](image.contiguous(memory_format=torch.channels_last_3d))]
        for level in self.down[1:]:
            skips.append(level(functional.avg_pool3d(skips[-1], 2, ceil_mode=True)))
        found = skips.pop()
        for narrow, level in zip(reversed(self.narrow), reversed(self.up), strict=True):
            skip = skips.pop()
            wide = functional.interpolate(narrow(found), size=skip.shape[2:], mode="nearest")
            found = level(torch.cat([wide, skip], dim=1))
        return found


class Layer(nn.Module):
    """Convolution of 3³, instance normalisation, rectifier."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = Conv3x3x3(inputs, outputs)
        self.norm = nn.GroupNorm(outputs, outputs)  # InstanceNorm3d, but that channels stay last

    def forward(self, image: Tensor) -> Tensor:
        """(B, outputs, x, y, z)."""
        return functional.leaky_relu(self.norm(self.convolution(image)), 0.1)


def build(settings: RegionsNetwork) -> dict[str, nn.Module]:
    """``regions``: see ``RegionNet``."""
    return {"regions": RegionNet(settings.widths, settings.shape)}


def predict(nets: Nets, batch: Batch, settings: RegionsSettings, generator: torch.Generator) -> Tensor:
    """(B, 33, X, Y, Z) posteriors of the channels of ``regions``, float16, summing to 1."""
    logits: Tensor = nets["regions"](batch.input, required(batch.template_coordinates))
    for part in logits.split(SLAB, dim=-3):  # in place: a second (33, X, Y, Z) would be most of the memory
        part.copy_(part.float().softmax(dim=1))
    return logits
