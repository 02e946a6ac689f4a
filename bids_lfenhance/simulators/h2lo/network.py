"""The neural operator G(u)(x) = Σ b_k(u, x) t_k(x) + β: coefficients from the image, a basis over space (H2LO, eq. 1).

The numbers of its parameters, 581 409 in the published size, leave no room for norms or skips.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from ...config import CONTRASTS
from ...nn.implicit import ReluLayer, SineLayer, linear
from .settings import H2loNetwork

REACH = 5
"""Voxels that a coefficient sees on each side: five convolutions of 3³."""

OMEGA = 30.0
"""ω₀ of the sine layers (H2LO, section 3.1)."""

CHUNK = 1 << 16
"""Voxels whose basis is evaluated at once where all are wanted, to bound memory."""


class Operator(nn.Module):
    """Image (N, 1, X, Y, Z), where it lies, and voxels → low field at those voxels (H2LO, eq. 1).

    The convolutions are not padded: an answer is given ``REACH`` voxels inside the array, from what is really there.
    ``siren`` False puts ReLU for the sines; ``trunk`` False reads the coefficients with one linear head, the same
    everywhere.
    """

    def __init__(self, features: int, siren: bool = True, trunk: bool = True) -> None:
        super().__init__()
        widths = [1, features // 4, features // 4, features // 2, features // 2, features]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv3d(inputs, outputs, 3), nn.ReLU()]
        self.branch = nn.Sequential(*layers[:-1])
        self.trunk = _basis(features, siren) if trunk else None
        self.head = None if trunk else nn.Linear(features, 1)
        self.beta = nn.Parameter(torch.zeros(())) if trunk else None

    def forward(self, image: Tensor, to_template: Tensor, index: Tensor | None = None) -> Tensor:
        """(N, M) float32 at the voxels ``index`` (N, M), counted through the inner (X−10, Y−10, Z−10); None: all.

        ``to_template`` (N, 4, 4) carries voxel indices of ``image`` to common space, [−1, 1]³.
        """
        coefficients = self.branch(image)
        sides = coefficients.shape[2:]
        coefficients = coefficients.flatten(2)
        if index is not None:
            chosen = coefficients.gather(2, index[:, None].expand(-1, coefficients.shape[1], -1))
            return self._read(chosen, _points(index, sides, to_template))
        every = torch.arange(coefficients.shape[2], device=image.device).expand(len(image), -1)
        parts = [
            self._read(some, _points(where, sides, to_template))
            for some, where in zip(coefficients.split(CHUNK, dim=2), every.split(CHUNK, dim=1), strict=True)
        ]
        return torch.cat(parts, dim=1)

    def _read(self, coefficients: Tensor, points: Tensor) -> Tensor:
        """(N, M) from coefficients (N, P, M) and points (N, M, 3)."""
        if self.trunk is None:
            assert self.head is not None
            read: Tensor = self.head(coefficients.transpose(1, 2))[..., 0]
            return read.float()
        # Phases of 30 rad and more have no digits to spare: half precision stops at the coefficients.
        with torch.autocast(points.device.type, enabled=False):
            basis = self.trunk(points)
            return (coefficients.float().transpose(1, 2) * basis).sum(dim=2) + self.beta


def _basis(features: int, siren: bool) -> nn.Sequential:
    """(…, 3) → (…, features): three hidden layers of twice as many, and a linear one."""
    width, generator = 2 * features, torch.default_generator
    hidden: list[nn.Module] = [
        SineLayer(inputs, width, OMEGA, inputs == 3, generator) if siren else ReluLayer(inputs, width, generator)
        for inputs in (3, width, width)
    ]
    bound = (6 / width) ** 0.5 / (OMEGA if siren else 1)
    return nn.Sequential(*hidden, linear(width, features, bound, generator, torch.float32))


def _points(index: Tensor, sides: torch.Size, to_template: Tensor) -> Tensor:
    """(N, M, 3) in common space of inner voxels (N, M), which begin ``REACH`` voxels into the array."""
    voxel = torch.stack(torch.unravel_index(index, sides), dim=2).to(to_template.dtype) + REACH
    return voxel @ to_template[:, :3, :3].transpose(1, 2) + to_template[:, None, :3, 3]


def build(settings: H2loNetwork) -> dict[str, nn.Module]:
    """One ``Operator`` for each contrast, by its name."""
    wanted = CONTRASTS if settings.contrast == "all" else (settings.contrast,)
    return {name: Operator(settings.features, not settings.no_siren, not settings.no_trunk) for name in wanted}
