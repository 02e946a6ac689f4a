"""The four numbers of ``arnold`` from a training's own pairs."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..config import CONTRASTS
from ..errors import InputError
from ..imaging.volume import Stack
from ..simulators.arnold import PAIRS, fit_arnold, save_parameters
from ..simulators.source import HighField
from .jobs import Job, paired

Pair = tuple[HighField, Stack]


def pairs_to_fit(jobs: Iterable[Job], train: Sequence[str]) -> list[Job]:
    """The real pairs that ``arnold`` is fitted to: the first session of up to three people out of ``train``.

    ``InputError`` where they lack a contrast that other jobs simulate; nothing where there are no pairs.
    """
    people: dict[str, Job] = {}
    simulated: set[str] = set()
    for job in jobs:
        if job.low and job.person in train:
            people.setdefault(job.person, job)
        elif job.simulator:
            simulated |= {contrast for _, contrast, *_ in job.high} or set(job.contrasts or CONTRASTS)
    chosen = list(people.values())[:PAIRS]
    missing = simulated.difference(*(_contrasts(job) for job in chosen))
    if chosen and missing:
        raise InputError(
            f"Expected pairs of every contrast that arnold simulates, found none of {', '.join(sorted(missing))} to "
            "fit it to; name the others with --contrasts, or give --set simulator.parameters=FILE."
        )
    return chosen


def _contrasts(job: Job) -> set[str]:
    low, high = ({contrast for _, contrast, *_ in images} for images in (job.low, job.high))
    return low & high


def parameters_file(pairs: Sequence[Job], root: Path) -> Path:
    """Where in ``root`` the parameters go that are fitted to these pairs: named by everything that decides them."""
    names = "\n".join(job.folders(root)[0].name for job in pairs)
    return root / f"arnold_{hashlib.sha256(names.encode()).hexdigest()[:10]}.json"


def registered(job: Job) -> dict[str, Pair]:
    """By contrast the high field, without tissues, which nothing here needs, and a stack of the low field.

    A stack as acquired, not what the stacks are fused to: the simulator makes stacks.
    """
    session = paired(job)
    grid, mask = session.high.grid, session.mask
    nothing = np.zeros((3, *grid.shape), np.float32)
    return {
        c: (
            HighField(session.high.channel(c), c, nothing, mask, grid, session.to_template),
            session.low.stacks_of(c)[0],
        )
        for c in session.low.contrasts
        if c in session.high.contrasts
    }


def write_parameters(found: Iterable[dict[str, Pair]], path: Path) -> Path:
    """The file, now with the parameters of each contrast, fitted to the registered pairs."""
    pairs: dict[str, list[Pair]] = {}
    for one in found:
        for contrast, pair in one.items():
            pairs.setdefault(contrast, []).append(pair)
    return save_parameters(path, {contrast: fit_arnold(own) for contrast, own in pairs.items()})
