"""What does not change while a training runs, and the state it starts from or goes on from."""

import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from .. import __version__
from ..errors import InputError
from ..nn.ema import Ema, flat_state, set_state
from ..nn.method import Learning, Method, Stage
from ..nn.precision import use_precision
from ..nn.weights import Loaded
from .checkpoint import Progress, State, find_checkpoint, restore
from .curves import Curves
from .examples import Example
from .parallel import World
from .sampler import Augmentation
from .split import Split, refuse_leaks, refuse_seen, write_split

LOG = logging.getLogger(__name__)

Show = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True)
class TrainOptions:
    """How to train, whatever the method.

    ``precision`` "bf16" holds for the networks, where the processor has it natively, never for losses; ``ema`` the
    share each update keeps of the running mean of weights; ``chunk`` patches that go through the networks at once, 0:
    all that a process has (with a fixed chunk, a method's random draws too are the same for any number of processes);
    ``validate_every`` steps, on at most ``validate_volumes`` volumes (0: all); ``patience`` validations without a gain
    that end a stage (0: never); ``checkpoint_every`` steps and ``checkpoint_seconds``, whichever comes first;
    ``log_every`` steps a row in the curves; ``max_seconds`` ends the training in good order (0: never); ``dtype`` of
    the weights written; ``start`` weights to begin with.
    """

    seed: int = 0
    device: str = "cpu"
    precision: Literal["bf16", "fp32"] = "bf16"
    ema: float = 0.999
    augmentation: Augmentation = field(default_factory=Augmentation)
    chunk: int = 0
    validate_every: int = 200
    validate_volumes: int = 0
    patience: int = 0
    checkpoint_every: int = 200
    checkpoint_seconds: float = 300.0
    log_every: int = 10
    max_seconds: float = 0.0
    dtype: Literal["fp32", "bf16"] = "fp32"
    start: Loaded | None = None

    def record(self) -> dict[str, Any]:
        """Plain values of what decides the result: not the machine, and not how often something is written."""
        left_out = {"device", "checkpoint_every", "checkpoint_seconds", "log_every", "max_seconds", "dtype", "start"}
        kept = dataclasses.asdict(dataclasses.replace(self, start=None))
        found = {key: value for key, value in kept.items() if key not in left_out}
        return found | ({"start": self.start.sha256} if self.start else {})


@dataclass(frozen=True)
class Run:
    """What does not change while a training runs."""

    method: Method
    learning: Learning
    settings: Any
    train: Sequence[Example]
    validation: Sequence[Example]
    options: TrainOptions
    world: World
    folder: Path
    identity: str
    half: bool
    stages: tuple[Stage, ...]
    trainable: Mapping[str, list[nn.Parameter]]
    needed: tuple[str, ...]
    curves: Curves
    show: Show
    stop: Callable[[], bool]


def prepare(
    method: Method,
    settings: Any,
    examples: Sequence[Example],
    split: Split,
    folder: Path,
    options: TrainOptions,
    world: World,
    show: Show,
    stop: Callable[[], bool],
) -> tuple[Run, State]:
    """The run and its state: of the checkpoint in ``folder`` if there is one, else networks as the seed makes them."""
    learning = learning_of(method)
    parts = {name: [e for e in examples if e.person in getattr(split, name)] for name in ("train", "validation")}
    if not parts["train"]:
        raise InputError(
            "Expected examples of the training subjects, found none; check the split against the examples."
        )
    if options.start is not None:
        refuse_seen(split, options.start)
    refuse_leaks(split, seen_before(examples, options.start))
    stages = learning.stages(settings)
    nets = _networks(learning, settings, options, world)
    needed, people = tuple(nets), {example.person for example in parts["train"]}
    nets |= learning.helpers(nets, settings, len(people)) if learning.helpers else {}
    half = use_precision(nets, options.precision, world.device)
    identity = identity_of(method, settings, examples, split, options, half)
    trainable = {name: [w for w in net.parameters() if w.requires_grad] for name, net in nets.items()}
    found = find_checkpoint(folder / "checkpoint", identity)
    if found is None and options.start is None and learning.begin is not None:
        learning.begin(nets, parts["train"])
    state = State(nets, Ema(nets, options.ema), {}, {}, Progress())
    if found is not None:
        state.progress, updates, tensors = found
    state.optimisers = optimisers_of(stages[min(state.progress.stage, len(stages) - 1)], trainable)
    if found is not None:
        restore(state, updates, tensors)
        LOG.info("goes on from step %d", state.progress.total)
    world.wait()  # no process may still look for a checkpoint when the first begins to write
    if world.writes:
        for leftover in folder.glob("checkpoint/.tmp-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        write_split(split, folder / "split.json")
    curves = Curves(folder, state.progress.total, world.writes)
    run = Run(
        method, learning, settings, parts["train"], parts["validation"], options, world, folder, identity, half, stages,
        trainable, needed, curves, show, stop,
    )  # fmt: skip
    return run, state


def _networks(learning: Learning, settings: Any, options: TrainOptions, world: World) -> dict[str, nn.Module]:
    """As the seed makes them, or with the weights to begin with."""
    torch.manual_seed(options.seed)
    nets = {name: net.to(world.device).train() for name, net in learning.build(settings).items()}
    if options.start is not None:
        _begin_with(nets, options.start)
    return nets


def learning_of(method: Method) -> Learning:
    """How the method is trained; an ``InputError`` where it is not."""
    if method.learning is None:
        raise InputError(f"Expected a method that is trained, found {method.name}, which is not; choose another.")
    return method.learning


def optimisers_of(stage: Stage, trainable: Mapping[str, list[nn.Parameter]]) -> dict[str, torch.optim.Optimizer]:
    """One AdamW per phase, by name; without decay it is Adam."""
    return {
        phase.name: torch.optim.AdamW(
            [weight for name in phase.trains for weight in trainable[name]],
            phase.rate,
            betas=phase.betas,
            weight_decay=phase.decay,
        )
        for phase in stage.phases
    }


def seen_before(examples: Sequence[Example], start: Loaded | None) -> dict[str, list[str]]:
    """{what: persons}: who the weights to begin with, and learned simulators behind the examples, were trained on.

    A simulator's are found under the key ``trained_on``, wherever in an example's origin.
    """
    seen = {f"the weights {start.path}": list(start.trained_on)} if start else {}
    made = sorted({person for example in examples for person in _trained_on(example.origin)})
    return seen | ({"the simulator behind the examples": made} if made else {})


def _trained_on(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from value.get("trained_on", ())
        value = list(value.values())
    for item in value if isinstance(value, list | tuple) else ():
        yield from _trained_on(item)


def identity_of(
    method: Method, settings: Any, examples: Sequence[Example], split: Split, options: TrainOptions, half: bool
) -> str:
    """The hash of all that decides the result: a checkpoint is only gone on from where it is the same."""
    content = {
        "method": method.name,
        "settings": plain_settings(settings),
        "split": dataclasses.asdict(split) | {"how": None},
        "examples": [[e.person, e.session, e.kind, e.scales, e.origin, e.sources] for e in examples],
        "options": options.record() | {"half": half},
        "version": __version__,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def plain_settings(settings: Any) -> dict[str, Any]:
    """The settings that belong to the weights: all but where they lie, and where and in what numbers they run."""
    others = ("weights", "device", "precision")
    return {key: value for key, value in dataclasses.asdict(settings).items() if key not in others}


def _begin_with(nets: Mapping[str, nn.Module], start: Loaded) -> None:
    """Copy the weights to begin with into the networks; an ``InputError`` where the networks are of another shape."""
    state = {f"{net}.{key}": value for net, values in start.state.items() for key, value in values.items()}
    own = flat_state(nets)
    if {key: value.shape for key, value in own.items()} != {key: value.shape for key, value in state.items()}:
        raise InputError(
            f"Expected weights of networks of this size in {start.path}, found others; use the settings they were "
            "trained with, or other weights."
        )
    set_state(nets, state)
