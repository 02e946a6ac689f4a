"""Settings of the methods that draw the residual of the learned estimate, and what they refuse; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import InputError
from ..nn.settings import Checked, OnlineTraining, setting
from ..nn.weights import LoadedWeights
from .options import EstimateSampling

FLOW = "residualflow"
"""The name that weights of the 3D flow store in place of a method's."""

ESTIMATE = "fusionnet"
"""The method that makes the estimate."""


@dataclass(frozen=True)
class ResidualSampling(EstimateSampling):
    """Options of every method that draws the residual, each time it is used."""

    estimate: str = field(
        default="auto",
        metadata=setting("weights of the estimate, which must be those that the others were trained with; as weights"),
    )
    steps: int = field(
        default=8,
        metadata=setting("steps of Heun, two calls each but the last", "docs/methods/cfm.md", least=1),
    )
    sample: bool = field(
        default=True,
        metadata=setting(
            "draw one possible image and write it beside the enhanced one, as desc-<label>Sample; off: the estimate "
            "alone, at no more cost than it has"
        ),
    )
    sharpness: float = field(
        default=0.0,
        metadata=setting(
            "share of what is drawn that the enhanced image takes over, as sharp as high field at 1; .3 costs .37 dB, "
            ".5 costs .97 (simulated low field, cfm); 0: the enhanced image is the estimate",
            "docs/methods/cfm.md",
            least=0,
            most=1,
        ),
    )

    @property
    def draws_residual(self) -> bool:
        """Whether anything is drawn, or the estimate is all that is asked for."""
        return self.sample or self.sharpness > 0


@dataclass(frozen=True)
class FlowSampling(ResidualSampling):
    """Options of the methods that draw it by the 3D flow, each time they are used."""

    window: int = field(
        default=0,
        metadata=setting(
            "voxels a side that the flow looks at at once, blended inside every step; 0: the whole brain, or the "
            "largest window that memory allows",
            "docs/methods/uncertainty.md",
            least=0,
        ),
    )


@dataclass(frozen=True)
class ResidualMeasured(Checked):
    """What every training on top of an estimate measures; the weights store it."""

    estimate_sha256: str = field(
        default="", metadata=setting("SHA-256 of the weights of the estimate that it was trained with")
    )


@dataclass(frozen=True)
class FlowMeasured(ResidualMeasured):
    """What a training of the flow measures; the weights store it."""

    spectrum: tuple[float, ...] = field(
        default=(),
        metadata=setting("power of the residual in bands of .05 cycles per mm, as measured on validation subjects"),
    )


@dataclass(frozen=True)
class ResidualTraining(OnlineTraining):
    """How a method on top of an estimate learns; the weights store it."""

    estimate_weights: str = field(
        default="auto",
        metadata=setting("weights of the estimate to train on top of, and valid only with it; as weights"),
    )
    label_maps: float = field(
        default=0.0,
        metadata=setting("share of heads made from label maps: none, as their texture is invented", least=0, most=1),
    )


@dataclass(frozen=True)
class ResidualTrainingSettings(ResidualTraining, ResidualMeasured):
    """Settings of a training on top of an estimate, and what it measures."""


@dataclass(frozen=True)
class FlowTraining(ResidualTrainingSettings, FlowMeasured):
    """Settings of a training of the flow, and what it measures."""


@dataclass(frozen=True)
class FlowNetwork(Checked):
    """What shapes the flow; the weights store it."""

    width: int = field(default=32, metadata=setting("features at full resolution, then 2, 4, 6 times as many", least=8))

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of each level."""
        return tuple(self.width * times for times in (1, 2, 4, 6))


def check_estimate(method: str, wanted: str, estimate: LoadedWeights) -> None:
    """Raise InputError where the estimate is not the one, by SHA-256, that the method was trained with."""
    if wanted != estimate.sha256:
        raise InputError(
            f"Expected the estimate of {method} with the hash {wanted[:12] or '(none)'}…, with which it was "
            f"trained, found {estimate.sha256[:12]}…; name those weights, or other --weights."
        )


MAPS: Mapping[str, Mapping[str, str]] = {
    "Sample": {
        "Description": "One possible high-field image: the learned estimate plus one draw of what the scan leaves "
        "open, less the mean of the draws, which are spread to match. Its texture is invented: plausible, not "
        "measured.",
        "Units": "as the enhanced image",
    },
    "DrawsStd": {
        "Description": "Standard deviation over draws, divided by their number less one: a check of the error that the "
        "estimate states, not a measure of truth.",
        "Units": "as the enhanced image",
    },
}
"""Metadata of each map in its sidecar."""


def output_maps(loaded: LoadedWeights, sampling: ResidualSampling, draws: int) -> Mapping[str, Mapping[str, str]]:
    """The maps that ``draws`` draws give with these options, and the metadata of each."""
    wanted = {"Sample": sampling.sample, "DrawsStd": sampling.draws_residual and draws > 1}
    return {name: about for name, about in MAPS.items() if wanted[name]}
