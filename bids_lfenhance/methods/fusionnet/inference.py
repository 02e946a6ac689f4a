"""A session through ``fusionnet``: one pass of the network for each contrast."""

from dataclasses import dataclass

import numpy as np
import torch

from ...imaging.volume import Volume
from ...nn.crop import BrainCrop
from ...nn.estimate import CHANNELS
from ...nn.memory import choose_size, peak_bytes
from ...nn.method import Draw, Prepared
from ...nn.precision import use_precision
from ...nn.weights import Loaded, load_for_session
from ..estimate import MARGIN, SessionEstimate, estimate_session
from ..options import COARSER
from .network import build
from .settings import ABOUT, FusionNetSampling, FusionNetSettings, resolve


@dataclass(frozen=True, eq=False)
class FusionNetPrepared(Prepared[FusionNetSettings]):
    """The network in its trained state on its device, multiplying in ``precision``."""

    network: torch.nn.Module
    loaded: Loaded
    precision: str


def prepare(volume: Volume, sampling: FusionNetSampling) -> FusionNetPrepared:
    """The network with the weights asked for; contrasts that they do not know keep their own image."""
    loaded = load_for_session(sampling.weights, ABOUT.name, volume.contrasts)
    settings = resolve(sampling, loaded.settings)
    device = torch.device(settings.device)
    nets = build(settings)
    nets["estimate"].load_state_dict(loaded.state["estimate"])
    network = nets["estimate"].to(device, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
    half = use_precision({"estimate": network}, settings.precision, device)
    return FusionNetPrepared(volume, settings, network, loaded, "bf16" if half else "fp32")


def fit_to_memory(prepared: FusionNetPrepared, limit: int) -> FusionNetPrepared:
    """The same; raise InputError where the brain does not fit into ``limit`` bytes."""
    sides = BrainCrop.of(prepared.volume, prepared.loaded.contrasts, MARGIN).mask.shape
    with torch.device("meta"):
        network = build(prepared.settings)["estimate"].eval()
    multiple = int(network.multiple)  # type: ignore[arg-type]
    padded = [side + -side % multiple for side in sides]
    half = torch.bfloat16 if prepared.precision == "bf16" else torch.float32

    def needed(_: int) -> int:
        return peak_bytes(lambda: network.to(half)(torch.empty(1, CHANNELS, *padded, device="meta", dtype=half)))

    choose_size([0], needed, limit, ABOUT.name, sides, COARSER)
    return prepared


def sample(prepared: FusionNetPrepared, generator: np.random.Generator) -> Draw:
    """The estimate and the SD of its error; nothing here is random."""
    settings, loaded = prepared.settings, prepared.loaded
    estimate: SessionEstimate = estimate_session(
        prepared.volume, prepared.network, loaded.contrasts, settings.target_contrast, settings.device
    )
    record = {
        **estimate.record(),
        "weights": str(loaded.path),
        "weights_sha256": loaded.sha256,
        "precision": prepared.precision,
        "error_factor": settings.error_factor,
        "nfe": len(estimate.contrasts),
    }
    image = estimate.paste({name: one.image for name, one in estimate.contrasts.items()})
    return Draw(image, record, scale=estimate.error_scale(settings.error_factor))
