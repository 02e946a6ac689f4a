"""The network of ``fusionnet``."""

from torch import nn

from ...nn.estimate import CHANNELS
from ...nn.unet3d import UNet3d
from .settings import FusionNetSettings


def build(settings: FusionNetSettings) -> dict[str, nn.Module]:
    """``estimate``: (B, 17, X, Y, Z) → (B, 2, X, Y, Z), see ``nn.estimate``."""
    return {"estimate": UNet3d(CHANNELS, 2, settings.widths)}
