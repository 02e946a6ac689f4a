"""The record of functions that describes a simulator: draw → record → apply."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ..imaging.acquisition import Acquisition
from ..imaging.grid import Grid
from ..imaging.volume import Stack
from .presets import Preset
from .source import HighField

Rows = tuple[tuple[float, ...], ...]
"""A matrix as a record keeps it."""

Width = tuple[float, float, float]
"""Full width at half maximum along the three voxel axes, mm."""


@dataclass(frozen=True)
class Record:
    """Everything random about one simulated stack, as plain JSON values.

    ``contrast`` and ``plane`` name the stack; ``motion`` (4, 4) rows carry the scanner's RAS+ mm to the head's.
    """

    contrast: str
    plane: str
    motion: Rows

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Self:
        """The record whose fields, read from JSON, are these."""
        return cls(**{key: _frozen(value) for key, value in entry.items()})


def _frozen(value: Any) -> Any:
    """The JSON value with tuples for lists, all the way down."""
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Simulator:
    """A way from high field to low field.

    ``settings`` is a frozen dataclass, its fields described as in ``nn.settings``; ``record`` the ``Record`` of one
    stack. ``draw(source, preset, settings, generator) -> record`` takes every random number; ``apply(source, geometry,
    record) -> Stack`` takes none, and gives the same bits whenever it is replayed. ``shared`` names the fields of the
    record that all stacks of one subject and contrast have in common: how the tissues look, not where the head lay.
    ``fused``: it learned from fused stacks, so that on the grid of the high field it gives what fusion would.
    ``is_stochastic(settings)``: whether two sessions of one head differ in more than motion. ``fitted`` names the
    options that a training fits to its pairs where none of them is given; empty: none. ``check(settings, contrasts)``
    raises InputError where a file that the settings name cannot be used for these.
    """

    name: str
    settings: type
    record: type[Record]
    draw: Callable[[HighField, Preset, Any, np.random.Generator], Any]
    apply: Callable[[HighField, Grid, Any], Stack]
    shared: tuple[str, ...] = ()
    fused: bool = False
    is_stochastic: Callable[[Any], bool] = lambda settings: True
    fitted: frozenset[str] = frozenset()
    check: Callable[[Any, Sequence[str]], None] = lambda settings, contrasts: None


def acquire(image: np.ndarray, grid: Grid, geometry: Grid, fwhm: Width, record: Record) -> np.ndarray:
    """(I, J, K) float32: an image on ``grid`` (head mm) as the moved stack measures it, without noise."""
    moved = Grid(np.array(record.motion) @ geometry.affine, geometry.shape)
    return Acquisition(moved, fwhm, grid).forward(image)


def resolvable(fwhm: Width, grid: Grid) -> Width:
    """Widths, mm, that an image on ``grid`` can be drawn with: none below its finest voxel (``Acquisition``)."""
    x, y, z = (max(width, min(grid.zooms)) for width in fwhm)
    return x, y, z


def stack_of(data: np.ndarray, geometry: Grid, fwhm: Width, sigma: float, record: Record) -> Stack:
    """The stack of a record, truly aligned: ``data`` (I, J, K) and the noise in it."""
    affine = np.array(record.motion) @ geometry.affine
    name = f"acq-{record.plane}_{record.contrast}"
    return Stack(name, record.contrast, data.astype(np.float32), affine, geometry.affine, fwhm, sigma)


def random_motion(generator: np.random.Generator, mm: float, degrees: float, centre: np.ndarray) -> np.ndarray:
    """(4, 4) RAS+ mm: a turn about ``centre`` (3,), then a shift; standard deviations along and about each axis."""
    from scipy.spatial.transform import Rotation

    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(generator.normal(0, degrees, 3), degrees=True).as_matrix()
    motion[:3, 3] = generator.normal(0, mm, 3) + centre - motion[:3, :3] @ centre
    return motion


def rows(matrix: np.ndarray) -> Rows:
    """A matrix as a record keeps it."""
    return tuple(tuple(row) for row in np.asarray(matrix, dtype=float).tolist())


def jitter(generator: np.random.Generator, spread: float) -> float:
    """A positive factor about 1: lognormal, ``spread`` the standard deviation of its logarithm."""
    return float(np.exp(generator.normal(0, spread)))
