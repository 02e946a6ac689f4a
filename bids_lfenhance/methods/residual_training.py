"""What the flow of the residual learns from, behind a given estimate of low field simulated anew; how it is judged."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..nn.batch import Batch, Item, required
from ..nn.estimate import read_output
from ..nn.flow import flow_pair
from ..nn.residual import BANDS, condition_of, radial_power, whiten
from ..nn.source import Position
from ..nn.stage import Nets, Stage
from ..nn.unet3d import whole
from ..nn.weights import Loaded, load_weights
from ..simulators.online.material import Material
from ..simulators.online.source import OnlineSource
from ..simulators.online.validation import fixed_sessions
from . import get_trainable
from .residual_options import ESTIMATE, ResidualSettings

S = TypeVar("S", bound=ResidualSettings)

SCORES = ("velocity-r2", "residual-rms")
"""Share of the velocity's variance that the flow explains; root mean square of the residual, 1 where σ is right."""

TIMES = (0.3, 0.5, 0.7)
"""At which the flow is judged."""


class EstimateSource:
    """Items of an online source with the estimate of each, and the SD of its error as the network says it."""

    def __init__(self, examples: Sequence[Material], settings: Any) -> None:
        self._online = OnlineSource.of(examples, settings)
        self._loaded = load_weights(settings.behind, ESTIMATE, ())
        self._network: nn.Module | None = None
        self.people = self._online.people

    @property
    def identity(self) -> object:
        """What decides the items: also the estimate."""
        return {"online": self._online.identity, "estimate": self._loaded.sha256}

    def item(self, stage: Stage, at: Position) -> Item:
        """As of the online source."""
        return self._online.item(stage, at)

    def realise(self, stage: Stage, items: Sequence[Item], at: Sequence[Position], device: torch.device) -> Batch:
        """The patches with ``mean`` and ``scale``."""
        if self._network is None:
            self._network = estimator(self._loaded, device)
        return with_estimate(self._online.realise(stage, items, at, device), self._network)


def estimator(loaded: Loaded, device: torch.device) -> nn.Module:
    """The network of the estimate with its weights, which never move."""
    record = get_trainable(ESTIMATE)
    kept = {name: value for name, value in loaded.settings.items() if hasattr(record.about.settings, name)}
    network: nn.Module = record.build(record.about.settings(**kept))["estimate"]
    network.load_state_dict(loaded.state["estimate"])
    return network.to(device).eval().requires_grad_(False)


def with_estimate(batch: Batch, network: nn.Module) -> Batch:
    """The batch with ``mean`` and ``scale``, (B, 1, X, Y, Z)."""
    with torch.no_grad():
        mean, scale = read_output(batch.input, whole(network, batch.input))
    return replace(batch, mean=mean, scale=scale)


def score(nets: Nets, example: Material, settings: Any, device: torch.device) -> Mapping[str, float]:
    """``SCORES`` of one person, over the brain of the fixed sessions."""
    network = estimator(load_weights(settings.behind, ESTIMATE, ()), device)
    explained, squares = [], []
    noise = torch.Generator().manual_seed(0)
    for batch, residual in _residuals(example, network, device):
        brain = batch.mask[0, 0]
        condition = condition_of(required(batch.mean), required(batch.scale), batch.input)
        white = torch.randn(residual.shape, generator=noise).to(device)
        for time in torch.tensor(TIMES, device=device):
            state, wanted = flow_pair(white, residual, time[None])
            with torch.no_grad():
                found = whole(nets["flow"], torch.cat([state, condition], dim=1), time[None])
            wrong = (found - wanted)[0, 0][brain].square().mean() / wanted[0, 0][brain].square().mean()
            explained.append(1 - float(wrong))
        squares.append(float(residual[0, 0][brain].square().mean()))
    return {"velocity-r2": sum(explained) / len(explained), "residual-rms": (sum(squares) / len(squares)) ** 0.5}


def measure(nets: Nets, examples: Sequence[Material], settings: S, device: torch.device) -> S:
    """The settings with the hash of the estimate and the power of its residual in bands, on the fixed sessions."""
    loaded = load_weights(settings.behind, ESTIMATE, ())
    network = estimator(loaded, device)
    power = [
        torch.tensor(radial_power(residual[0, 0], batch.mask[0, 0]))
        for example in examples
        for batch, residual in _residuals(example, network, device)
    ]
    spectrum = tuple(float(value) for value in torch.stack(power).mean(dim=0))
    assert len(spectrum) == BANDS
    return replace(settings, estimate_sha256=loaded.sha256, spectrum=spectrum)


def _residuals(example: Material, network: nn.Module, device: torch.device) -> Iterator[tuple[Batch, Tensor]]:
    for judged in fixed_sessions(example, device):
        batch = with_estimate(judged.batch, network)
        yield batch, whiten(required(batch.target), required(batch.mean), required(batch.scale))
