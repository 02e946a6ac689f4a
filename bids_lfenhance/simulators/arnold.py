"""The baseline after Arnold et al. (methods.md §7.2): four numbers, no anatomy.

The paper names noise, smoothing and a global match of histograms to three pairs, not the four; ours are the noise, the
resolution in plane and through it, and the exponent of a monotone intensity curve. It can never reorder tissues, which
is what the other simulators are compared with.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from ..bids.atomic import atomic_write
from ..errors import InputError
from ..imaging.acquisition import Acquisition
from ..imaging.grid import Grid
from ..imaging.volume import Stack
from .physics import add_rician
from .presets import Preset
from .simulator import Record, Simulator, Width, acquire, random_motion, rows, stack_of, told
from .source import HighField

PAIRS = 3
"""Pairs that the parameters are fitted to at most."""

POINTS = 20_000
"""Voxels of each pair that the histograms are made of at most."""


@dataclass(frozen=True)
class Parameters:
    """The four: ``noise`` over the mean signal of the brain; ``in_plane``, ``through_plane`` FWHM in mm; ``gamma``."""

    noise: float
    in_plane: float
    through_plane: float
    gamma: float


@dataclass(frozen=True)
class ArnoldSettings:
    """Options of ``arnold``."""

    noise: float = field(default=0.08, metadata=told("noise of one channel over the mean signal of the brain"))
    in_plane: float | None = field(default=None, metadata=told("resolution in plane, mm (None: the preset's)"))
    through_plane: float | None = field(default=None, metadata=told("slice thickness, mm (None: the preset's)"))
    gamma: float = field(default=0.6, metadata=told("exponent of the intensity curve; below 1 flattens contrast"))
    parameters: str = field(
        default="", metadata=told("JSON file of fitted parameters by contrast, which replace the four above")
    )
    motion_mm: float = field(default=0.0, metadata=told("motion between stacks: shift along each axis, mm, SD"))
    motion_deg: float = field(default=0.0, metadata=told("motion between stacks: turn about each axis, degrees, SD"))


@dataclass(frozen=True)
class ArnoldRecord(Record):
    """Everything about one stack: ``noise``, ``gamma`` as in ``Parameters``, ``fwhm`` mm, ``seed`` of the noise."""

    noise: float
    gamma: float
    fwhm: Width
    seed: int


def fit_arnold(pairs: Sequence[tuple[HighField, Stack]], seed: int = 0) -> Parameters:
    """The parameters that bring the histograms of simulated and real low field closest.

    ``pairs`` one to three subjects of one contrast, each a high-field image and an aligned low-field stack. Nelder-Mead
    on the mean Wasserstein distance of the brain's intensities over their mean; the noise is the same in every step.
    """
    from scipy.optimize import minimize

    if not 1 <= len(pairs) <= PAIRS or len({source.contrast for source, _ in pairs}) != 1:
        raise InputError(f"Expected 1 to {PAIRS} pairs of one contrast, found {len(pairs)} pairs; choose among them.")
    generator = np.random.default_rng(seed)
    cases = [_Case.of(source, stack, generator) for source, stack in pairs]
    start = np.log([0.08, pairs[0][1].fwhm[0], pairs[0][1].fwhm[2], 0.8])

    def distance(logarithms: np.ndarray) -> float:
        parameters = _bounded(logarithms, start)
        return float(np.mean([case.distance(parameters) for case in cases]))

    fit = minimize(
        distance,
        start,
        method="Nelder-Mead",
        options={"maxfev": 150, "xatol": 0.01, "initial_simplex": _simplex(start)},
    )
    return _bounded(fit.x, start)


def _simplex(start: np.ndarray) -> np.ndarray:
    """(5, 4): the start, and steps of a quarter to two fifths in each parameter."""
    return np.concatenate([start[None], start + np.diag([0.5, 0.25, 0.25, -0.4])])


def _bounded(logarithms: np.ndarray, start: np.ndarray) -> Parameters:
    """Parameters no further than a factor of four from where the search began."""
    noise, in_plane, through_plane, gamma = np.exp(np.clip(logarithms, start - np.log(4), start + np.log(4)))
    return Parameters(float(noise), float(in_plane), float(through_plane), float(gamma))


@dataclass(frozen=True, eq=False)
class _Case:
    """A pair made ready: brain voxels of the stack ``where``, their sorted intensities, noise for each of them."""

    source: HighField
    geometry: Grid
    where: np.ndarray
    real: np.ndarray
    noise: np.ndarray

    @classmethod
    def of(cls, source: HighField, stack: Stack, generator: np.random.Generator) -> "_Case":
        i, j, k = stack.data.shape
        geometry = Grid(stack.affine, (i, j, k))
        brain = Acquisition(geometry, stack.fwhm, source.grid).forward(source.mask.astype(np.float32)) > 0.5
        chosen = np.flatnonzero(brain)
        if chosen.size < 100:
            raise InputError(
                f"Expected a low-field stack aligned with its high field, found {chosen.size} voxels of brain in it; "
                "check the alignment."
            )
        where = np.zeros(stack.data.shape, bool)
        where.flat[chosen[:: -(-chosen.size // POINTS)]] = True
        real = stack.data[where].astype(np.float64)
        noise = generator.standard_normal((2, real.size), dtype=np.float32)
        return cls(source, geometry, where, np.sort(real / real.mean()), noise)

    def distance(self, parameters: Parameters) -> float:
        """Wasserstein distance of the two samples, of equal size: the mean difference of their sorted values."""
        width = (parameters.in_plane, parameters.in_plane, parameters.through_plane)
        acquisition = Acquisition(self.geometry, width, self.source.grid, self.where)
        curved = curve(self.source, parameters.gamma)
        clean = acquisition.measure(acquisition.frame.spectrum(curved))
        noisy = np.hypot(np.maximum(clean, 0) + parameters.noise * self.noise[0], parameters.noise * self.noise[1])
        return float(np.abs(np.sort(noisy / noisy.mean()) - self.real).mean())


def curve(source: HighField, gamma: float) -> np.ndarray:
    """(X, Y, Z) float32: the image to the power of ``gamma``, of mean 1 in the brain mask."""
    image = np.maximum(source.image, 0).astype(np.float32)
    curved = np.power(image / max(float(image[source.mask].mean()), 1e-12), np.float32(gamma))
    return curved / max(float(curved[source.mask].mean()), 1e-12)


def save_parameters(path: Path, parameters: dict[str, Parameters]) -> Path:
    """The JSON file written: the fitted parameters of each contrast, as ``--arnold-parameters`` reads it."""
    text = json.dumps({contrast: asdict(one) for contrast, one in parameters.items()}, indent=2) + "\n"
    return atomic_write(path, text)


def load_parameters(path: Path, contrast: str) -> Parameters:
    """The parameters of one contrast in a file that ``save_parameters`` wrote."""
    expected = f'Expected {{"{contrast}": {{{", ".join(f.name for f in fields(Parameters))}}}}} in {path}, found'
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))[contrast]
        return Parameters(**{f.name: _positive(entry[f.name]) for f in fields(Parameters)})
    except OSError as error:
        raise InputError(f"{expected} no such file; fit the parameters first or leave the option out.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{expected} {error or 'something else'}; fit the parameters again.") from error


def _positive(value: object) -> float:
    number = float(str(value))
    if not 0 <= number < np.inf:
        raise ValueError(f"the value {number}")
    return number


def _draw(source: HighField, preset: Preset, settings: ArnoldSettings, generator: np.random.Generator) -> ArnoldRecord:
    preset = preset.on(source.grid)
    chosen = Parameters(
        settings.noise,
        settings.in_plane or preset.fwhm[0],
        settings.through_plane or preset.fwhm[2],
        settings.gamma,
    )
    if settings.parameters:
        chosen = load_parameters(Path(settings.parameters), preset.contrast)
    centre = source.grid.corners().mean(axis=0)
    motion = random_motion(generator, settings.motion_mm, settings.motion_deg, centre)
    fwhm = (chosen.in_plane, chosen.in_plane, chosen.through_plane)
    seed = int(generator.integers(2**63))
    return ArnoldRecord(preset.contrast, preset.plane, rows(motion), chosen.noise, chosen.gamma, fwhm, seed)


def _apply(source: HighField, geometry: Grid, record: ArnoldRecord) -> Stack:
    clean = acquire(curve(source, record.gamma), source.grid, geometry, record.fwhm, record)
    data = add_rician(np.maximum(clean, 0), record.noise, np.random.default_rng(record.seed))
    level = float(source.image[source.mask].mean())
    return stack_of(level * data, geometry, record.fwhm, level * record.noise, record)


SIMULATOR = Simulator("arnold", ArnoldSettings, ArnoldRecord, _draw, _apply)
