"""A session through ``fusionnet``: one pass of the network for each contrast."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ...imaging.volume import Volume
from ...nn.crop import BrainCrop
from ...nn.estimate import CHANNELS
from ...nn.memory import choose_size, peak_bytes
from ...nn.method import Draw, Prepared
from ...nn.precision import use_precision
from ...nn.weights import LoadedWeights, load_for_session
from ..estimate import MARGIN, SessionEstimate, estimate_session, keeps_contrast
from ..options import COARSER, EstimateSampling, settings_with
from .network import build
from .settings import ABOUT, FusionNetSettings


@dataclass(frozen=True, eq=False)
class FusionNetPrepared(Prepared[FusionNetSettings]):
    """The network in its trained state on its device, multiplying in ``precision``."""

    network: torch.nn.Module
    loaded: LoadedWeights
    precision: str

    @property
    def error_factors(self) -> Mapping[str, float]:
        """What the SD of the network is multiplied by, by contrast.

        The factor that its training measured; where the estimate is in the contrast of the scans, and they correct it,
        also the one under ``calibration`` in the recipe of the weights, fitted to the corrected estimate.
        """
        fitted, factor = self.loaded.recipe.get("calibration", {}), self.settings.error_factor
        own = {name: keeps_contrast(name, self.settings.target_contrast) for name in self.loaded.contrasts}
        return {name: factor * (fitted.get(name, 1.0) if kept else 1.0) for name, kept in own.items()}


def prepare(volume: Volume, sampling: EstimateSampling) -> FusionNetPrepared:
    """The network with the weights asked for; contrasts that they do not know keep their own image."""
    loaded = load_for_session(sampling.weights, ABOUT.name, volume.contrasts)
    settings = settings_with(ABOUT, sampling, loaded.settings)
    device = torch.device(settings.device)
    nets = loaded.into(build(settings), device)
    network = nets["estimate"].to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    half = use_precision(nets, settings.precision, device)
    return FusionNetPrepared(volume, settings, network, loaded, "bf16" if half else "fp32")


def fit_to_memory(prepared: FusionNetPrepared, limit: int) -> FusionNetPrepared:
    """The same; raise InputError where the brain does not fit into ``limit`` bytes."""
    sides = BrainCrop.of(prepared.volume, prepared.loaded.contrasts, MARGIN).mask.shape
    with torch.device("meta"):
        network = build(prepared.settings)["estimate"].eval()
    multiple = int(network.multiple)  # type: ignore[arg-type]
    padded = [side + -side % multiple for side in sides]

    def needed(_: int) -> int:
        return peak_bytes(lambda: network(torch.empty(1, CHANNELS, *padded, device="meta")))

    choose_size([0], needed, limit, sides, COARSER)
    return prepared


def sample(prepared: FusionNetPrepared, generator: np.random.Generator) -> Draw:
    """The estimate and the SD of its error; nothing here is random."""
    settings, loaded = prepared.settings, prepared.loaded
    estimate: SessionEstimate = estimate_session(
        prepared.volume, prepared.network, loaded.contrasts, settings.target_contrast, settings.device
    )
    record = {
        **estimate.record(),
        "weights": loaded.where,
        "weights_sha256": loaded.sha256,
        "precision": prepared.precision,
        "error_factors": {name: prepared.error_factors[name] for name in estimate.contrasts},
        "nfe": len(estimate.contrasts),
    }
    image = estimate.paste({name: one.image for name, one in estimate.contrasts.items()})
    return Draw(image, record, scale=estimate.error_scale(prepared.error_factors))
