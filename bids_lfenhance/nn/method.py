"""The records that describe a method: functions and settings, without subclasses.

``Description`` is what can be known without torch (command line, plan, reports); ``Trainable`` how networks are made
and trained; ``Enhancer`` how a session is enhanced.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import numpy as np

from ..imaging.volume import Volume
from .settings import JsonObject

if TYPE_CHECKING:  # torch takes a second to import, and the command line reads these records without it
    import torch

    from .batch import Batch, ValidationSession
    from .example import Example
    from .source import HeadEstimate, Source
    from .stage import Nets, Stage
    from .weights import LoadedWeights

Direction = Literal["lf2hf", "hf2lf", "regions"]
"""What a method makes: high field from low field, low field from high field, the regions of an image."""

LearnsFrom = Literal["pairs", "heads", "labels", "scan", "nothing"]
"""Pairs of low and high field; high field alone, low field being simulated in every step; label maps; the very scan
that is enhanced (no weights); nothing at all."""

S = TypeVar("S")
"""Settings of a method."""

P = TypeVar("P")
"""What all draws of a session share: a ``Prepared``."""


@dataclass(frozen=True)
class Draw:
    """One output of a method: ``image`` (C, X, Y, Z) float32 on the volume's grid, and its record.

    ``record`` holds plain JSON values (losses, fitted contrast vector, warnings under the key ``"warnings"``);
    ``scale`` (C, X, Y, Z) float32 the SD of its error, in units of ``image``, where the method itself gives it;
    ``residual`` (C, X, Y, Z) float32 the difference of one possible image from ``image``, where it draws such images.
    """

    image: np.ndarray
    record: JsonObject
    scale: np.ndarray | None = None
    residual: np.ndarray | None = None


@dataclass(frozen=True)
class Residuals:
    """The residuals of ``count`` draws around one image, (C, X, Y, Z) float32 each.

    ``first`` of them, their ``mean``, and their voxelwise ``sd`` (divided by count − 1), None for one draw.
    """

    count: int
    first: np.ndarray
    mean: np.ndarray
    sd: np.ndarray | None


@dataclass(frozen=True)
class Enhanced:
    """What ``enhance`` returns.

    ``image`` (C, X, Y, Z) float32, the mean over draws; ``std`` the SD of its error: the mean of the draws' ``scale``,
    None of a method that gives none (the spread of draws is no measure of it); ``provenance`` plain JSON values:
    method, settings, seed, number of draws, each draw's record, seconds; ``maps`` images of the same shape that the
    method's ``combine_draws`` gives, by the names of its ``map_metadata``.
    """

    image: np.ndarray
    std: np.ndarray | None
    provenance: JsonObject
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class StartingImage:
    """The image that a network starts from, and what is to be done with what the network makes of it.

    ``volume`` with the image; ``contrasts`` that the network knows; ``record`` plain JSON of how it was made. (C, X, Y,
    Z) each, or None: ``native``, the image in the contrast of the scan, where ``volume`` was given that of high field;
    ``smooth``, the best image without a network, where ``volume`` was left noisier for its sake.
    """

    volume: Volume
    record: JsonObject
    contrasts: tuple[str, ...]
    native: np.ndarray | None = None
    smooth: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Prepared(Generic[S]):
    """What all draws of one session share: the session, and the settings as they are in use.

    Methods add to it by dataclasses of their own (networks, weights, estimate).
    """

    volume: Volume
    settings: S


@dataclass(frozen=True)
class Description(Generic[S]):
    """A method without its networks; ``settings.py`` of its folder holds it, and needs no torch.

    ``sampling`` are the user's options, each time: frozen dataclass, each field with a default and
    ``metadata={"help": …, "source": …}``, which ``--set KEY=VALUE`` sets; a field of few words is a
    ``Literal``. ``network`` and ``training`` are what weights are made with and store: the size of the networks and how
    they learn. ``settings`` has all of these fields, for the functions of the method.
    ``budgets`` maps a budget ("sloppy", "cpu", "gpu") to the options it changes, ``presets`` "paper", "tiny" to the
    settings of a training that it changes; ``measured`` is what a training measures in the end and its weights store.
    ``draws`` is how many ``enhance`` takes by default; with ``gives_error_std`` each comes with the SD of its error.
    ``weights_of`` is the name in the weights that it is used with, where that is not its own. ``sentence`` and
    ``references`` go into the methods text of a paper: "<sentence> [references]", keys of ``data/references.json`` or
    written out.
    """

    name: str
    direction: Direction
    learns_from: LearnsFrom
    settings: type[S]
    sampling: type
    network: type | None = None
    training: type | None = None
    measured: type | None = None
    budgets: Mapping[str, JsonObject] = field(default_factory=dict)
    presets: Mapping[str, JsonObject] = field(default_factory=dict)
    draws: int = 1
    gives_error_std: bool = False
    weights_of: str = ""
    sentence: str = ""
    references: tuple[str, ...] = ()

    @property
    def is_trained(self) -> bool:
        """Whether the train level can train it."""
        return self.training is not None

    @property
    def needs_weights(self) -> bool:
        """Whether it is used with weights."""
        return self.training is not None or bool(self.weights_of)

    @property
    def weights_name(self) -> str:
        """The name of a method that its weights store."""
        return self.weights_of or self.name


@dataclass(frozen=True)
class Trainable(Generic[S]):
    """How a method is trained; ``S`` its ``about.settings``.

    ``build(settings)`` makes its networks, by name, randomly initialised from torch's global generator, which the
    caller seeds; ``stages(settings)`` are run in order; ``predict(nets, batch, settings, generator)`` maps a batch of
    whole volumes without target to (B, C, X, Y, Z), whose PSNR in the brain validates a method without scores.
    ``source(examples)`` makes the training's ``Source``; None: patches of the examples, or, where ``about`` learns from
    heads, low field simulated in every step, to whose heads ``estimate(settings, precision)`` adds the estimate that
    the method builds on. ``score(nets, example, settings, device)`` gives a validation example its ``scores``, by name,
    the higher the better, and the first decides which weights are kept; ``score_sessions(nets, sessions, settings)``
    does so by the fixed sessions of a head.
    ``initialise(nets, examples)`` sets parameters that are estimated in closed form, before the first step.
    ``measure(nets, sessions, settings)`` returns the settings with what is measured on the trained networks
    (``about.measured``), on the fixed sessions of the validation subjects, or the training's where there are none.
    """

    about: Description[S]
    build: "Callable[[S], dict[str, torch.nn.Module]]"
    stages: "Callable[[S], tuple[Stage, ...]]"
    predict: "Callable[[Nets, Batch, S, torch.Generator], torch.Tensor] | None" = None
    source: "Callable[[Sequence[Example]], Source] | None" = None
    score: "Callable[[Nets, Example, S, torch.device], Mapping[str, float]] | None" = None
    score_sessions: "Callable[[Nets, Iterable[ValidationSession], S], Mapping[str, float]] | None" = None
    scores: tuple[str, ...] = ("psnr",)
    estimate: "Callable[[S, str], HeadEstimate] | None" = None
    initialise: "Callable[[Nets, Sequence[Example]], None] | None" = None
    measure: "Callable[[Nets, Iterable[ValidationSession], S], S] | None" = None

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
    ``is_stochastic(sampling)``: where ``sample`` uses its generator. ``resolve(sampling, stored)`` returns the settings
    in use with weights that store ``stored``, or raises InputError where they do not fit. ``map_metadata(loaded,
    sampling, draws)`` names the maps that so many draws give with these weights and options, with the "Description" and
    "Units" of each for its sidecar. ``combine_draws(prepared, image, residuals)`` makes of the mean image (C, X, Y, Z)
    and the draws' residuals the image to be written and further maps.
    """

    about: Description
    prepare: Callable[[Volume, S], P]
    sample: Callable[[P, np.random.Generator], Draw]
    fit_to_memory: Callable[[P, int], P] | None = None
    is_stochastic: Callable[[S], bool] = lambda settings: True
    resolve: Callable[[S, JsonObject], object] | None = None
    map_metadata: "Callable[[LoadedWeights, S, int], Mapping[str, Mapping[str, str]]] | None" = None
    combine_draws: Callable[[P, np.ndarray, Residuals], tuple[np.ndarray, Mapping[str, np.ndarray]]] | None = None

    @property
    def name(self) -> str:
        """Of the method."""
        return self.about.name
