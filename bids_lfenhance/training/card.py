"""What a training leaves for a third person: the weights, how to repeat them, and what to know before using them."""

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..config import CONTRASTS
from ..nn.weights import save_weights
from .split import Split

if TYPE_CHECKING:
    from .checkpoint import State
    from .start import Run


@dataclass(frozen=True)
class Trained:
    """What came out: the ``folder``; ``psnr`` of the best validation, dB (None without); steps and seconds spent."""

    folder: Path
    psnr: float | None
    steps: int
    seconds: float


def write_results(run: "Run", state: "State", split: Split) -> Path:
    """The folder, now with ``weights.safetensors``, ``recipe.toml`` and ``card.md``."""
    recipe = make_recipe(run, state, split)
    return save_weights(run.folder, state.nets, recipe, card_text(recipe), run.options.dtype)


def make_recipe(run: "Run", state: "State", split: Split) -> dict[str, Any]:
    """Plain values from which the training can be repeated: settings, options, stages, data, split, outcome."""
    import torch

    from .start import plain_settings, seen_before

    used = [*run.train, *run.validation]
    known = {name for e in run.train for name in e.contrasts["low"] if name in e.contrasts["high"]}
    before = {person for persons in seen_before(used, run.options.start).values() for person in persons}
    progress = state.progress
    return {
        "method": run.method.name,
        "contrasts": [name for name in CONTRASTS if name in known],
        "settings": plain_settings(run.settings),
        "options": run.options.record() | {"networks_in_bf16": run.half, "processes": run.world.size},
        "stages": [_stage_record(stage) for stage in run.stages],
        "data": {
            "examples": {
                part: _counted(examples) for part, examples in (("train", run.train), ("validation", run.validation))
            },
            "sources": sorted({f"{path} sha256:{digest}" for example in used for path, digest in example.sources}),
            "origins": _origins(used),
        },
        "split": {part: list(getattr(split, part)) for part in ("train", "validation", "test")} | {"how": split.how},
        "trained_on": sorted(before | set(split.train) | set(split.validation)),
        "outcome": {
            "validation_psnr_db": progress.best,
            "protocol": "brain-fit" if run.method.maps == "lf2hf" else "scaled intensities inside the brain, no fit",
            "best_step": progress.best_step,
            "steps": progress.total,
            "seconds": round(progress.seconds, 1),
            "parameters": sum(weight.numel() for net in state.nets.values() for weight in net.parameters()),
        },
        "software": {"bids_lfenhance": __version__, "torch": torch.__version__, "python": sys.version.split()[0]},
        "identity": run.identity,
    }


def _stage_record(stage: Any) -> dict[str, Any]:
    phases = [
        {key: getattr(phase, key) for key in ("name", "trains", "rate", "betas", "decay", "clip", "every")}
        for phase in stage.phases
    ]
    kept = {key: getattr(stage, key) for key in ("name", "steps", "batch", "patch", "data", "warmup", "floor")}
    return kept | {"phases": phases}


def _counted(examples: Any) -> dict[str, int]:
    return dict(Counter(f"{example.kind} {example.dataset or 'unnamed'}" for example in examples))


def _origins(examples: Any) -> list[str]:
    return sorted({str(example.origin.get("simulator", example.kind)) for example in examples})


def card_text(recipe: Mapping[str, Any]) -> str:
    """The model card, Markdown."""
    return f"# {recipe['method']}\n"
