"""Whole sessions: one person lies down once and is scanned in several planes and contrasts."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..imaging.grid import Grid
from ..imaging.volume import Stack
from . import get_simulator
from .presets import Preset, stack_geometry
from .simulator import Record, Simulator, random_motion, rows
from .source import HighField

POSE_MM, POSE_DEGREES = 5.0, 3.0
"""Where the head lies in the low-field scanner against the high-field one: shift (mm), rotation (degrees), SD."""


def simulate_session(
    simulator: Simulator,
    sources: Sequence[HighField],
    presets: Sequence[Preset],
    settings: Any,
    generator: np.random.Generator,
) -> list[tuple[Stack, Record]]:
    """One session: a stack for every preset whose contrast is among the sources, in the order of the presets.

    Parameters
    ----------
    sources : one per contrast, all of one subject and grid
    presets : contrast and plane of each stack
    settings : of the simulator
    generator : decides everything; the pose of the head is drawn once

    The head moves a little between stacks, as the simulator's settings say; what ``simulator.shared`` names is drawn
    once for a contrast and kept. Same generator, same session; what is drawn for a stack does not depend on which
    others are made, nor on their order.
    """
    by_contrast = {source.contrast: source for source in sources}
    missing = {preset.contrast for preset in presets} - set(by_contrast)
    if missing:
        raise InputError(
            f"Expected high field of every contrast to be simulated, found none of {', '.join(sorted(missing))}; "
            "name other contrasts."
        )
    centre = sources[0].grid.corners().mean(axis=0)
    pose = random_motion(generator, POSE_MM, POSE_DEGREES, centre)
    root = int(generator.integers(2**63))
    session = []
    for preset in presets:
        source = by_contrast[preset.contrast]
        kept = simulator.draw(source, preset, settings, _child(root, preset.contrast))
        record = simulator.draw(source, preset, settings, _child(root, preset.contrast, preset.name, preset.plane))
        common = {key: getattr(kept, key) for key in simulator.shared}
        record = replace(record, motion=rows(pose @ np.array(record.motion)), **common)
        session.append((simulator.apply(source, stack_geometry(preset, source.grid), record), record))
    return session


def _child(root: int, *words: str) -> np.random.Generator:
    """The generator that belongs to these words."""
    return np.random.default_rng([root, *"\n".join(words).encode()])


def record_json(simulator: Simulator, record: Record) -> dict[str, Any]:
    """The record as a JSON object that names its simulator, for a sidecar; ``replay`` reads it."""
    return {"Simulator": simulator.name, **json.loads(json.dumps(asdict(record)))}


def replay(text: str, source: HighField, geometry: Grid, weights: str | Path | None = None) -> Stack:
    """The stack of a record, bit for bit: ``text`` is what ``record_json`` gave, as JSON.

    ``weights``: folder, file or name of those of a learned simulator, where they lie elsewhere than the record says;
    its SHA-256 decides whether they are the same.
    """
    try:
        entry = json.loads(text)
        simulator = get_simulator(entry.pop("Simulator"))
        if weights is not None:
            if "weights" not in entry:
                raise InputError(f"Expected no weights for {simulator.name}, found {weights}; leave them out.")
            entry["weights"] = str(weights)
        record = simulator.record.of(entry)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"Expected the record of a simulated stack, found {text[:60]!r} ({error}); copy it from the sidecar."
        ) from error
    stack: Stack = simulator.apply(source, geometry, record)
    return stack
