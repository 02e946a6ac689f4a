"""What a flow learns from: the residual of a given estimate, of low field simulated anew; how it is scored."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn

from ..nn.batch import Batch, Item, ValidationSession, required
from ..nn.estimate import read_output
from ..nn.residual import radial_power, standardise
from ..nn.source import Position, Source
from ..nn.stage import Losses, Nets, Stage
from ..nn.unet3d import apply_padded
from ..nn.weights import LoadedWeights, load_weights
from . import get_trainable
from .residual_options import ESTIMATE, FlowTraining, ResidualTraining, ResidualTrainingSettings

S = TypeVar("S", bound=ResidualTrainingSettings)
F = TypeVar("F", bound=FlowTraining)

SCORES = ("velocity-r2",)
"""Share of the velocity's variance that is explained."""


class EstimateSource:
    """Items of another source with the estimate of each, and the SD of its error as predicted."""

    def __init__(self, source: Source, settings: ResidualTraining) -> None:
        self._source = source
        self._loaded = load_weights(settings.estimate_weights, ESTIMATE, ())
        self._network: nn.Module | None = None
        self.people = source.people

    @property
    def identity(self) -> object:
        """What decides the items: also the estimate."""
        return {"source": self._source.identity, "estimate": self._loaded.sha256}

    def item(self, stage: Stage, at: Position) -> Item:
        """As of the other source."""
        return self._source.item(stage, at)

    def realise(self, stage: Stage, items: Sequence[Item], at: Sequence[Position], device: torch.device) -> Batch:
        """The patches with ``mean`` and ``scale``."""
        if self._network is None:
            self._network = estimator(self._loaded, device)
        return with_estimate(self._source.realise(stage, items, at, device), self._network)


def estimator(loaded: LoadedWeights, device: torch.device) -> nn.Module:
    """The network of the estimate with its weights, which never move."""
    record = get_trainable(ESTIMATE)
    kept = {name: value for name, value in loaded.settings.items() if hasattr(record.about.settings, name)}
    nets = loaded.into(record.build(record.about.settings(**kept)), device)
    return nets["estimate"].requires_grad_(False)


def with_estimate(batch: Batch, network: nn.Module) -> Batch:
    """The batch with ``mean`` and ``scale``, (B, 1, X, Y, Z)."""
    with torch.no_grad():
        mean, scale = read_output(batch.input, apply_padded(network, batch.input))
    return replace(batch, mean=mean, scale=scale)


def score_sessions(
    losses: Losses, variance: float
) -> "Callable[[Nets, Iterable[ValidationSession], S], Mapping[str, float]]":
    """How a method is scored whose loss ``velocity`` is that of a velocity of so much variance: ``SCORES``."""

    def of_sessions(nets: Nets, sessions: Iterable[ValidationSession], settings: S) -> Mapping[str, float]:
        scores = []
        for batch in _with_estimates(sessions, settings):
            generator = torch.Generator(batch.input.device).manual_seed(0)
            with torch.no_grad():
                scores.append(1 - float(losses(nets, batch, settings, generator)["velocity"]) / variance)
        return {"velocity-r2": sum(scores) / len(scores)}

    return of_sessions


def store_estimate_hash(nets: Nets, sessions: Iterable[ValidationSession], settings: S) -> S:
    """The settings with the hash of the estimate."""
    return replace(settings, estimate_sha256=load_weights(settings.estimate_weights, ESTIMATE, ()).sha256)


def measure(nets: Nets, sessions: Iterable[ValidationSession], settings: F) -> F:
    """The settings with the hash of the estimate and the power of its residual in bands."""
    power = []
    for batch in _with_estimates(sessions, settings):
        residual = standardise(required(batch.target), required(batch.mean), required(batch.scale))
        power.append(torch.tensor(radial_power(residual[0, 0], batch.mask[0, 0])))
    spectrum = tuple(float(value) for value in torch.stack(power).mean(dim=0))
    return replace(store_estimate_hash(nets, (), settings), spectrum=spectrum)


def _with_estimates(sessions: Iterable[ValidationSession], settings: ResidualTraining) -> Iterator[Batch]:
    loaded = load_weights(settings.estimate_weights, ESTIMATE, ())
    network: nn.Module | None = None
    for session in sessions:
        network = network or estimator(loaded, session.batch.input.device)
        yield with_estimate(session.batch, network)
