"""A whole-head template made from nilearn's bundled MNI152 maps, and its affine fit to any contrast.

The bundled template is skull-stripped while scans show heads, so rim, skull, scalp and air are added as shells by
distance. Nothing here assumes a contrast: an image is explained as a linear combination of the template's class
maps, so the gains of the classes come from the image itself (a generalised correlation).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage, optimize

from .grid import Grid, apply_affine, resample
from .mni import mni152
from .morphology import fill_holes

CLASSES = ("CSF", "GM", "WM", "skull", "scalp", "air", "below")
"""Order of the class maps; the first three are ``config.TISSUES``."""

SHELLS_MM = (3.0, 10.0, 18.0)
"""Outer distances from the template's brain, mm in template space: CSF rim, skull, scalp; air lies beyond."""

ZOOM_MM = 2
"""Voxel size of the template, mm."""

SHELL_WEIGHT = 0.3
"""Weight of skull, scalp and air relative to brain: they steady the fit, but atrophy moves brain and scalp apart, and
at weight 1 the template's brain grew into the skull (this weight: Dice 0.918 → 0.974, 0.897 → 0.953 on two synthetic
heads)."""

PRIOR, CUT_PRIOR = 4e-3, 2e-2
"""Weight of the usual size of heads, for whole heads and for cut ones, which tell less of their own."""

MARGIN_MM = 36
"""Padding of the template's box, mm, so that scalp and air fit in."""


@dataclass(frozen=True, eq=False)
class HeadTemplate:
    """The whole-head template on its own grid (MNI152 2009a, RAS+ mm).

    ``maps`` (7, X, Y, Z) float32 in [0, 1], one per name in ``CLASSES``, summing to 1; ``brain`` (X, Y, Z) float32
    in [0, 1]; ``depth`` (X, Y, Z) float32, mm to the surface of the brain, positive outside.
    """

    grid: Grid
    maps: np.ndarray
    brain: np.ndarray
    depth: np.ndarray


@cache
def load_head_template() -> HeadTemplate:
    """The whole-head template at 2 mm; an average of 152 heads holds no finer detail worth its cost."""
    grid, tissue, brain = _padded_priors()
    solid = brain > 0.5
    depth = _signed_distance(solid) * ZOOM_MM
    rim, skull, scalp = SHELLS_MM
    below = _below(solid, depth) & (depth > rim)
    free = ~solid & ~below
    shells = np.stack([free & (depth > rim) & (depth <= skull), (depth > skull) & (depth <= scalp), depth > scalp])
    shells &= free
    outer = np.concatenate([shells, below[None]]).astype(np.float32)
    outer = np.stack([ndimage.gaussian_filter(one, 0.7) for one in outer])
    room = np.clip(1 - tissue.sum(axis=0), 0, 1)
    outer *= room / np.maximum(outer.sum(axis=0), 1e-3)
    tissue[0] += np.clip(room - outer.sum(axis=0), 0, 1)
    return HeadTemplate(grid, np.concatenate([tissue, outer]), brain, depth)


def _padded_priors() -> tuple[Grid, np.ndarray, np.ndarray]:
    """Grid at 2 mm, (3, X, Y, Z) CSF/GM/WM and (X, Y, Z) brain, float32 in [0, 1], padded by ``MARGIN_MM``."""
    (t1w, grey, white), affine = mni152()
    brain = fill_holes(t1w > 0.02).astype(np.float32)
    maps = np.stack([brain * np.clip(1 - grey - white, 0, 1), brain * grey, brain * white])
    maps *= brain / np.maximum(maps.sum(axis=0), 1e-3)
    pad = MARGIN_MM // ZOOM_MM
    maps, brain = (np.pad(_halved(one), [(0, 0)] * (one.ndim - 3) + [(pad, pad)] * 3) for one in (maps, brain))
    affine = affine @ np.diag([ZOOM_MM, ZOOM_MM, ZOOM_MM, 1.0])
    affine[:3, 3] -= MARGIN_MM
    return Grid(affine, brain.shape), maps, brain


def _halved(maps: np.ndarray) -> np.ndarray:
    """(..., X, Y, Z): smoothed, and every ``ZOOM_MM``-th voxel; what an axis leaves out is not smoothed on the next."""
    for axis in (-3, -2, -1):
        smooth = ndimage.gaussian_filter1d(maps, 0.8, axis=axis)
        maps = np.moveaxis(np.moveaxis(smooth, axis, 0)[::ZOOM_MM], 0, axis)
    return maps


def _signed_distance(mask: np.ndarray) -> np.ndarray:
    """(X, Y, Z) float32 distance to the surface in voxels, positive outside."""
    out = ndimage.distance_transform_edt(~mask)
    inside = ndimage.distance_transform_edt(mask)
    return (out - inside).astype(np.float32)


def _below(brain: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(X, Y, Z) bool: all that lies under the brain (face, neck, skull base), of which the template knows nothing.

    That is everything straight below the slightly dilated brain; orbits and neck would else be called scalp.
    """
    near: np.ndarray = depth < 12
    covered = np.asarray(near.any(axis=2))
    middle = np.where(covered, np.argmax(near, axis=2), 0) + 6
    height = np.arange(brain.shape[2])
    return (height[None, None, :] < middle[:, :, None]) & covered[:, :, None] & ~brain


def shell_weight(depth: np.ndarray) -> np.ndarray:
    """1 in the brain and its rim, ``SHELL_WEIGHT`` beyond, for depths in mm of the template."""
    return np.where(depth < 2, 1, SHELL_WEIGHT).astype(np.float32)


def gains(maps: np.ndarray, values: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """(K,) least-squares intensity of each class in an image: values ≈ gains @ maps.

    ``maps`` (K, N), ``values`` (N,), ``weight`` (N,) or None.
    """
    weighted = maps if weight is None else maps * weight
    normal = weighted @ maps.T
    normal[np.diag_indices_from(normal)] += 1e-3 * np.trace(normal) / len(normal)
    return np.linalg.solve(normal, weighted @ values)


def explained(maps: np.ndarray, values: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Share of the variance of ``values`` (N,) that a linear combination of ``maps`` (K, N) explains, in [0, 1].

    0 where no value has a ``weight`` (N,).
    """
    weight = np.ones_like(values) if weight is None else weight
    if not weight.any():
        return 0.0
    total = float((weight * (values - np.average(values, weights=weight)) ** 2).sum())
    left = float((weight * (values - gains(maps, values, weight) @ maps) ** 2).sum())
    return 1 - left / total if total > 0 else 0.0


@dataclass(frozen=True, eq=False)
class Samples:
    """Points of the template's head: ``points`` (N, 3) RAS+ mm, ``maps`` (7, N), ``depth`` (N,) mm, inside negative."""

    points: np.ndarray
    maps: np.ndarray
    depth: np.ndarray


@cache
def head_samples(template: HeadTemplate, step: int) -> Samples:
    """Every ``step``-th voxel of the template within 30 mm of its brain; under the brain 8 mm only."""
    every = (slice(None, None, step),) * 3
    wide = np.stack([ndimage.gaussian_filter(one, 0.4 * (step - 1)) for one in template.maps])[:, *every]
    depth, below = template.depth[every], wide[CLASSES.index("below")]
    chosen = np.argwhere(depth < np.where(below > 0.3, 8.0, 30.0))
    points = apply_affine(template.grid.affine, chosen.astype(np.float64) * step)
    return Samples(points, wide[:, *chosen.T], depth[tuple(chosen.T)])


def affine_of(parameters: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(4, 4) template → subject RAS+ mm from 12 parameters about ``centre`` (3,), mm of the template.

    Shift (cm), rotation (units of 10°), log scale (units of 10 %), shear (units of 0.1), so that one step means
    about as much in each.
    """
    from scipy.spatial.transform import Rotation

    shift, turn, scale, shear = np.split(np.asarray(parameters, dtype=np.float64), 4)
    stretch = np.diag(np.exp(0.1 * scale))
    stretch[0, 1], stretch[0, 2], stretch[1, 2] = 0.1 * shear
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", 10 * turn, degrees=True).as_matrix() @ stretch
    affine[:3, 3] = centre + 10 * shift - affine[:3, :3] @ centre
    return affine


@dataclass(frozen=True)
class Effort:
    """How thoroughly the template is fitted.

    Of the affine: ``starts`` that are refined, ``spacing`` mm of the points compared, ``rounds`` of the search at nine
    degrees of freedom and at twelve; of the warp: voxel size in mm and iterations, level by level.
    """

    starts: int
    spacing: int
    rounds: tuple[int, int]
    warp: tuple[tuple[int, int], ...]


FULL = Effort(4, 2, (1, 2), ((4, 30), (2, 12)))

QUICK = Effort(4, 3, (1, 2), ((4, 20),))
"""Where the brain mask is all that is wanted, which hardly depends on the finest level of the warp."""

ROUGH = Effort(1, 4, (0, 1), ((4, 8),))
"""For ``--sloppy``."""


def fit_affine(
    image: np.ndarray,
    grid: Grid,
    template: HeadTemplate,
    seen: np.ndarray | None = None,
    *,
    effort: Effort = FULL,
) -> tuple[np.ndarray, float]:
    """(4, 4) template → subject RAS+ mm that explains the image best, and the share of variance explained.

    ``image`` (X, Y, Z) head or brain of any contrast. Starts are measured from the top of the head, so that a long neck
    in the field of view does not matter; the best are refined, the best of these with all 12 parameters. ``seen``
    (X, Y, Z) bool is the field of view of a head that it cuts: it is compared there alone, and its top may be missing.
    """
    centre = _brain_centre(template)
    coarse = _Fit(image, grid, head_samples(template, 4), centre, zoom=6.0, seen=seen)
    drops = DROPS if seen is None else (*CUT_DROPS, *DROPS)
    starts = sorted(_starts(image, grid, centre, drops), key=coarse.loss)[: effort.starts]
    similar = [coarse.refine(start, free=tuple(range(9)), rounds=2) for start in starts]
    best = min(similar, key=coarse.loss)
    samples = head_samples(template, effort.spacing)
    fine = _Fit(np.minimum(image, coarse.ceiling(best)), grid, samples, centre, zoom=4.0, seen=seen)
    for freedom, rounds in zip((9, 12), effort.rounds, strict=True):
        if rounds:
            best = fine.refine(best, free=tuple(range(freedom)), rounds=rounds)
    return affine_of(best, centre), -fine.loss(best)


def _brain_centre(template: HeadTemplate) -> np.ndarray:
    """(3,) mm: centre of mass of the template's brain."""
    index = np.array(ndimage.center_of_mass(template.brain))
    return apply_affine(template.grid.affine, index[None])[0]


DROPS, CUT_DROPS = (60.0, 72.0, 85.0), (0.0, 15.0, 30.0, 45.0)
"""How far under the top of the image the centre of the brain is sought, mm: of whole heads; of those that are cut."""


def _starts(image: np.ndarray, grid: Grid, centre: np.ndarray, drops: Sequence[float]) -> list[np.ndarray]:
    """Twelve-parameter guesses: the brain's centre ``drops`` mm under the crown, nodding by −20 to 20°."""
    top, middle = crown(image, grid)
    starts = []
    for drop in drops:
        for forward in (-12.0, 0.0, 12.0):
            for nod in (-2.0, -1.0, 0.0, 1.0, 2.0):
                guess = np.zeros(12)
                guess[:3] = (np.array([middle[0], middle[1] + forward, top - drop]) - centre) / 10
                guess[3], guess[6:9] = nod, -1.0
                starts.append(guess)
    return starts


def crown(image: np.ndarray, grid: Grid) -> tuple[float, np.ndarray]:
    """Height of the top of the head, mm, and the (3,) mm centre of the 100 mm of head under it."""
    nx, ny, nz = (max(1, n // 4) for n in grid.shape)
    coarse = Grid(grid.affine @ np.diag([4, 4, 4, 1.0]), (nx, ny, nz))
    small = resample(ndimage.uniform_filter(image, 4), grid.affine, coarse)
    level = np.percentile(small, 98)
    pieces, count = ndimage.label(ndimage.binary_opening(small > 0.15 * level))
    head = pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1 if count else np.ones(small.shape, bool)
    where = apply_affine(coarse.affine, np.argwhere(head).astype(float))
    top = float(np.percentile(where[:, 2], 99.7))
    slab = where[where[:, 2] > top - 100]
    return top, (slab.min(axis=0) + slab.max(axis=0)) / 2


class _Fit:
    """Loss of an affine: minus the explained variance of the image at the template's points."""

    def __init__(
        self,
        image: np.ndarray,
        grid: Grid,
        samples: Samples,
        centre: np.ndarray,
        zoom: float,
        seen: np.ndarray | None = None,
    ) -> None:
        sigma = [0.42 * zoom / z for z in grid.zooms]
        step = [max(1, int(zoom / 2 / z)) for z in grid.zooms]
        every = tuple(slice(None, None, s) for s in step)
        self.image = ndimage.gaussian_filter(image, sigma, truncate=2.5)[every]
        self.to_voxel = np.linalg.inv(grid.affine @ np.diag([*step, 1.0]))
        self.samples, self.centre = samples, centre
        self.weight = shell_weight(samples.depth)
        self.seen = None if seen is None else seen[every].astype(np.float32)
        self.prior = PRIOR if seen is None else CUT_PRIOR

    def values(self, parameters: np.ndarray) -> np.ndarray:
        affine = affine_of(parameters, self.centre)
        index = apply_affine(self.to_voxel @ affine, self.samples.points)
        return ndimage.map_coordinates(self.image, index.T, order=1, mode="constant")

    def ceiling(self, parameters: np.ndarray) -> float:
        """What hardly any brain exceeds: fat above it would outweigh the brain in every sum of squares."""
        core = self.values(parameters)[self.samples.depth < -6]
        return 1.2 * float(np.percentile(core, 99)) if core.any() else float(self.image.max())

    def loss(self, parameters: np.ndarray) -> float:
        values, weight = self.values(parameters), self.weight
        if self.seen is not None:
            weight = weight * self.inside(parameters)
        # MNI152 is about a tenth larger than people along each axis
        penalty = self.prior * float(((parameters[6:9] + 1) ** 2).sum() + (parameters[9:] ** 2).sum())
        return penalty - explained(self.samples.maps, values, weight)

    def inside(self, parameters: np.ndarray) -> np.ndarray:
        """1 where a sample falls on what was seen, else 0."""
        index = apply_affine(self.to_voxel @ affine_of(parameters, self.centre), self.samples.points)
        return ndimage.map_coordinates(self.seen, index.T, order=0, mode="constant")

    def refine(self, start: np.ndarray, free: tuple[int, ...], rounds: int) -> np.ndarray:
        chosen = list(free)

        def loss(values: np.ndarray) -> float:
            trial = start.copy()
            trial[chosen] = values
            return self.loss(trial)

        options = {"maxiter": rounds, "xtol": 1e-2, "ftol": 1e-5}
        optimum = optimize.minimize(loss, start[chosen], method="Powell", options=options)
        best = start.copy()
        best[chosen] = optimum.x
        return best
