"""The training loop: stages, steps, phases. Plain torch."""

import logging
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import Interrupted, MethodError
from ..nn.batch import Batch
from ..nn.ema import WeightEMA, flat_state, set_state
from ..nn.example import Example
from ..nn.method import Trainable
from ..nn.source import Position
from ..nn.stage import Phase, Stage
from ..resources import available_cpus
from .card import Trained, write_results
from .checkpoint import State, note_seconds, save_checkpoint
from .guards import deterministic, stop_requested
from .parallel import process_group
from .patches import MicroBatch, Prefetch, examples_of_stage
from .run import Run, Show, TrainOptions, optimisers_of, prepare, with_measured
from .split import Split
from .validate import validate

if TYPE_CHECKING:
    from tqdm import tqdm

LOG = logging.getLogger(__name__)

S = TypeVar("S")

MOST_SKIPPED = 10
"""Steps in a row without a finite gradient after which the training gives up."""


def train(
    method: Trainable[S],
    settings: S,
    examples: Sequence[Example],
    split: Split,
    out_dir: str | Path,
    options: TrainOptions | None = None,
    progress: Show | None = None,
) -> Trained:
    """Train a method, or go on where a stopped training of the same kind left off in ``out_dir``.

    Parameters
    ----------
    examples : of all persons; ``split`` says whose are learned from and whose decide when to stop
    out_dir : gets weights, recipe, card, split, curves and checkpoint; only the first of several processes writes
    progress : called with (steps done, steps in all, losses); None draws a bar on stderr

    Raises ``Interrupted`` after a checkpoint where the run was asked to end (SIGTERM, Ctrl-C); ``MethodError`` where
    no step gives a finite gradient; ``InputError`` for examples, split, weights or checkpoint that do not fit.
    """
    clock, options = time.monotonic(), options or TrainOptions()
    with process_group(options.device) as group, deterministic(group.device), stop_requested() as stop:
        show = progress if progress is not None and group.writes else Bar(group.writes)
        run, state = prepare(method, settings, examples, split, Path(out_dir), options, group, show, stop)
        done = state.progress
        begun = done.stage < len(run.stages)
        clock -= done.seconds
        try:
            while done.stage < len(run.stages) and not group.any(_out_of_time(run, state)):
                _run_stage(run, state, run.stages[done.stage], clock)
        finally:
            run.curves.close()
            if isinstance(show, Bar):
                show.close()
        _use_best(state)
        run = with_measured(run, state)
        if begun:  # else all of it was counted before
            done.seconds = time.monotonic() - clock
        run.curves.draw(now=True)
        if group.writes:
            note_seconds(run.folder / "checkpoint", done.seconds)
            write_results(run, state, split)
        group.barrier()
        unchanged = bool(run.options.start) and done.best is not None and not done.best_step
        finished = done.stage >= len(run.stages)
        return Trained(run.folder, done.best, done.total, done.seconds, unchanged, finished, done.best_step)


class Bar:
    """A bar on stderr: steps, rate, time left, losses; without a terminal a line every half minute."""

    def __init__(self, shown: bool) -> None:
        self._bar: tqdm | None = None
        self._shown = shown

    def __call__(self, done: int, steps: int, losses: Mapping[str, float]) -> None:
        """Show that ``done`` of ``steps`` are done, and the losses of the last."""
        if self._bar is None:
            import tqdm

            pause = 0.5 if sys.stderr.isatty() else 30.0
            self._bar = tqdm.tqdm(
                total=steps, initial=done - 1, unit="step", mininterval=pause, disable=not self._shown, file=sys.stderr
            )
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in losses.items()}, refresh=False)
        self._bar.update(done - self._bar.n if self._shown else 0)

    def close(self) -> None:
        """End the line of the bar, so that what is said next begins its own."""
        if self._bar is not None:
            self._bar.close()


def _run_stage(run: Run, state: State, stage: Stage, clock: float) -> None:
    """Step, validate, save, until the steps are done, the validation no longer gains, or the time is up.

    ``clock``: when the training would have begun had it never been stopped, monotonic seconds.
    """
    progress, options = state.progress, run.options
    if options.start and not progress.total:
        _validate(run, state, stage)  # the weights it begins with are kept where no step is better
    numbers = run.group.chunks(stage.batch, options.chunk)
    # A GPU waits for its patches, whose making (numpy, scipy) lets threads run; a processor is busy with the network.
    workers = 1 if run.group.device.type == "cpu" else max(1, min(8, available_cpus() // (2 * run.group.size)))
    start = Position(options.seed, progress.stage, progress.step, 0)
    batches = Prefetch(run.source, stage, numbers, start, workers)
    saved = time.monotonic()
    try:
        while progress.step < stage.steps:
            losses = _one_step(run, state, stage, batches.get())
            progress.step, progress.total = progress.step + 1, progress.total + 1
            _note(run, state, stage, losses)
            last = progress.step == stage.steps
            on_schedule = last or progress.step % options.validate_every == 0
            if on_schedule:
                _validate(run, state, stage)
            if options.patience and progress.stale >= options.patience:
                LOG.info("%s ends at step %d: validation no longer gains", stage.name, progress.step)
                last = True
            due = progress.step % options.checkpoint_every == 0
            if last:
                _end_stage(run, state)
            progress.seconds = time.monotonic() - clock
            stop, late = run.group.any(run.stop()), run.group.any(_out_of_time(run, state))
            if last or late or stop or due or time.monotonic() - saved > options.checkpoint_seconds:
                _save(run, state)
                saved = time.monotonic()
            if stop:
                raise Interrupted(f"stopped after {progress.total} steps; the same command goes on from there")
            if late and not on_schedule:  # for the weights of this call alone: the checkpoint goes on as if uncut
                _validate(run, state, stage)
            if last or late:
                return
    finally:
        batches.close()


def _one_step(run: Run, state: State, stage: Stage, groups: Sequence[MicroBatch]) -> dict[str, float]:
    """Every phase of the stage moves its networks once; the losses by name, over the whole batch.

    The items become tensors on the device once, before the phases; the host waits for the device once, after them.
    """
    device = run.group.device
    batches = [(at[0].number, run.source.realise(stage, items, at, device)) for at, items in groups]
    moved = [_optimise_phase(run, state, stage, phase, number, batches) for number, phase in enumerate(stage.phases)]
    state.ema.update(state.nets)
    numbers = [value.double() for finite, norm, sums in moved for value in (finite, norm, *sums.values())]
    host = iter(torch.stack(numbers).tolist() if numbers else [])
    losses: dict[str, float] = {}
    for phase, (_, _, sums) in zip(stage.phases, moved, strict=True):
        finite, norm = next(host), next(host)
        names = {name: next(host) for name in sums}
        if _is_finite(state, phase.name, bool(finite), norm, names):
            losses |= names
    return losses


def _optimise_phase(
    run: Run, state: State, stage: Stage, phase: Phase, number: int, batches: Sequence[tuple[int, Batch]]
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """One step of a phase's optimiser: whether it was taken, the norm of the gradient, the losses; on the device."""
    progress, device = state.progress, run.group.device
    _set_requires_grad(run, phase)
    optimiser = state.optimisers[phase.name]
    optimiser.zero_grad(set_to_none=True)
    sums: dict[str, Tensor] = {}
    for first, batch in batches:
        seed = _seed(run.options.seed, progress.stage, progress.step, number, first)
        torch.manual_seed(seed)  # dropout has no generator of its own
        losses = phase.losses(state.nets, batch, run.settings, torch.Generator(device).manual_seed(seed))
        share = len(batch) / stage.batch
        (sum(losses.values(), torch.zeros(())) * share).backward()
        for name, value in losses.items():
            sums[name] = sums.get(name, torch.zeros((), device=device)) + value.detach() * share
    moving = [weight for name in phase.trains for weight in run.trainable[name]]
    if run.group.size > 1:
        for weight in moving:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
    run.group.all_reduce([weight.grad for weight in moving if weight.grad is not None] + list(sums.values()))
    norm = nn.utils.clip_grad_norm_(moving, phase.clip)
    finite = torch.stack([norm.float(), *(value.float() for value in sums.values())]).isfinite().all()
    optimiser.param_groups[0]["lr"] = phase.rate * rate_share(stage, progress.step)
    if device.type == "cuda":  # the fused optimiser asks the device itself, and the host need not wait
        optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
        optimiser.step()
    elif finite:
        optimiser.step()
    return finite, norm, sums


def rate_share(stage: Stage, step: int) -> float:
    """The learning rate of a step as a share of its peak: up over the warm-up, down as a cosine."""
    if step < stage.warmup:
        return (step + 1) / (stage.warmup + 1)
    done = (step - stage.warmup) / max(1, stage.steps - stage.warmup)
    return stage.floor + (1 - stage.floor) * (1 + math.cos(math.pi * done)) / 2


def _is_finite(state: State, phase: str, finite: bool, norm: float, losses: Mapping[str, float]) -> bool:
    """Whether a phase took its step; if not, that is counted, and too many in a row are an error."""
    progress = state.progress
    progress.skipped[phase] = 0 if finite else progress.skipped.get(phase, 0) + 1
    if finite:
        return True
    LOG.warning("step %d skipped: losses %s, norm of the gradient %s", progress.total, dict(losses), norm)
    if progress.skipped[phase] >= MOST_SKIPPED:
        raise MethodError(
            f"Expected finite losses, found none in {MOST_SKIPPED} steps of {phase} in a row (the last: "
            f"{dict(losses)}, step {progress.total}); lower the rate, use --precision fp32, or check the examples."
        )
    return False


def _set_requires_grad(run: Run, phase: Phase) -> None:
    """Only the networks of the phase take gradients."""
    for name, weights in run.trainable.items():
        for weight in weights:
            weight.requires_grad_(name in phase.trains)


def _note(run: Run, state: State, stage: Stage, losses: Mapping[str, float]) -> None:
    """Show the losses, and put their means into the curves when a row is due."""
    progress = state.progress
    for name, value in losses.items():
        total, count = progress.recent.get(name, (0.0, 0))
        progress.recent[name] = (total + value, count + 1)
    run.show(progress.total, sum(stage.steps for stage in run.stages), losses)
    if progress.step % run.options.log_every == 0 or progress.step == stage.steps:
        means = {name: total / count for name, (total, count) in progress.recent.items()}
        rates = {f"rate-{phase.name}": phase.rate * rate_share(stage, progress.step - 1) for phase in stage.phases}
        run.curves.add(progress.total, stage.name, means | rates)
        progress.recent = {}


def _validate(run: Run, state: State, stage: Stage) -> None:
    """Measure the running mean of the weights; keep it if it is the best of the stage (a tie goes to the later).

    At step 0 of a stage it is the weights that the stage begins with, and ``best_step`` stays theirs.
    """
    progress = state.progress
    volumes = examples_of_stage(run.validation, stage)
    if volumes:
        raw = {key: value.clone() for key, value in flat_state(state.nets).items()}
        set_state(state.nets, state.ema.state)
        scores = validate(
            state.nets, run.method, run.settings, volumes, run.options.seed, run.group, run.options.precision
        )
        set_state(state.nets, raw)
        run.curves.add(progress.total, stage.name, scores)
        run.curves.draw()
        score = scores[run.method.scores[0]]
        if not math.isfinite(score) or (progress.best is not None and score < progress.best):
            progress.stale += 1
            return
        progress.best, progress.stale = score, 0
    if progress.step:
        progress.best_step = progress.total
    state.best = {key: value.clone() for key, value in state.ema.state.items()}


def _end_stage(run: Run, state: State) -> None:
    """The next stage begins with the best weights of this one, and with a mean and optimisers of its own.

    They are judged as the next stage judges, which may have other volumes, and kept where none of its steps is better.
    """
    _use_best(state)
    progress = state.progress
    progress.stage, progress.step, progress.stale, progress.skipped = progress.stage + 1, 0, 0, {}
    if progress.stage < len(run.stages):
        progress.best = None
        state.ema = WeightEMA(state.nets, run.options.ema)
        state.optimisers = optimisers_of(run.stages[progress.stage], run.trainable)
        _validate(run, state, run.stages[progress.stage])


def _use_best(state: State) -> None:
    if state.best:
        set_state(state.nets, state.best)


def _save(run: Run, state: State) -> None:
    if run.group.writes:
        save_checkpoint(state, run.folder / "checkpoint", run.identity)


def _out_of_time(run: Run, state: State) -> bool:
    return bool(run.options.max_seconds) and state.progress.seconds >= run.options.max_seconds


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
