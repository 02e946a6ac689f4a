"""The network of ``inr``: one trunk over space, one intensity head per contrast, one tissue head."""

import torch
from torch import Tensor, nn

from ...nn.implicit import linear, trunk
from .settings import InrSettings

CLASSES = 4
"""Background, CSF, GM, WM: what the tissue head tells apart."""


class NeuralField(nn.Module):
    """Coordinates (N, 3) in [−1, 1] → intensity (N, C), tissue logits (N, 4).

    With a fused base, to which it is added, the intensity starts at zero; otherwise it is softplus, hence positive.
    """

    def __init__(
        self, contrasts: int, settings: InrSettings, omega: float, spread: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.residual, self.complex = settings.base != "none", settings.activation == "wire"
        width = settings.width
        self.trunk = trunk(settings.activation, 3, width, settings.layers, omega, spread, generator)
        features = 2 * max(1, round(width / 2**0.5)) if self.complex else width
        bound = 0.0 if self.residual else features**-0.5
        self.intensity = linear(features, contrasts, bound, generator, torch.float32)
        self.tissue = linear(features, CLASSES, features**-0.5, generator, torch.float32)
        if self.residual:
            nn.init.zeros_(self.intensity.bias)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """((N, C) intensity in units of the contrast's scale, (N, 4) logits), both float32."""
        h = self.trunk(points)
        if self.complex:
            h = torch.view_as_real(h).flatten(-2)
        raw = self.intensity(h).float()
        return raw if self.residual else nn.functional.softplus(raw), self.tissue(h).float()
