"""One shape for every method: records of functions, never subclasses.

``Description`` is what can be known without torch (command line, plan, reports); ``Trainable`` how networks are made
and trained; ``Enhancer`` how a session is enhanced.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, TypeVar

import numpy as np

from ..imaging.volume import Volume
from .stage import Phase, Stage

__all__ = ["Phase", "Stage"]

if TYPE_CHECKING:  # torch takes a second to import, and the command line reads these records without it
    import torch

    from .batch import Batch as TensorBatch
    from .source import Source
    from .stage import Nets
    from .weights import Loaded

    Batch = Mapping[str, torch.Tensor]
    Scores = Mapping[str, float]

Direction = Literal["lf2hf", "hf2lf", "regions"]
"""What a method makes: high field from low field, low field from high field, the regions of an image."""

LearnsFrom = Literal["pairs", "labels", "scan", "nothing"]
"""Pairs of low and high field; label maps; the very scan that is enhanced (no weights); nothing at all."""

S = TypeVar("S")
"""Settings of a method."""

P = TypeVar("P")
"""What all draws of a session share: a ``Prepared``."""

Plain: TypeAlias = Mapping[str, Any]
"""Plain JSON values by name."""


@dataclass(frozen=True)
class Draw:
    """One output of a method: ``image`` (C, X, Y, Z) float32 on the volume's grid, and what there is to tell of it.

    ``record`` holds plain JSON values (losses, fitted contrast vector, warnings under the key ``"warnings"``);
    ``maps`` images of its shape beside it, by the names that the method's ``map_metadata`` gives; ``scale``
    (C, X, Y, Z) float32 the SD of its error, in units of ``image``, where the method itself says it.
    """

    image: np.ndarray
    record: Plain
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    scale: np.ndarray | None = None


@dataclass(frozen=True)
class Enhanced:
    """What ``enhance`` returns.

    ``image`` (C, X, Y, Z) float32, the mean over draws; ``std`` the SD of its error: the mean of the draws' ``scale``
    where the method gives one, else the voxelwise SD over draws, or None for one draw; ``provenance`` plain JSON
    values: method, settings, seed, number of draws, each draw's record, seconds; ``maps`` the means over draws of the
    draws' maps.
    """

    image: np.ndarray
    std: np.ndarray | None
    provenance: Mapping[str, Any]
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Estimate:
    """The image that a network starts from, and what is to be done with what the network makes of it.

    ``volume`` with the image; ``contrasts`` that the network knows; ``record`` plain JSON of how it was made. (C, X, Y,
    Z) each, or None: ``native``, the image in the contrast of the scan, where ``volume`` was given that of high field;
    ``smooth``, the best image without a network, where ``volume`` was left noisier for its sake; ``scale``, the SD of
    the error of the image, for methods that sample the residual.
    """

    volume: Volume
    record: Plain
    contrasts: tuple[str, ...]
    native: np.ndarray | None = None
    smooth: np.ndarray | None = None
    scale: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Prepared(Generic[S]):
    """What all draws of one session share: the session, and the settings as they are in use.

    Methods add to it by dataclasses of their own (``methods/learned.py``: networks, weights, estimate).
    """

    volume: Volume
    settings: S


@dataclass(frozen=True)
class Learning:
    """How a method is trained.

    ``build(settings)`` makes its networks, by name, randomly initialised from torch's global generator, which the
    caller seeds; ``stages(settings)`` are run in order; ``predict(nets, batch, settings, generator)`` maps a batch of
    whole volumes (the keys of a training batch but ``target``) to (B, C, X, Y, Z), for validation and for ``sample``.
    ``presets`` maps "paper", "small" or "tiny" to the settings it changes.
    What does not learn from low and high field says how: ``draw(example, shape, generator)`` makes an item of a batch,
    ``judge(nets, example, settings, device)`` gives a whole example its ``scores``, by name, the higher the better; the
    first decides which weights are kept. ``begin(nets, examples)`` sets what is counted rather than descended to, from
    the training's examples, before the first step. ``helpers(nets, settings, people)`` makes networks that only a
    training on so many people needs: they go into its checkpoints, not into the weights.
    """

    build: "Callable[[Any], dict[str, torch.nn.Module]]"
    stages: Callable[[Any], tuple[Stage, ...]]
    predict: "Callable[[Nets, Batch, Any, torch.Generator], torch.Tensor]"
    presets: Mapping[str, Mapping[str, Any]]
    draw: Callable[[Any, tuple[int, int, int], np.random.Generator], dict[str, np.ndarray]] | None = None
    judge: "Callable[[Nets, Any, Any, torch.device], Scores] | None" = None
    scores: tuple[str, ...] = ("psnr",)
    begin: "Callable[[Nets, Sequence[Any]], None] | None" = None
    helpers: "Callable[[Nets, Any, int], dict[str, torch.nn.Module]] | None" = None


def _always(settings: Any) -> bool:
    return True


@dataclass(frozen=True)
class Method:
    """A way from low field to high field, from high to low, or from an image to its regions.

    ``settings`` is the frozen dataclass of the method's own options: each field carries a default and
    ``metadata={"help": …, "source": …}``, from which the command line's ``--<name>-<field>`` is made; a field that
    takes one of few words is a ``Literal``.
    ``learns_from``: "pairs", "hf", "labels" (label maps), "scan" (``sample`` fits, then queries; no checkpoint) or
    "nothing".
    ``prepare(volume, settings)`` returns what all draws share (weights, a fused base, a fitted contrast vector), so
    that it is paid for once; ``fit(nets, volume, limit)`` returns it such that no more than ``limit`` bytes are needed,
    or raises InputError; ``sample(nets, volume, settings, generator) -> Draw`` draws once, given it as ``nets``.
    ``draws`` is how many draws ``enhance`` takes unless told otherwise; more than one only makes sense where
    ``varies(settings)``: where ``sample`` uses its generator. ``learning`` is there for what learns from pairs or high
    field. ``budgets`` maps a budget ("sloppy", "cpu", "gpu") to the settings it changes. ``shows(loaded)`` names the
    maps that draws with these weights come with, in the contrasts that the weights know, and says of each what it is
    ("Description", "Units": they go into its sidecar). ``used(settings, theirs)`` is what the settings are in use of
    weights that were trained with ``theirs``, or raises InputError; ``prepare`` hands it on as ``"settings"``.
    """

    name: str
    settings: type
    maps: Literal["lf2hf", "hf2lf", "regions"]
    learns_from: Literal["pairs", "hf", "labels", "scan", "nothing"]
    sample: Callable[[Mapping[str, Any], Volume, Any, np.random.Generator], Draw]
    draws: int = 1
    budgets: Mapping[str, Mapping[str, Any]] | None = None
    prepare: Callable[[Volume, Any], Mapping[str, Any]] | None = None
    learning: Learning | None = None
    varies: Callable[[Any], bool] = _always
    fit: Callable[[Mapping[str, Any], Volume, int], Mapping[str, Any]] | None = None
    shows: "Callable[[Loaded], Mapping[str, Mapping[str, str]]] | None" = None
    used: Callable[[Any, Mapping[str, Any]], Any] | None = None


@dataclass(frozen=True)
class Description:
    """A method without its networks; ``settings.py`` of its folder holds it, and needs no torch.

    ``sampling`` are the user's options, each time: frozen dataclass, each field with a default and
    ``metadata={"help": …, "source": …}``, from which ``--<name>-<field>`` is made; a field of few words is a
    ``Literal``. ``network`` and ``training`` are what weights are made with and store: the size of the networks and how
    they learn. ``settings`` has all of these fields, for the functions of the method.
    ``budgets`` maps a budget ("sloppy", "cpu", "gpu") to the options it changes, ``presets`` "paper", "tiny" to the
    settings of a training that it changes. ``draws`` is how many ``enhance`` takes by default. ``sentence`` and
    ``references`` go into the methods text of a paper: "<sentence> [references]".
    """

    name: str
    direction: Direction
    learns_from: LearnsFrom
    settings: type
    sampling: type
    network: type | None = None
    training: type | None = None
    budgets: Mapping[str, Plain] = field(default_factory=dict)
    presets: Mapping[str, Plain] = field(default_factory=dict)
    draws: int = 1
    sentence: str = ""
    references: tuple[str, ...] = ()

    @property
    def is_trained(self) -> bool:
        """Whether it needs weights."""
        return self.training is not None


class MakesSource(Protocol):
    """How a training turns its examples into what it learns from."""

    def __call__(self, examples: "Sequence[Any]") -> "Source":
        """A source of items of these examples."""


@dataclass(frozen=True)
class Trainable(Generic[S]):
    """How a method is trained; ``S`` its ``about.settings``.

    ``build(settings)`` makes its networks, by name, randomly initialised from torch's global generator, which the
    caller seeds; ``stages(settings)`` are run in order; ``predict(nets, batch, settings, generator)`` maps a batch of
    whole volumes without target to (B, C, X, Y, Z), for validation. ``source`` makes what is learned from of the
    examples; None: patches of them. ``score(nets, example, settings, device)`` gives a validation example its
    ``scores``, by name, the higher the better, and the first decides which weights are kept; None: PSNR in the brain.
    ``initialise(nets, examples)`` sets parameters that are estimated in closed form, before the first step.
    ``auxiliary_networks(nets, settings, people)`` makes networks that only a training on so many people needs: they go
    into its checkpoints, not into the weights.
    """

    about: Description
    build: "Callable[[S], dict[str, torch.nn.Module]]"
    stages: Callable[[S], tuple[Stage, ...]]
    predict: "Callable[[Nets, TensorBatch, S, torch.Generator], torch.Tensor]"
    source: MakesSource | None = None
    score: "Callable[[Nets, Any, S, torch.device], Mapping[str, float]] | None" = None
    scores: tuple[str, ...] = ("psnr",)
    initialise: "Callable[[Nets, Sequence[Any]], None] | None" = None
    auxiliary_networks: "Callable[[Nets, S, int], dict[str, torch.nn.Module]] | None" = None

    @property
    def name(self) -> str:
        """Of the method."""
        return self.about.name


@dataclass(frozen=True)
class Enhancer(Generic[S, P]):
    """How a method enhances a session; ``S`` its ``about.sampling``, ``P`` what its draws share.

    ``prepare(volume, sampling)`` returns what all draws share (weights, a fused image, a fitted contrast vector), so
    that it is paid for once; ``sample(prepared, generator)`` draws once. ``fit_to_memory(prepared, limit)`` returns it
    such that no more than ``limit`` bytes are needed, or raises InputError. More than one draw only makes sense where
    ``is_stochastic(sampling)``: where ``sample`` uses its generator. ``check(sampling, stored)`` raises InputError for
    options that do not go with weights whose stored settings are these. ``map_metadata(loaded)`` names the maps that
    draws with these weights come with, and says of each what it is ("Description", "Units": for its sidecar).
    """

    about: Description
    prepare: Callable[[Volume, S], P]
    sample: Callable[[P, np.random.Generator], Draw]
    fit_to_memory: Callable[[P, int], P] | None = None
    is_stochastic: Callable[[S], bool] = _always
    check: Callable[[S, Plain], object] | None = None
    map_metadata: "Callable[[Loaded], Mapping[str, Mapping[str, str]]] | None" = None

    @property
    def name(self) -> str:
        """Of the method."""
        return self.about.name
