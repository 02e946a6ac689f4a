"""A digital head: the MNI152 brain that nilearn bundles, made individual, with a skull and a face around it.

The template is an average and has no skull. Here every person gets a smooth deformation, sharper tissue borders than an
average has, a rim of fluid, skull, scalp, eyes and neck by distance from the brain; every map is interpolated once.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ..imaging.grid import Grid, translation
from ..imaging.mni import mni152

HEAD_GRID = Grid(np.array([[1.0, 0, 0, -96], [0, 1, 0, -132], [0, 0, 1, -124], [0, 0, 0, 1]]), (192, 240, 224))
"""Grid of the digital head: RAS+, 1 mm, from the neck to the vertex."""

MATERIALS = ("CSF", "GM", "WM", "bone", "marrow", "muscle", "fat", "skin", "eye")
"""Order of the (9, X, Y, Z) fractions of a head; what is left to 1 is air."""

SIGNALS = {
    "T1w": (0.25, 0.65, 0.875, 0.06, 0.55, 0.42, 1.0, 0.50, 0.20),
    "T2w": (1.00, 0.47, 0.34, 0.04, 0.30, 0.20, 0.45, 0.25, 0.95),
}
"""Noiseless 3 T signal of each material (arbitrary units): T1w brain as in the template, the rest plausible."""

TEXTURE = {"T1w": 1.0, "T2w": -0.6}
"""How much of what the template shows inside a tissue (thalamus, pallidum, ...) goes into each contrast."""

SHARPNESS = 2.5
"""Exponent on the template's tissue fractions: one brain has sharper borders than the mean of 152."""

WARP = ((22.0, 3.0), (7.0, 0.9))
"""Deformation that makes a head individual: (standard deviation of the kernel, root mean square of each axis), mm."""

SIZE = (0.94, 0.025)
"""Length of a head over the template's, mean and SD: averaging in Talairach space made the template too large."""

POSE = (2.5, 4.0)
"""Standard deviation of the head's tilt about each axis, degrees, and of its place, mm."""

_COARSE = 2
_CLOSING = 8.0


@dataclass(frozen=True)
class Head:
    """A person on ``HEAD_GRID``.

    ``fractions`` (9, X, Y, Z) float32 in [0, 1], in the order of ``MATERIALS``; ``texture`` (X, Y, Z) float32, T1w
    signal of the template inside its tissues, about zero; ``gain`` (X, Y, Z) float32 about 1, the grain of this person.
    """

    fractions: np.ndarray
    texture: np.ndarray
    gain: np.ndarray

    @property
    def tissue(self) -> np.ndarray:
        """(3, X, Y, Z) float32 in [0, 1]: fractions of CSF, GM and WM, the truth of this head."""
        return self.fractions[:3]

    def signal(self, contrast: str) -> np.ndarray:
        """(X, Y, Z) float32: the noiseless 3 T image of one contrast, arbitrary units in [0, about 1]."""
        image = np.tensordot(np.array(SIGNALS[contrast], np.float32), self.fractions, axes=1)
        image += np.float32(TEXTURE[contrast]) * self.texture
        return np.maximum(image * self.gain, 0)


def make_head(generator: np.random.Generator) -> Head:
    """One person, drawn: deformation, thickness of rim, skull and scalp, texture of the tissues."""
    points = individual_points(generator)
    fractions = np.zeros((len(MATERIALS), *HEAD_GRID.shape), np.float32)
    texture = _fill_brain(fractions, points)
    _fill_head(fractions, points, generator)
    gain = 1 + 0.02 * random_field(HEAD_GRID.shape, 3.0, generator)
    gain += 0.01 * random_field(HEAD_GRID.shape, 12.0, generator)
    return Head(fractions, texture, gain)


def random_field(shape: tuple[int, ...], width: float, generator: np.random.Generator) -> np.ndarray:
    """A Gaussian random field (X, Y, Z) float32: mean 0, variance 1, kernel of standard deviation ``width`` voxels.

    >>> field = random_field((40, 40, 40), 4.0, np.random.default_rng(0))
    >>> bool(0.5 < field.std() < 1.5)
    True
    """
    knots = [int(np.ceil(n / width)) + 7 for n in shape]
    field = generator.standard_normal(knots).astype(np.float32)
    for axis, (n, count) in enumerate(zip(shape, knots, strict=True)):
        offset = np.arange(n)[:, None] / width - (np.arange(count)[None] - 3)
        kernel = np.exp(-0.5 * offset**2)
        kernel /= np.sqrt((kernel**2).sum(axis=1, keepdims=True))  # each row of unit norm keeps the variance at 1
        field = np.moveaxis(np.tensordot(kernel.astype(np.float32), field, axes=(1, axis)), 0, axis)
    return field


@cache
def _template() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """T1w, GM, WM and signed distance (mm) to the brain's hull, each with its affine; the cord goes on to the neck."""
    images, affine = mni152()
    below = 80
    affine = affine @ translation((0, 0, -below))
    t1w, gm, wm = (np.pad(image, ((0, 0), (0, 0), (below, 0)), mode="edge") for image in images)
    coarse = ndimage.zoom(t1w, 1 / _COARSE, order=1, grid_mode=True, mode="nearest") > 0.05
    margin = 30
    inside = ndimage.binary_fill_holes(np.pad(coarse, margin, mode="constant"))
    inside[:, :, :margin] = inside[:, :, margin : margin + 1]
    hull = ndimage.distance_transform_edt(~inside) < _CLOSING / _COARSE
    hull = ndimage.distance_transform_edt(hull) > _CLOSING / _COARSE
    distance = ndimage.distance_transform_edt(~hull) - ndimage.distance_transform_edt(hull)
    distance = ndimage.gaussian_filter(distance.astype(np.float32), 1.0) * _COARSE
    coarse_affine = (
        affine @ translation((0.5, 0.5, 0.5)) @ np.diag([_COARSE, _COARSE, _COARSE, 1.0]) @ translation((-margin,) * 3)
    )
    return (t1w, affine), (gm, affine), (wm, affine), (distance, coarse_affine)


def individual_points(generator: np.random.Generator) -> np.ndarray:
    """(3, X, Y, Z) float32 template mm: the place in the template of each voxel of this person's head."""
    tilt, place = generator.normal(size=(2, 3)) * np.array(POSE)[:, None]
    matrix = np.diag(1 / generator.normal(*SIZE, 3)) @ Rotation.from_euler("xyz", tilt, degrees=True).as_matrix()
    offset = matrix @ (HEAD_GRID.affine[:3, 3] - place)
    points = np.zeros((3, *HEAD_GRID.shape), np.float32)
    for axis in range(3):
        for width, amplitude in WARP:
            points[axis] += np.float32(amplitude) * random_field(HEAD_GRID.shape, width, generator)
        steps = np.meshgrid(*(np.arange(n) for n in HEAD_GRID.shape), indexing="ij", sparse=True)
        points[axis] += sum((matrix[axis, other] * steps[other]).astype(np.float32) for other in range(3))
        points[axis] += np.float32(offset[axis])
    return points


def _sample(image: np.ndarray, affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(X, Y, Z) float32: the template's map at the points, by one linear look-up; its axes are those of the world."""
    voxels = (points - affine[:3, 3, None, None, None].astype(np.float32)) / np.float32(affine[0, 0])
    return ndimage.map_coordinates(image, voxels, order=1, mode="nearest")


def _fill_brain(fractions: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(X, Y, Z) float32 texture of the tissues in T1w; writes sharpened CSF, GM, WM of the brain into ``fractions``."""
    t1w, gm, wm = (_sample(*_template()[number], points) for number in range(3))
    brain = fractions[:3]
    np.stack([np.clip(1 - gm - wm, 0, 1), gm, wm], out=brain)
    inside = np.clip((t1w - 0.1) / 0.1, 0, 1)
    texture = t1w - np.tensordot(np.array(SIGNALS["T1w"][:3], np.float32), brain, axes=1)
    texture[inside < 1] = 0
    np.power(brain, np.float32(SHARPNESS), out=brain)
    brain *= inside / np.maximum(brain.sum(axis=0), 1e-6)
    return np.clip(texture, -0.25, 0.25, out=texture)


def _inside(distance: np.ndarray) -> np.ndarray:
    """Fraction of a 1 mm voxel that lies inside a surface, from the signed distance (mm) of its centre."""
    return np.clip(0.5 - distance, 0, 1)


def _ellipsoid(points: np.ndarray, centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    """About the signed distance (mm) to an ellipsoid, negative inside; an infinite radius makes a cylinder."""
    square = sum(((points[a] - np.float32(centre[a])) / np.float32(radii[a])) ** 2 for a in range(3))
    return (np.sqrt(square) - 1) * np.float32(min(radii))


def _soft_minimum(surfaces: list[np.ndarray]) -> np.ndarray:
    """Signed distance (mm) to the union of bodies, rounded over 6 mm where they meet."""
    union = surfaces[0]
    for surface in surfaces[1:]:
        overlap = np.maximum(6.0 - np.abs(union - surface), 0) / np.float32(6)
        union = np.minimum(union, surface) - overlap**2 * np.float32(1.5)
    return union


def _fill_head(fractions: np.ndarray, points: np.ndarray, generator: np.random.Generator) -> None:
    """Writes fluid, skull and soft tissue around the brain that ``fractions`` already holds."""
    shape = fractions.shape[1:]
    rim = _sample(*_template()[3], points) - np.maximum(2.4 + 0.5 * random_field(shape, 18.0, generator), 1.6)
    thickness = np.maximum(6.0 + 1.3 * random_field(shape, 15.0, generator), 2.5)
    surface = _skin_surface(rim - thickness, points, generator)
    cavity, vault = _inside(rim), _inside(rim - thickness)
    fractions[:3] *= cavity
    fractions[0] += cavity - fractions[:3].sum(axis=0)
    diploe = np.clip(1.5 - 5 * np.abs(rim / thickness - 0.55), 0, 1)
    fractions[3] = (vault - cavity) * (1 - diploe)
    fractions[4] = (vault - cavity) * diploe
    _fill_soft_tissue(fractions[5:], points, surface, generator)
    fractions[5:] *= np.maximum(_inside(surface) - vault, 0)


def _skin_surface(skull: np.ndarray, points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(X, Y, Z) signed distance (mm) to the skin, from that to the skull: scalp, face, nose and neck."""
    scalp = skull - (6.0 + 1.2 * random_field(skull.shape, 25.0, generator))
    face = _ellipsoid(points, (0, 38, -72), (64, 55, 66))
    nose = _ellipsoid(points, (0, 93, -62), (14, 18, 22))
    neck = _ellipsoid(points, (0, -30, -112), (66, 66, 70))
    return _soft_minimum([scalp, face, nose, neck])


def _fill_soft_tissue(
    soft: np.ndarray, points: np.ndarray, surface: np.ndarray, generator: np.random.Generator
) -> None:
    """Writes muscle, fat, skin and eye (4, X, Y, Z) as if no skull were there; airways are what is left to 1."""
    muscle, fat, skin, eye = soft
    skin[:] = 1 - _inside(surface + 1.5)
    fat[:] = np.maximum(1 - _inside(surface + 4.5), np.clip(random_field(surface.shape, 5.0, generator) - 0.6, 0, 1))
    for side in (-1, 1):
        np.maximum(fat, _inside(_ellipsoid(points, (side * 32, 62, -40), (17, 22, 16))), out=fat)
        np.maximum(eye, _inside(_ellipsoid(points, (side * 32, 68, -40), (12, 12, 12))), out=eye)
    fat *= 1 - skin
    muscle[:] = 1 - skin - fat
    soft[:3] *= 1 - eye
    soft *= 1 - _inside(_ellipsoid(points, (0, 58, -68), (12, 28, 22)))
