"""The baseline after Arnold et al.: four numbers, no anatomy.

The paper names noise, smoothing and a global match of histograms to three pairs, but not its four parameters; ours are
the noise, the resolution in plane and through it, and the exponent of a monotone intensity curve. The curve cannot
reorder tissues: a baseline for the other simulators.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from ..bids.atomic import atomic_write
from ..errors import InputError
from ..imaging.acquisition import Acquisition, Frame
from ..imaging.grid import Grid, apply_affine, resample, translation
from ..imaging.volume import Stack
from ..nn.settings import Checked, setting
from .physics import add_rician
from .presets import Preset
from .simulator import Record, Simulator, Width, acquire, random_motion, resolvable, rows, stack_of
from .source import HighField

PAIRS = 3
"""Pairs that the parameters are fitted to at most."""

POINTS = 20_000
"""Voxels of each pair that the histograms are made of at most."""

SLAB = 40.0
"""Thickness of the slab that these voxels are taken from, in the middle of the stack's third axis, mm: it has all
tissues, and leaves out most of the head."""

SIGHT = 12.0
"""Reach of a voxel's profile, mm: 3.5 standard deviations of a profile of 8 mm."""

EVALUATIONS, REACH, NOISE = 60, 4.0, 0.08
"""Most evaluations of the fit; the largest factor between its result and its start; the noise that it starts from."""


@dataclass(frozen=True)
class Parameters:
    """The four: ``noise`` over the mean signal of the brain; ``in_plane``, ``through_plane`` FWHM in mm; ``gamma``."""

    noise: float
    in_plane: float
    through_plane: float
    gamma: float


@dataclass(frozen=True)
class ArnoldSettings(Checked):
    """Options of ``arnold``."""

    noise: float = field(
        default=0.08, metadata=setting("noise of one channel over the mean signal of the brain", least=0)
    )
    in_plane: float | None = field(
        default=None, metadata=setting("resolution in plane, mm (None: the preset's)", above=0)
    )
    through_plane: float | None = field(
        default=None, metadata=setting("slice thickness, mm (None: the preset's)", above=0)
    )
    gamma: float = field(
        default=0.6, metadata=setting("exponent of the intensity curve; below 1 flattens contrast", above=0)
    )
    parameters: str = field(
        default="",
        metadata=setting("JSON file by contrast that replaces the four above; the train level fits it"),
    )
    motion_mm: float = field(
        default=0.0, metadata=setting("motion between stacks: shift along each axis, mm, SD", least=0, most=20)
    )
    motion_deg: float = field(
        default=0.0, metadata=setting("motion between stacks: turn about each axis, degrees, SD", least=0, most=20)
    )


@dataclass(frozen=True)
class ArnoldRecord(Record):
    """Everything about one stack: ``noise``, ``gamma`` as in ``Parameters``, ``fwhm`` mm, ``seed`` of the noise."""

    noise: float
    gamma: float
    fwhm: Width
    seed: int


def fit_arnold(pairs: Sequence[tuple[HighField, Stack]]) -> Parameters:
    """The parameters that bring the histograms of simulated and real low field closest.

    ``pairs`` one to three subjects of one contrast, each a high-field image and an aligned low-field stack. Nelder-Mead
    over widths and curve on the mean Wasserstein distance of the brain's intensities over their mean, with the best
    noise for each by a line search, which costs no Fourier transform. The noise is drawn once.
    """
    from scipy.optimize import minimize

    if not 1 <= len(pairs) <= PAIRS or len({source.contrast for source, _ in pairs}) != 1:
        raise InputError(f"Expected 1 to {PAIRS} pairs of one contrast, found {len(pairs)} pairs; choose among them.")
    generator = np.random.default_rng(0)
    cases = [_Case.of(source, stack, generator) for source, stack in pairs]
    start = np.log([pairs[0][1].fwhm[0], pairs[0][1].fwhm[2], 0.8])

    def best(logarithms: np.ndarray) -> tuple[float, Parameters]:
        near = np.clip(logarithms, start - np.log(REACH), start + np.log(REACH))
        in_plane, through_plane, gamma = (float(v) for v in np.exp(near))
        return _with_noise(cases, Parameters(NOISE, in_plane, through_plane, gamma))

    simplex = np.concatenate([start[None], start + np.diag([0.25, 0.25, -0.4])])
    fit = minimize(
        lambda logarithms: best(logarithms)[0],
        start,
        method="Nelder-Mead",
        options={"maxfev": EVALUATIONS, "xatol": 0.01, "fatol": 1e-4, "initial_simplex": simplex},
    )
    return best(fit.x)[1]


def _with_noise(cases: Sequence["_Case"], parameters: Parameters) -> tuple[float, Parameters]:
    """The least distance that any noise gives, and the parameters with that noise."""
    from scipy.optimize import minimize_scalar

    clean = [case.clean(parameters) for case in cases]

    def distance(logarithm: float) -> float:
        noise = float(np.exp(logarithm))
        return float(np.mean([case.between(image, noise) for case, image in zip(cases, clean, strict=True)]))

    middle = np.log(NOISE)
    span = (middle - np.log(REACH), middle + np.log(REACH))
    line = minimize_scalar(distance, bounds=span, method="bounded", options={"xatol": 0.01})
    return float(line.fun), replace(parameters, noise=float(np.exp(line.x)))


@dataclass(frozen=True, eq=False)
class _Case:
    """A pair prepared for the fit: brain voxels ``where`` of the stack, their sorted intensities, noise for each.

    ``image`` is the high field within reach of these voxels, on the grid of ``frame``, and ``brain`` (N,) the
    intensities in the whole mask, both over the mean of the latter.
    """

    image: np.ndarray
    brain: np.ndarray
    frame: Frame
    geometry: Grid
    where: np.ndarray
    real: np.ndarray
    noise: np.ndarray

    @classmethod
    def of(cls, source: HighField, stack: Stack, generator: np.random.Generator) -> "_Case":
        geometry = Grid(stack.affine, stack.data.shape)
        inside = np.argwhere(resample(source.mask.astype(np.float32), source.grid.affine, geometry) > 0.5)
        if len(inside) < 100:
            raise InputError(
                f"Expected a low-field stack aligned with its high field, found {len(inside)} voxels of brain in it; "
                "check the alignment."
            )
        far = np.abs(inside[:, 2] - np.median(inside[:, 2])) * geometry.zooms[2]
        chosen = inside[far <= SLAB / 2]
        chosen = chosen[:: -(-len(chosen) // POINTS)]
        where = np.zeros(stack.data.shape, bool)
        where[tuple(chosen.T)] = True
        real = stack.data[where].astype(np.float32)
        noise = generator.standard_normal((2, real.size), dtype=np.float32)
        box, grid = _around(apply_affine(geometry.affine, chosen), source.grid)
        image = np.maximum(source.image, 0).astype(np.float32)
        brain = image[source.mask]
        level = max(float(brain.mean()), 1e-12)
        return cls(image[box] / level, brain / level, Frame(grid), geometry, where, np.sort(real / real.mean()), noise)

    def clean(self, parameters: Parameters) -> np.ndarray:
        """(N,) float32: the voxels as the scanner would see them without noise, 1 the mean signal of the brain."""
        width = (parameters.in_plane, parameters.in_plane, parameters.through_plane)
        acquisition = Acquisition(self.geometry, width, self.frame.grid, self.where, self.frame)
        gamma = np.float32(parameters.gamma)
        level = max(float(np.power(self.brain, gamma).mean()), 1e-12)
        return np.maximum(acquisition.measure(self.frame.spectrum(np.power(self.image, gamma))) / level, 0)

    def between(self, clean: np.ndarray, noise: float) -> float:
        """Wasserstein distance of the two samples, of equal size: the mean difference of their sorted values."""
        noisy = np.hypot(clean + np.float32(noise) * self.noise[0], np.float32(noise) * self.noise[1])
        return float(np.abs(np.sort(noisy / noisy.mean()) - self.real).mean(dtype=np.float64))


def _around(points: np.ndarray, grid: Grid) -> tuple[tuple[slice, ...], Grid]:
    """The box of a grid within reach of the profiles of points (N, 3), RAS+ mm; and its own grid."""
    place = apply_affine(np.linalg.inv(grid.affine), points)
    margin = SIGHT / np.array(grid.zooms)
    low = np.clip(np.floor(place.min(axis=0) - margin), 0, np.array(grid.shape) - 1).astype(int)
    high = np.clip(np.ceil(place.max(axis=0) + margin) + 1, low + 1, grid.shape).astype(int)
    x, y, z = high - low
    box = tuple(slice(int(first), int(last)) for first, last in zip(low, high, strict=True))
    return box, Grid(grid.affine @ translation(low), (int(x), int(y), int(z)))


def curve(source: HighField, gamma: float) -> np.ndarray:
    """(X, Y, Z) float32: the image to the power of ``gamma``, of mean 1 in the brain mask."""
    image = np.maximum(source.image, 0).astype(np.float32)
    curved = np.power(image / max(float(image[source.mask].mean()), 1e-12), np.float32(gamma))
    return curved / max(float(curved[source.mask].mean()), 1e-12)


def save_parameters(path: Path, parameters: dict[str, Parameters]) -> Path:
    """The JSON file written: the fitted parameters of each contrast, as the setting ``parameters`` reads it."""
    text = json.dumps({contrast: asdict(one) for contrast, one in parameters.items()}, indent=2) + "\n"
    return atomic_write(path, text)


_FIT = "let train --augment arnold fit them to pairs, which it writes into OUT_DIR/arnold.json"


def load_parameters(path: Path, contrast: str) -> Parameters:
    """The parameters of one contrast in a file that ``save_parameters`` wrote."""
    expected = f'Expected {{"{contrast}": {{{", ".join(f.name for f in fields(Parameters))}}}}} in {path}, found'
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))[contrast]
        return Parameters(**{f.name: _positive(entry[f.name]) for f in fields(Parameters)})
    except OSError as error:
        raise InputError(f"{expected} no such file; {_FIT}, or leave the option out.") from error
    except KeyError as error:
        raise InputError(f"{expected} no {error}; {_FIT} with it, or leave that contrast out.") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{expected} {error or 'something else'}; {_FIT}.") from error


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
    fwhm = resolvable((chosen.in_plane, chosen.in_plane, chosen.through_plane), source.grid)
    seed = int(generator.integers(2**63))
    return ArnoldRecord(preset.contrast, preset.plane, rows(motion), chosen.noise, chosen.gamma, fwhm, seed)


def _apply(source: HighField, geometry: Grid, record: ArnoldRecord) -> Stack:
    clean = acquire(curve(source, record.gamma), source.grid, geometry, record.fwhm, record)
    data = add_rician(np.maximum(clean, 0), record.noise, np.random.default_rng(record.seed))
    level = float(source.image[source.mask].mean())
    return stack_of(level * data, geometry, record.fwhm, level * record.noise, record)


def _check(settings: ArnoldSettings, contrasts: Sequence[str]) -> None:
    if settings.parameters:
        for contrast in contrasts:
            load_parameters(Path(settings.parameters), contrast)


FITTED = frozenset({"parameters", "noise", "in_plane", "through_plane", "gamma"})

SIMULATOR = Simulator("arnold", ArnoldSettings, ArnoldRecord, _draw, _apply, fitted=FITTED, check=_check)
