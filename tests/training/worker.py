"""One process of a toy training: ``python -m tests.training.worker EXAMPLES OUT STEPS CHUNK``, killed at will."""

import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from bids_lfenhance.training.examples import list_examples
from bids_lfenhance.training.loop import train
from bids_lfenhance.training.run import TrainOptions
from bids_lfenhance.training.split import Split

from .toy import TOY, ToySettings

SPLIT = Split(("ds/a", "ds/b"), ("ds/c", "ds/d"))


def say(done: int, steps: int, losses: Mapping[str, float]) -> None:
    print(done, flush=True)


def main(examples: str, out: str, steps: str, chunk: str) -> None:
    torch.set_num_threads(1)
    settings = ToySettings(steps=int(steps), second=int(steps) // 2, batch=4, noise=0.1)
    options = TrainOptions(
        precision="fp32", chunk=int(chunk), validate_every=5, checkpoint_every=3, checkpoint_seconds=0.2, log_every=1
    )
    train(TOY, settings, list_examples(examples), SPLIT, Path(out), options, say)


if __name__ == "__main__":
    main(*sys.argv[1:])
