"""The settings of the train level: a learned method from pairs, or from high field and a simulator."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from .names import CONTRASTS
from .options import DEVICE, QUIET, RUN, Common, option

TRAINING = "Training"

PLAIN = ("none", "flip")
"""What can be added to the pairs without a simulator: nothing but left for right, all flips and quarter turns."""


@dataclass(frozen=True)
class TrainSettings(Common):
    """Every choice of one training; each field is documented once, here or in ``Common``."""

    level: str = "train"

    HELP: ClassVar[Mapping[str, str]] = {
        "omp_nthreads": "threads of the training (default: all processors, shared by the processes of torchrun)",
        "verbose": QUIET,
    }

    method: str = option("pfsr", "the method to train", TRAINING)
    preset: str = option(
        "tiny",
        "size of the networks: paper is the published one, default that of the bundled weights; finetune goes on from "
        "--init-weights on your own pairs",
        TRAINING,
        choices=("tiny", "paper", "default", "finetune"),
    )
    augment: str = option(
        "none", "what is added to the pairs: flipped and turned copies, or pairs from a simulator", TRAINING
    )
    augment_dataset: Path | None = option(
        None,
        "high-field dataset that the simulated pairs are made from; default: the training subjects' own high field",
        TRAINING,
    )
    label_maps: Path | None = option(
        None,
        "folder of label maps, from which high field is drawn; what learns from label maps alone takes BIDS_DIR where "
        "none is named",
        TRAINING,
    )
    draws: int = option(4, "simulated sessions per high-field image", TRAINING)
    contrasts: tuple[str, ...] = option(
        (), "contrasts to train with (default: all there are)", TRAINING, choices=CONTRASTS, metavar="CONTRAST"
    )
    split: Path | None = option(None, "split.json that says which subjects train, validate and test", TRAINING)
    folds: int | None = option(None, "cut the subjects into this many folds, one of them kept for the test", TRAINING)
    fold: int = option(0, "the fold that is kept for the test", TRAINING)
    init_weights: str | None = option(None, "weights to begin with: a folder, a file or a name", TRAINING)
    precision: str = option("bf16", "arithmetic of the forward and backward pass", TRAINING, choices=("bf16", "fp32"))
    validate_every: int | None = option(None, "steps between validations (default: 200)", TRAINING)
    patience: int | None = option(None, "validations without gain after which to stop (default: never)", TRAINING)
    max_minutes: float | None = option(
        None,
        "stop in good order after the step in which so many minutes are over; the first step fills the pool of heads, "
        "and a last validation and what is measured in the end come on top (docs/training.md)",
        TRAINING,
    )

    pack: Path | None = option(
        None,
        "write the training into this folder instead, at most 60 MB, for a machine with a GPU that has only torch, "
        "numpy and safetensors: python -m bids_lfenhance.training FOLDER",
        TRAINING,
    )

    device: str = option(*DEVICE)
    work_dir: Path | None = option(None, "folder for the examples that training reads (default: OUT_DIR)", RUN, "-w")

    method_options: Mapping[str, Any] = field(default_factory=dict)
    simulator_options: Mapping[str, Any] = field(default_factory=dict)
