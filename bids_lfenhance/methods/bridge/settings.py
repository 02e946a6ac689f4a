"""Settings of ``bridge`` by who decides them; no torch."""

from dataclasses import dataclass, field

from ...errors import InputError
from ...nn.method import Description
from ...nn.settings import JsonObject, setting
from ..options import settings_with
from ..residual_options import FLOW, FlowMeasured, FlowNetwork, FlowSampling

K = 400
"""Where the bridge crosses in the paper, section 2.3."""

WHITE = 990
"""The level from which white noise alone will do, and the highest to start at."""


@dataclass(frozen=True)
class BridgeSampling(FlowSampling):
    """Options of ``bridge`` each time it is used."""

    k: int = field(
        default=0,
        metadata=setting(
            "noise level, of 1000, at which the bridge is crossed and the diffusion starts; 0: 400, or 990 where the "
            "weights do not store the power of the residual",
            "paper, section 2.3",
            least=0,
            most=WHITE,
        ),
    )


@dataclass(frozen=True)
class BridgeSettings(BridgeSampling, FlowNetwork, FlowMeasured):
    """All settings of ``bridge`` together, for its functions."""

    @property
    def start_level(self) -> int:
        """The noise level at which the bridge is crossed."""
        return self.k or (K if self.spectrum else WHITE)


ABOUT = Description(
    "bridge",
    "lf2hf",
    "pairs",
    settings=BridgeSettings,
    sampling=BridgeSampling,
    network=FlowNetwork,
    measured=FlowMeasured,
    budgets={"sloppy": {"steps": 2}, "cpu": {}, "gpu": {}},
    gives_error_std=True,
    weights_of=FLOW,
    sentence="a learned estimate, with draws around it by bridged denoising diffusion of its standardised residual",
    references=("bridge", "corrdiff"),
)


def resolve(sampling: BridgeSampling, stored: JsonObject) -> BridgeSettings:
    """The settings in use with weights that store ``stored``; raise InputError where they do not fit."""
    settings = settings_with(ABOUT, sampling, stored)
    if settings.start_level < WHITE and not settings.spectrum:
        raise InputError(
            f"Expected k = {WHITE} with weights that do not store the power of the residual, found "
            f"{settings.k}; leave it out."
        )
    return settings
