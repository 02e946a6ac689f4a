"""Training on the residual of a given estimate: the estimates of simulated heads, scores, and what is measured."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..imaging.grid import box_of
from ..nn.batch import Batch, ValidationSession, required
from ..nn.estimate import SCALE, read_output
from ..nn.precision import use_precision
from ..nn.residual import radial_power, standardise
from ..nn.stage import Losses, Nets
from ..nn.unet3d import apply_padded
from ..nn.weights import LoadedWeights, load_weights
from . import get_trainable
from .estimate import MARGIN, REACH_MM
from .residual_options import ESTIMATE, FlowTraining, ResidualTraining, ResidualTrainingSettings

S = TypeVar("S", bound=ResidualTrainingSettings)
F = TypeVar("F", bound=FlowTraining)

SCORES = ("velocity-r2",)
"""Share of the velocity's variance that is explained."""


class EstimateOfHeads:
    """Adds to whole heads their estimate by given weights, and the SD of its error as predicted.

    ``precision``: "bf16", where the processor has it, as in use by default, or "fp32".
    """

    def __init__(self, settings: ResidualTraining, precision: str) -> None:
        self._precision = precision
        self._loaded = load_weights(settings.estimate_weights, ESTIMATE, ())
        self._network: nn.Module | None = None

    @property
    def identity(self) -> str:
        """SHA-256 of the weights."""
        return self._loaded.sha256

    def __call__(self, batch: Batch) -> Batch:
        """The batch, of one head, with ``mean`` and ``scale``, (1, 1, X, Y, Z)."""
        self._network = self._network or estimator(self._loaded, batch.input.device, self._precision)
        return with_estimate(batch, self._network)


def estimator(loaded: LoadedWeights, device: torch.device, precision: str) -> nn.Module:
    """The network of the estimate with its weights, frozen."""
    record = get_trainable(ESTIMATE)
    kept = {name: value for name, value in loaded.settings.items() if hasattr(record.about.settings, name)}
    nets = loaded.into(record.build(record.about.settings(**kept)), device)
    use_precision(nets, precision, device)
    return nets["estimate"].requires_grad_(False)


def with_estimate(batch: Batch, network: nn.Module) -> Batch:
    """The batch, of one head, with ``mean`` and ``scale``, (1, 1, X, Y, Z).

    The network is given as much around the brain as in use (``methods.estimate.MARGIN``): its normalisation is over all
    that it sees. Beyond that the mean is 0 and the SD the least.
    """
    shown = (batch.input[0, 0] != 0) | batch.mask[0, 0]  # the scans as far as 2 mm around the mask that was found
    box = (slice(None), slice(None), *box_of(shown.cpu().numpy(), MARGIN - round(REACH_MM)))
    with torch.no_grad():
        part = batch.input[box]
        here = read_output(part, apply_padded(network, part))
    mean, scale = torch.zeros_like(batch.input[:, :1]), torch.full_like(batch.input[:, :1], SCALE[0])
    mean[box], scale[box] = here
    return replace(batch, mean=mean, scale=scale)


def score_sessions(
    losses: Losses, network: str
) -> "Callable[[Nets, Iterable[ValidationSession], S], Mapping[str, float]]":
    """A function that gives ``SCORES``: 1 − the loss ``velocity`` over that with a ``network`` that returns 0."""

    def of_sessions(nets: Nets, sessions: Iterable[ValidationSession], settings: S) -> Mapping[str, float]:
        scores = []
        for batch in (session.batch for session in sessions):
            costs = []
            for each in (nets, {**nets, network: _Zero()}):
                generator = torch.Generator(batch.input.device).manual_seed(0)
                with torch.no_grad():
                    costs.append(float(losses(each, batch, settings, generator)["velocity"]))
            scores.append(1 - costs[0] / costs[1])
        return {"velocity-r2": sum(scores) / len(scores)}

    return of_sessions


class _Zero(nn.Module):
    """A network that returns 0."""

    def forward(self, channels: Tensor, *_: Tensor) -> Tensor:
        return torch.zeros_like(channels[:, :1])


def store_estimate_hash(nets: Nets, sessions: Iterable[ValidationSession], settings: S) -> S:
    """The settings with the hash of the estimate."""
    return replace(settings, estimate_sha256=load_weights(settings.estimate_weights, ESTIMATE, ()).sha256)


def measure(nets: Nets, sessions: Iterable[ValidationSession], settings: F) -> F:
    """The settings with the hash of the estimate and the power of its residual in bands."""
    power = []
    for batch in (session.batch for session in sessions):
        residual = standardise(required(batch.target), required(batch.mean), required(batch.scale))
        power.append(torch.tensor(radial_power(residual[0, 0], batch.mask[0, 0])))
    spectrum = tuple(float(value) for value in torch.stack(power).mean(dim=0))
    return replace(store_estimate_hash(nets, (), settings), spectrum=spectrum)
