"""The network of ``inr``: one trunk over space, one intensity head per contrast, one tissue head."""

import torch
from torch import Tensor, nn

from ...nn.implicit import Activation, linear, trunk

CLASSES = 4
"""Background, CSF, GM, WM: what the tissue head tells apart."""


class Field(nn.Module):
    """Coordinates (N, 3) in [−1, 1] → intensity (N, C), tissue logits (N, 4).

    ``residual`` starts the intensity at zero (to be added to a fused base); otherwise it is softplus, hence positive.
    """

    def __init__(
        self,
        contrasts: int,
        residual: bool,
        activation: Activation,
        width: int,
        layers: int,
        omega: float,
        scale: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.trunk = trunk(activation, 3, width, layers, omega, scale, generator)
        features = width if activation != "wire" else 2 * max(1, round(width / 2**0.5))
        self.complex = activation == "wire"
        self.intensity = linear(features, contrasts, 0.0 if residual else features**-0.5, generator, torch.float32)
        self.tissue = linear(features, CLASSES, features**-0.5, generator, torch.float32)
        if residual:
            nn.init.zeros_(self.intensity.bias)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """((N, C) intensity in units of the contrast's scale, (N, 4) logits), both float32."""
        h = self.trunk(points)
        if self.complex:
            h = torch.view_as_real(h).flatten(-2)
        raw = self.intensity(h).float()
        return raw if self.residual else nn.functional.softplus(raw), self.tissue(h).float()
