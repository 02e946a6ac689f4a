"""What a training leaves for others: the weights, how to repeat them, and what to know before using them."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .._version import __version__
from ..bids.tables import markdown_table
from ..config import CONTRASTS
from ..nn.example import Example
from ..nn.settings import JsonObject
from ..nn.stage import Stage
from ..nn.weights import save_weights
from .split import PARTS, Split

if TYPE_CHECKING:
    from .checkpoint import State
    from .run import Run


@dataclass(frozen=True)
class Trained:
    """A training's result.

    ``score`` is the best of validation (None without); ``unchanged``: no step was better than the weights it began
    with; ``finished``: no step is left to be done; ``best_step``: the one that made the weights that were kept.
    """

    folder: Path
    score: float | None
    steps: int
    seconds: float
    unchanged: bool = False
    finished: bool = True
    best_step: int = 0


def write_results(run: "Run", state: "State", split: Split) -> Path:
    """The folder, now with ``weights.safetensors``, ``recipe.toml`` and ``card.md``."""
    recipe = make_recipe(run, state, split)
    return save_weights(run.folder, state.nets, recipe, card_text(recipe), run.options.dtype)


def make_recipe(run: "Run", state: "State", split: Split) -> JsonObject:
    """Plain values from which the training can be repeated: settings, options, stages, data, split, outcome."""
    import torch

    from .run import stored_settings, training_subjects_of

    used = [*run.train, *run.validation]
    known = {name for e in run.train for name in e.contrasts["low"] if name in e.contrasts["high"]}
    before = {
        person for persons in training_subjects_of(used, run.options.start, run.settings).values() for person in persons
    }
    progress = state.progress
    return {
        "method": run.method.about.weights_name,
        "maps": run.method.about.direction,
        "contrasts": [name for name in CONTRASTS if name in known],
        "settings": stored_settings(run.method.about, run.settings),
        "options": run.options.record() | {"networks_in_bf16": run.half, "processes": run.group.size},
        "stages": [_stage_record(stage) for stage in run.stages],
        "data": _data_table("train", run.train) + _data_table("validation", run.validation),
        "sources": sorted({f"{path} sha256:{digest}" for example in used for path, digest in example.sources}),
        "split": asdict(split),
        "trained_on": sorted(before | set(split.train) | set(split.validation)),
        "outcome": {
            "validation_score": progress.best,
            "score": SCORES.get(run.method.scores[0]) or PSNR[run.method.about.direction],
            "best_step": progress.best_step,
            "steps": progress.total,
            "seconds": round(progress.seconds, 1),
            "parameters": sum(weight.numel() for net in state.nets.values() for weight in net.parameters()),
        },
        "software": {"bids_lfenhance": __version__, "torch": torch.__version__, "python": sys.version.split()[0]},
        "identity": run.identity,
    }


def _stage_record(stage: Stage) -> JsonObject:
    phases = [
        {key: getattr(phase, key) for key in ("name", "trains", "rate", "betas", "decay", "clip")}
        for phase in stage.phases
    ]
    kept = {key: getattr(stage, key) for key in ("name", "steps", "batch", "patch", "data", "warmup", "floor")}
    return kept | {"phases": phases}


def _data_table(part: str, examples: Sequence[Example]) -> list[JsonObject]:
    """One row for each dataset and origin of its low field."""
    rows: list[JsonObject] = []
    for dataset, made in sorted({(example.dataset, _low_field(example)) for example in examples}):
        chosen = [example for example in examples if (example.dataset, _low_field(example)) == (dataset, made)]
        licences = sorted({str(example.origin["licence"]) for example in chosen if example.origin.get("licence")})
        rows.append(
            {
                "part": part,
                "dataset": dataset or "unnamed",
                "low_field": made,
                "people": len({example.person for example in chosen}),
                "sessions": len(chosen),
                "licence": ", ".join(licences) or "not recorded",
            }
        )
    return rows


def _low_field(example: Example) -> str:
    simulator = example.origin.get("simulator", "unnamed" if example.kind == "simulated" else "")
    return f"simulated ({simulator})" if simulator else "acquired"


PURPOSE = {
    "lf2hf": "Makes high-field-like images from low-field brain MRI",
    "hf2lf": "Makes low-field-like images from high-field brain MRI",
    "regions": "Finds the regions of the brain in MRI of any contrast",
}
"""The first sentence of a card."""


def card_text(recipe: JsonObject) -> str:
    """The model card, Markdown; ``save_weights`` puts the hash where it says ``{sha256}``."""
    outcome, split = recipe["outcome"], recipe["split"]
    columns = ["part", "dataset", "low_field", "people", "sessions", "licence"]
    if recipe["maps"] == "regions":
        columns.remove("low_field")
    people = "\n".join(f"- {part}: {', '.join(split[part]) or 'none'}" for part in PARTS)
    limits = "\n".join(f"- {line}" for line in _limits(recipe))
    return f"""# {recipe["method"]}: {", ".join(recipe["contrasts"]) or "any contrast"}

{PURPOSE[recipe["maps"]]} ({outcome["parameters"]:,} parameters).
Trained with bids_lfenhance {recipe["software"]["bids_lfenhance"]}; the settings in full are in `recipe.toml`.

## Limits

{limits}

## Data

{_table(recipe["data"], columns)}

The files and their hashes are in `recipe.toml`.

## Split

By subject ({split["how"]}), in `split.json`.

{people}

## Training

{_table(recipe["stages"], ("name", "data", "steps", "batch", "patch"))}

Seed {recipe["options"]["seed"]}; {outcome["steps"]} steps in {outcome["seconds"] / 60:.1f} min.
Learning curves: `curves.csv`.

## Validation

{_validation(recipe)}

## Identity

- weights.safetensors: sha256 {{sha256}}
- training (settings, examples, split, seed): {recipe["identity"]}

## How to cite

bids_lfenhance (CITATION.cff), the method's paper (`bids_lfenhance --citation`), and the datasets above.
"""


SCORES = {
    "dice": "Mean Dice over the regions of images painted for the test",
    "velocity-r2": "Share of the variance of the velocity explained in the brain and, at .03 of the weight, around it",
}
PSNR = {
    "lf2hf": "PSNR (dB) inside the brain, protocol brain-fit",
    "hf2lf": "PSNR (dB) inside the brain of scaled intensities, no fit",
}
"""What the first score of a method is: one of ``SCORES``, or a PSNR by the direction of the method."""


def _validation(recipe: JsonObject) -> str:
    """What validation said of the weights that were kept."""
    outcome = recipe["outcome"]
    score = outcome["validation_score"]
    if score is None:
        return "No validation subjects."
    value = f"{score:.2f} at step {outcome['best_step']}" + ", the weights it began with" * (not outcome["best_step"])
    return f"{outcome['score']}: {value}.\nThese subjects decided which weights were kept, so this is no test."


def _limits(recipe: JsonObject) -> list[str]:
    """Sentences on what the weights must not be used for."""
    made = sorted({row["low_field"] for row in recipe["data"] if row["part"] == "train"})
    simulated = [one for one in made if one != "acquired"]
    limits = ["For research only; not a medical device. What it adds was learned from other people."]
    if simulated:
        share = "All of it" if simulated == made else "Part of it"
        limits.append(
            f"The low field it was trained with was SIMULATED: {', '.join(simulated)}. {share}; a real scanner differs."
        )
    if recipe["outcome"]["validation_score"] is None:
        limits.append("No validation subjects: the weights are those of the last step.")
        if "error_factor" in recipe["settings"]:
            limits.append("The scale of its error was fitted on training subjects: probably too small.")
    if recipe["maps"] == "regions":
        return [*limits, "It was shown no acquired image: intensities were painted into the label maps below."]
    return [*limits, f"Knows {', '.join(recipe['contrasts'])} of brains like those below; nothing else was tried."]


def _table(rows: Sequence[JsonObject], columns: Sequence[str]) -> str:
    def text(value: object) -> str:
        return "×".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

    head = [name.replace("_", " ") for name in columns]
    return markdown_table(head, [[text(row[name]) for name in columns] for row in rows])
