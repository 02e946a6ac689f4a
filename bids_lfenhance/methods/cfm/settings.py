"""Settings of ``cfm`` by who decides them; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ...nn.method import Description
from ...nn.settings import JsonObject, setting
from ..residual_options import FLOW, FlowMeasured, FlowNetwork, FlowSampling, FlowTraining, ResidualTraining


@dataclass(frozen=True)
class CfmTraining(ResidualTraining):
    """How the network learns; the weights store it. Defaults are those of the preset ``paper``."""

    train_steps: int = field(default=12000, metadata=setting("training steps", least=1))
    rate: float = field(default=6e-4, metadata=setting("learning rate, falling as a cosine", above=0))
    batch: int = field(default=4, metadata=setting("patches a step", least=1))
    patch: int = field(default=128, metadata=setting("voxels a side of a patch, a multiple of 8", least=16))


@dataclass(frozen=True)
class CfmSampling(FlowSampling):
    """Options of ``cfm`` each time it is used."""

    solver: Literal["heun", "euler"] = field(
        default="heun",
        metadata=setting(
            "heun keeps 98 % of the spread in 8 steps; euler, as published, 72 %: one call a step", "IQT-CFM, Eq. 2"
        ),
    )


@dataclass(frozen=True)
class CfmSettings(CfmSampling, CfmTraining, FlowNetwork, FlowTraining):
    """All settings of ``cfm`` together, for its functions."""


PRESETS: Mapping[str, JsonObject] = {
    "paper": {},
    "tiny": {"width": 8, "train_steps": 1500, "batch": 2, "patch": 48, "pool": 24, "renew": 32},
}
"""What each preset changes; "tiny": .3 M parameters, for two cores."""

ABOUT = Description(
    "cfm",
    "lf2hf",
    "heads",
    settings=CfmSettings,
    sampling=CfmSampling,
    network=FlowNetwork,
    training=CfmTraining,
    measured=FlowMeasured,
    presets=PRESETS,
    budgets={"sloppy": {"steps": 2}, "cpu": {}, "gpu": {}},
    gives_error_std=True,
    weights_of=FLOW,
    sentence="a learned estimate, with draws around it by conditional flow matching of its standardised residual",
    references=("iqtcfm", "lipman", "corrdiff"),
)
