"""The record of ``h2lo`` as a simulator: what is drawn for a stack, and the stack of a record."""

import numpy as np

from ...imaging.grid import Grid
from ...imaging.volume import Stack
from ..presets import Preset
from ..simulator import Simulator, random_motion, rows
from ..source import HighField
from .settings import H2loSimulatorSettings, LearnedRecord


def _draw(
    source: HighField, preset: Preset, settings: H2loSimulatorSettings, generator: np.random.Generator
) -> LearnedRecord:
    """Motion and the seed of the noise: all that is random about a map that was learned."""
    # Torch is heavy: the command line reads this record without it.
    from ...nn.weights import load_weights

    motion = random_motion(generator, settings.motion_mm, settings.motion_deg, source.grid.corners().mean(axis=0))
    seed = int(generator.integers(2**63))
    loaded = load_weights(settings.weights, "h2lo", (source.contrast,))
    made_by = (str(settings.weights), loaded.sha256, settings.snr, seed, tuple(loaded.trained_on))
    return LearnedRecord(source.contrast, preset.plane, rows(motion), *made_by)


def _apply(source: HighField, geometry: Grid, record: LearnedRecord) -> Stack:
    """The operator's low field of this head, read at the voxels of the stack."""
    from .inference import apply

    return apply(source, geometry, record)


SIMULATOR = Simulator(
    "h2lo",
    H2loSimulatorSettings,
    LearnedRecord,
    _draw,
    _apply,
    fused=True,
    is_stochastic=lambda settings: bool(settings.snr),
)
