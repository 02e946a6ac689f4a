"""What the learned methods do alike: set up their networks, fit to memory, give the network a batch, finish a draw."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, replace
from typing import ClassVar, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..imaging.volume import Volume
from ..nn.batch import Batch, collate
from ..nn.crop import OUTSIDE, BrainCrop
from ..nn.memory import choose_size
from ..nn.method import Description, Draw, Estimate, Plain, Prepared
from ..nn.precision import use_precision
from ..nn.weights import Loaded, default_weights, load_weights
from .options import NetworkSampling


class LearnedSettings(Protocol):
    """What the settings of every learned method have (``options.LearnedSampling`` and ``LearnedNetwork``)."""

    __dataclass_fields__: ClassVar[dict[str, Field[object]]]

    @property
    def device(self) -> str:
        """Where the networks run."""

    @property
    def precision(self) -> str:
        """Numbers the networks multiply."""

    @property
    def strength(self) -> float:
        """Share of the network's change that is applied; 0: all of it."""

    @property
    def contrast(self) -> str:
        """Contrast of the result."""

    @property
    def fusion(self) -> str:
        """What is enhanced."""


S = TypeVar("S", bound=LearnedSettings)


@dataclass(frozen=True, eq=False)
class Learned(Prepared[S]):
    """What the draws of a learned method share.

    ``nets`` in their trained state on their device, multiplying in ``precision``; ``loaded``, the weights;
    ``estimate``, the image that the network starts from, as in training, and ``crop`` the brain of it.
    """

    nets: Mapping[str, nn.Module]
    loaded: Loaded
    precision: str
    estimate: Estimate
    crop: BrainCrop

    def batch(self) -> Batch:
        """The session as a batch of one on the device of the networks."""
        return batch_of(self.crop, self.crop.scaled(), self.crop.mask, self.settings.device)


def load(about: Description, volume: Volume, sampling: NetworkSampling) -> Loaded:
    """The weights asked for; the bundled ones that know the session's contrasts, where none are named.

    Weights that know only some of the contrasts will do; the others keep their own image.
    """
    source = sampling.weights
    if source == "auto":
        source = default_weights(about.name, volume.contrasts) or "auto"
    return load_weights(source, about.name, ())


def set_up(
    volume: Volume, settings: S, loaded: Loaded, nets: Mapping[str, nn.Module], half: Sequence[str] | None = None
) -> Learned[S]:
    """The networks with the weights in them, and the image they start from.

    Parameters
    ----------
    settings : as they are in use of the weights
    nets : randomly initialised, of the size that the weights have
    half : networks that multiply in bfloat16 where that is asked for and native; None: all
    """
    from .contrast import estimate  # here, so that who only loads weights does without scipy

    device = torch.device(settings.device)
    for name, net in nets.items():
        net.load_state_dict(loaded.state[name])
        net.to(device).eval()
    in_half = use_precision({name: nets[name] for name in (half or nets)}, settings.precision, device)
    start = estimate(volume, settings.fusion, loaded.contrasts)
    crop = BrainCrop.of(start.volume, loaded.contrasts)
    return Learned(volume, settings, nets, loaded, "bf16" if in_half else "fp32", start, crop)


def batch_of(crop: BrainCrop, image: np.ndarray, mask: np.ndarray, device: str) -> Batch:
    """A batch of one: ``image`` (C, x, y, z) scaled, ``mask`` (x, y, z) bool."""
    item = {"input": image, "present": crop.known, "mask": mask[None]}
    return collate([item]).to(device)


def fit_count(
    prepared: Learned[S], field: str, sizes: Sequence[int], needed: Callable[[int], int], limit: int, advice: str
) -> Learned[S]:
    """The same with the setting ``field`` the first of ``sizes`` that ``limit`` bytes allow; raise InputError if none.

    ``needed(size)`` are the bytes of that size; ``advice`` what the user may do.
    """
    shape = prepared.crop.mask.shape
    size = choose_size(sizes, needed, limit, prepared.loaded.method, shape, advice)
    return replace(prepared, settings=replace(prepared.settings, **{field: size}))


def record_of(prepared: Learned[S], *, warnings: Sequence[str] = (), **more: object) -> Plain:
    """What every draw of a learned method tells of itself, and ``more``."""
    contrasts = prepared.loaded.contrasts
    return {
        "weights": str(prepared.loaded.path),
        "input": prepared.estimate.record,
        "weights_sha256": prepared.loaded.sha256,
        "scale": prepared.crop.scales(),
        "precision": prepared.precision,
        "strength": prepared.settings.strength or 1.0,
        "outside": OUTSIDE,
        **more,
        "warnings": [*prepared.estimate.record["warnings"], *prepared.crop.warnings(contrasts), *warnings],
    }


def finish(
    prepared: Learned[S],
    result: Tensor | np.ndarray,
    record: Plain,
    start: Estimate | None = None,
) -> Draw:
    """The draw: ``result`` (C, x, y, z) of the network in place of the brain, in the contrast asked for.

    ``start``: what the network started from in this draw, where that is not what all draws share.
    """
    from .contrast import restore

    array = result.cpu().numpy() if isinstance(result, Tensor) else result
    draw = Draw(prepared.crop.paste(array), record)
    return restore(draw, prepared.volume, prepared.settings.contrast, start or prepared.estimate)
