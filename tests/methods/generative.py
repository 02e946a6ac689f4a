"""A small estimate and small networks behind it, which nobody trained, for tests of the methods that draw."""

from pathlib import Path
from typing import Any

import torch

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.methods.cssdiff.network import build as build_slices
from bids_lfenhance.methods.cssdiff.settings import CssDiffNetwork
from bids_lfenhance.methods.flow import build as build_flow
from bids_lfenhance.methods.fusionnet.network import build as build_estimate
from bids_lfenhance.methods.fusionnet.settings import FusionNetSettings
from bids_lfenhance.methods.residual_options import ESTIMATE, FLOW, FlowNetwork
from bids_lfenhance.nn.weights import load_weights, save_weights

NETWORKS = {
    FLOW: lambda: build_flow(FlowNetwork(width=8)),
    "cssdiff": lambda: build_slices(CssDiffNetwork(width=8)),
}
"""By what their weights say that they are of."""


def small_weights(
    folder: Path, contrasts: tuple[str, ...] = CONTRASTS, kind: str = FLOW, **stored: Any
) -> dict[str, str]:
    """Options that name the weights of an estimate and of what draws; ``stored`` changes what the latter say."""
    estimate = folder / "estimate"
    network = moved(build_estimate(FusionNetSettings(width=8, levels=2)), seed=1)
    said = {"width": 8, "levels": 2, "error_factor": 0.8}
    recipe: dict[str, Any] = {"method": ESTIMATE, "contrasts": list(contrasts), "settings": said}
    save_weights(estimate, network, recipe, "drawn, not learned")
    said = {"width": 8, "estimate_sha256": load_weights(estimate, ESTIMATE, ()).sha256, **stored}
    recipe = {"method": kind, "contrasts": list(contrasts), "settings": said}
    save_weights(folder / kind, moved(NETWORKS[kind](), seed=2), recipe, "drawn, not learned")
    return {"weights": str(folder / kind), "estimate": str(estimate)}


def moved(nets: dict[str, torch.nn.Module], seed: int) -> dict[str, torch.nn.Module]:
    """The networks with every parameter moved a little: nothing stays at the zero it starts from."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for net in nets.values():
            for parameter in net.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return nets
