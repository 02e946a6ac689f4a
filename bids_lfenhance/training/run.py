"""What does not change while a training runs, and the state it starts from or goes on from."""

import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeVar

import torch
from torch import nn

from .._version import __version__
from ..bids.atomic import atomic_write
from ..errors import InputError
from ..methods.residual_options import ESTIMATE
from ..nn.ema import WeightEMA, flat_state, set_state
from ..nn.example import Example
from ..nn.method import Description, Trainable
from ..nn.precision import use_precision
from ..nn.settings import plain
from ..nn.source import Source
from ..nn.stage import Stage
from ..nn.weights import LoadedWeights, load_weights
from ..simulators.online.source import OnlineSource
from .checkpoint import Progress, State, find_checkpoint, restore
from .curves import Curves
from .parallel import ProcessGroup
from .patches import Augmentation, ExampleSource
from .split import Split, check_no_leakage, check_unseen, write_split
from .validate import sessions_of

LOG = logging.getLogger(__name__)

Show = Callable[[int, int, Mapping[str, float]], None]

S = TypeVar("S")


@dataclass(frozen=True)
class TrainOptions:
    """How to train, whatever the method.

    ``precision`` "bf16" holds for the networks, where the processor has it natively, never for losses; ``ema`` the
    share each update keeps of the running mean of weights; ``chunk`` patches that go through the networks at once, 0:
    all that a process has (with a fixed chunk, a method's random draws too are the same for any number of processes);
    ``validate_every`` steps; ``patience`` validations without a gain that end a stage (0: never);
    ``checkpoint_every`` steps and ``checkpoint_seconds``, whichever comes first; ``log_every`` steps a row in the
    curves; ``max_seconds`` ends the training in good order (0: never); ``dtype`` of the weights written; ``start``
    weights to begin with; ``config`` what is written as ``config.toml`` once the training is known to be possible.
    """

    seed: int = 0
    device: str = "cpu"
    precision: Literal["bf16", "fp32"] = "bf16"
    ema: float = 0.999
    augmentation: Augmentation = field(default_factory=Augmentation)
    chunk: int = 0
    validate_every: int = 200
    patience: int = 0
    checkpoint_every: int = 200
    checkpoint_seconds: float = 300.0
    log_every: int = 10
    max_seconds: float = 0.0
    dtype: Literal["fp32", "bf16", "fp16"] = "fp32"
    start: LoadedWeights | None = None
    config: str = ""

    def record(self) -> dict[str, object]:
        """Plain values of what decides the result: not the machine, and not how often something is written."""
        left_out = {"device", "checkpoint_every", "checkpoint_seconds", "log_every", "max_seconds", "dtype", "start"}
        left_out |= {"config"}
        kept = dataclasses.asdict(dataclasses.replace(self, start=None))
        settings = {key: value for key, value in kept.items() if key not in left_out}
        return settings | ({"start": self.start.sha256} if self.start else {})


@dataclass(frozen=True)
class Run(Generic[S]):
    """What does not change while a training runs."""

    method: Trainable[S]
    settings: S
    source: Source
    train: Sequence[Example]
    validation: Sequence[Example]
    options: TrainOptions
    group: ProcessGroup
    folder: Path
    identity: str
    half: bool
    stages: tuple[Stage, ...]
    trainable: Mapping[str, list[nn.Parameter]]
    curves: Curves
    show: Show
    stop: Callable[[], bool]


def prepare(
    method: Trainable[S],
    settings: S,
    examples: Sequence[Example],
    split: Split,
    folder: Path,
    options: TrainOptions,
    group: ProcessGroup,
    show: Show,
    stop: Callable[[], bool],
) -> tuple[Run[S], State]:
    """The run and the state it starts from: a checkpoint of the same training, weights to begin with, or the seed's."""
    parts = {name: [e for e in examples if e.person in getattr(split, name)] for name in ("train", "validation")}
    if not parts["train"]:
        raise InputError(
            "Expected examples of the training subjects, found none; check the split against the examples."
        )
    if options.start is not None:
        check_unseen(split, options.start)
    check_no_leakage(split, training_subjects_of(examples, options.start, settings))
    source = _source(method, parts["train"], settings, options)
    stages = stages_of(method, settings)
    nets = _networks(method, settings, options, group)
    half = use_precision(nets, options.precision, group.device)
    identity = identity_of(method, settings, examples, split, options, half, source)
    trainable = {name: [w for w in net.parameters() if w.requires_grad] for name, net in nets.items()}
    checkpoint = find_checkpoint(folder / "checkpoint", identity)
    if checkpoint is None and options.start is None and method.initialise is not None:
        method.initialise(nets, parts["train"])
    state = State(nets, WeightEMA(nets, options.ema), {}, {}, Progress())
    if checkpoint is not None:
        state.progress, updates, tensors = checkpoint
    state.optimisers = optimisers_of(stages[min(state.progress.stage, len(stages) - 1)], trainable)
    if checkpoint is not None:
        restore(state, updates, tensors)
        LOG.info("goes on from step %d", state.progress.total)
    group.barrier()  # no process may still look for a checkpoint when the first begins to write
    if group.writes:
        for leftover in folder.glob("checkpoint/.tmp-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        write_split(split, folder / "split.json")
        if options.config:
            atomic_write(folder / "config.toml", options.config)
    curves = Curves(folder, state.progress.total, group.writes)
    run = Run(
        method, settings, source, parts["train"], parts["validation"], options, group, folder, identity, half, stages,
        trainable, curves, show, stop,
    )  # fmt: skip
    return run, state


def stages_of(method: Trainable[S], settings: S) -> tuple[Stage, ...]:
    """The stages of a training; raise InputError where there is none, or one without a step."""
    stages = method.stages(settings)
    if not stages or any(stage.steps < 1 for stage in stages):
        found = ", ".join(f"{stage.steps} in {stage.name}" for stage in stages) or "none"
        raise InputError(
            f"Expected at least one step to train {method.name} by, found {found}; give more with --set.",
            code="no-steps",
        )
    return stages


def _source(method: Trainable[S], examples: Sequence[Example], settings: S, options: TrainOptions) -> Source:
    if method.source is not None:
        return method.source(examples)
    if method.about.learns_from == "heads":
        estimate = method.estimate(settings, options.precision) if method.estimate else None
        return OnlineSource(examples, settings, estimate)  # type: ignore[arg-type]
    return ExampleSource(examples, method.about.direction, options.augmentation)


def _networks(method: Trainable[S], settings: S, options: TrainOptions, group: ProcessGroup) -> dict[str, nn.Module]:
    """As the seed makes them, or with the weights to begin with."""
    torch.manual_seed(options.seed)
    nets = {name: net.to(group.device).train() for name, net in method.build(settings).items()}
    if options.start is not None:
        _begin_with(nets, options.start)
    return nets


FEW = 4
"""Training examples that stand in for validation where there is none, at most; real pairs before heads."""


def with_measured(run: Run, state: State) -> Run:
    """The run, its settings completed by what the method measures on the trained networks."""
    if run.method.measure is None:
        return run
    device = run.group.device
    with torch.no_grad():
        judged = run.validation or sorted(run.train, key=lambda example: example.kind != "stacks")[:FEW]
        sessions = sessions_of(run.method, judged, run.settings, device, run.options.precision)
        return dataclasses.replace(run, settings=run.method.measure(state.nets, sessions, run.settings))


def optimisers_of(stage: Stage, trainable: Mapping[str, list[nn.Parameter]]) -> dict[str, torch.optim.Optimizer]:
    """One AdamW per phase, by name; without decay it is Adam. On a GPU it can skip a step without asking the host."""
    return {
        phase.name: torch.optim.AdamW(
            [weight for name in phase.trains for weight in trainable[name]],
            phase.rate,
            betas=phase.betas,
            weight_decay=phase.decay,
            fused=next(weight for name in phase.trains for weight in trainable[name]).is_cuda or None,
        )
        for phase in stage.phases
    }


def training_subjects_of(
    examples: Sequence[Example], start: LoadedWeights | None, settings: object = None
) -> dict[str, list[str]]:
    """{what: persons}: who the weights that a training builds on were trained on.

    Those to begin with, the estimate of these ``settings`` where they have one, and the learned simulators behind the
    examples, which are found under the key ``trained_on``, wherever in an example's origin.
    """
    seen = {f"the weights {start.path}": list(start.trained_on)} if start else {}
    if estimate := getattr(settings, "estimate_weights", ""):
        loaded = load_weights(estimate, ESTIMATE, ())
        seen[f"the estimate {loaded.path}"] = list(loaded.trained_on)
    made = sorted({person for example in examples for person in _trained_on(example.origin)})
    return seen | ({"the simulator behind the examples": made} if made else {})


def _trained_on(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from value.get("trained_on", ())
        value = list(value.values())
    for item in value if isinstance(value, list | tuple) else ():
        yield from _trained_on(item)


def identity_of(
    method: Trainable[S],
    settings: S,
    examples: Sequence[Example],
    split: Split,
    options: TrainOptions,
    half: bool,
    source: Source,
) -> str:
    """The hash of all that decides the result: a checkpoint is only gone on from where it is the same.

    The estimate counts by its content, which ``source`` tells, not by where it lies.
    """
    stored = stored_settings(method.about, settings)
    content = {
        "method": method.name,
        "settings": {name: value for name, value in stored.items() if name != "estimate_weights"},
        "split": dataclasses.asdict(split) | {"how": None},
        "examples": [[e.person, e.session, e.kind, e.scales, e.origin, e.sources] for e in examples],
        "source": source.identity,
        "options": options.record() | {"half": half},
        "version": __version__,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def settings_to_give(about: Description, settings: object) -> dict[str, object]:
    """The settings that a training can be given: what shapes the networks, and how they learn."""
    return plain(settings, *(kind for kind in (about.network, about.training) if kind))


def stored_settings(about: Description, settings: object) -> dict[str, object]:
    """The settings that belong to the weights: what shapes the networks, how they learn, and what was measured."""
    return plain(settings, *(kind for kind in (about.network, about.training, about.measured) if kind))


def _begin_with(nets: Mapping[str, nn.Module], start: LoadedWeights) -> None:
    """Copy the weights to begin with into the networks; raise InputError where the networks are of another shape."""
    set_state(nets, _of_size(nets, start))


def check_sizes(method: Trainable[S], settings: S, start: LoadedWeights) -> None:
    """Raise InputError where the networks of these settings are of another shape than the weights to begin with."""
    with torch.device("meta"):
        _of_size(method.build(settings), start)


def _of_size(nets: Mapping[str, nn.Module], start: LoadedWeights) -> dict[str, torch.Tensor]:
    """The weights by network and name, joined by a dot."""
    state = {f"{net}.{key}": value for net, values in start.state.items() for key, value in values.items()}
    if {key: value.shape for key, value in flat_state(nets).items()} != {
        key: value.shape for key, value in state.items()
    }:
        raise InputError(
            f"Expected weights of networks of this size in {start.path}, found others; use the settings they were "
            "trained with, or other weights."
        )
    return state
