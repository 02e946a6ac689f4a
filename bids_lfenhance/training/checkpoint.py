"""Everything a stopped training needs to go on as if it had not been stopped: safetensors and JSON, whole or absent."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from ..bids.atomic import atomic_folder, atomic_write
from ..errors import InputError
from ..nn.ema import WeightEMA, flat_state, set_state

TENSORS, RECORD = "state.safetensors", "state.json"


@dataclass
class Progress:
    """Where a training is: plain values, changed as it goes.

    ``stage`` and ``step`` (in the stage) to be done next; ``total`` steps done in all stages; ``seconds`` spent;
    ``best`` the highest validation score of the stage, ``best_step`` (of ``total``) that made these weights, in
    whichever stage, 0 for those it began with; ``stale`` validations without a gain since; ``skipped`` by phase the
    steps in a row without a finite gradient; ``recent`` sums of what is not yet in the curves, by name: (sum, count).
    """

    stage: int = 0
    step: int = 0
    total: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    recent: dict[str, tuple[float, int]] = field(default_factory=dict)


@dataclass
class State:
    """What moves in a training: networks, their running mean, one optimiser per phase, the best weights, progress."""

    nets: dict[str, nn.Module]
    ema: WeightEMA
    optimisers: dict[str, torch.optim.Optimizer]
    best: dict[str, Tensor]
    progress: Progress


def save_checkpoint(state: State, folder: Path, identity: str) -> Path:
    """The folder of the checkpoint, whole; only then older ones go. ``identity``: the hash of what is trained how."""
    from safetensors.torch import save

    progress = state.progress
    path = folder / f"stage{progress.stage:02d}-step{progress.step:09d}"
    if not path.is_dir():  # the same step is the same state
        groups = {"nets": flat_state(state.nets), "ema": state.ema.state, "best": state.best}
        tensors = {f"{group}/{key}": value for group, values in groups.items() for key, value in values.items()}
        for name, optimiser in state.optimisers.items():
            for number, moments in optimiser.state_dict()["state"].items():
                tensors |= {f"moments/{name}/{number}/{key}": value for key, value in moments.items()}
        record = vars(progress) | {"updates": state.ema.updates, "identity": identity}

        def fill(draft: Path) -> None:
            # Written by us, as safetensors has errors of its own for a disk that is full.
            content = save({key: value.detach().cpu().clone() for key, value in tensors.items()})
            (draft / TENSORS).write_bytes(content)
            (draft / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")

        atomic_folder(path, fill)
    for other in folder.iterdir():
        if other != path:
            shutil.rmtree(other, ignore_errors=True)
    return path


def find_checkpoint(folder: Path, identity: str) -> tuple[Progress, int, dict[str, Tensor]] | None:
    """(Progress, updates of the mean, tensors by name) of the newest checkpoint; None where there is none.

    An ``InputError`` where it belongs to another training.
    """
    checkpoints = sorted(folder.glob("stage*-step*"))
    if not checkpoints:
        return None
    from safetensors.torch import load

    path = checkpoints[-1]
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
        tensors = load((path / TENSORS).read_bytes())
    except Exception as error:  # safetensors raises its own kinds, which are not errors of values
        raise InputError(
            f"Expected a checkpoint in {path}, found one that cannot be read ({error}); delete it."
        ) from error
    if record.pop("identity") != identity:
        raise InputError(
            f"Expected a checkpoint of this training in {folder}, found one of other settings, examples or split; "
            "choose another output folder, or delete that one to begin anew."
        )
    updates = record.pop("updates")
    record["recent"] = {name: (total, count) for name, (total, count) in record["recent"].items()}
    return Progress(**record), updates, tensors


def seconds_spent(folder: Path) -> float:
    """Seconds of training behind the newest checkpoint; 0 where there is none that can be read."""
    for path in sorted(folder.glob("stage*-step*"), reverse=True):
        try:
            return float(json.loads((path / RECORD).read_text(encoding="utf-8"))["seconds"])
        except (OSError, ValueError, KeyError):
            continue
    return 0.0


def note_seconds(folder: Path, seconds: float) -> None:
    """Put into the newest checkpoint what was spent after it too: on a last validation, and on what is measured."""
    for path in sorted(folder.glob("stage*-step*"))[-1:]:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
        atomic_write(path / RECORD, json.dumps(record | {"seconds": seconds}, indent=1))


def restore(state: State, updates: int, tensors: Mapping[str, Tensor]) -> None:
    """Put the tensors of a checkpoint where they were: networks, mean, best weights, moments of the optimisers."""
    set_state(state.nets, _group(tensors, "nets"))
    for key, value in _group(tensors, "ema").items():
        state.ema.state[key].copy_(value)
    state.ema.updates = updates
    # Cloned: what is read from a file lies at odd addresses, and the last bit of a sum may depend on that.
    state.best = {key: value.clone().to(state.ema.state[key].device) for key, value in _group(tensors, "best").items()}
    for name, optimiser in state.optimisers.items():
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _group(tensors, f"moments/{name}").items():
            number, _, kind = key.partition("/")
            moments.setdefault(int(number), {})[kind] = value.clone()
        optimiser.load_state_dict(optimiser.state_dict() | {"state": moments})


def _group(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}
