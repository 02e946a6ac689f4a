"""Images of every contrast, resolution and quality from one label map: what the network of the regions learns from.

In the manner of SynthSeg (Billot et al. 2023): intensities are drawn, not taken from any scan, so that the network must
go by shape. Images here also get the resolution of low field: thick slices of any plane, or the mean of three planes.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..imaging.profile import FWHM_PER_SD
from ..imaging.signal import HF_TESLA, LF_TESLA, tissue_signal
from ..imaging.warp import lattice
from ..nn.crop import MARGIN
from ..simulators.head import random_field
from ..simulators.physics import BIAS_TERMS, add_rician, bias_field
from ..simulators.source import COMMON_MM
from .atlas import cells
from .regions import channels_of_kinds, kinds, mirrored_channels, regions

Shape = tuple[int, int, int]

TURN, STRETCH = 10.0, 0.08
"""Standard deviations of a head's affine: degrees about each axis, log scale along each."""

WARP = ((24.0, 3.0), (8.0, 0.8))
"""Smooth deformation: (standard deviation of the kernel, root mean square along each axis), mm."""

MISPLACED = (1.0, 1.0, 0.01)
"""Standard deviations of the simulated error of the affine registration to the template: mm, degrees, log scale."""

BENT = (20.0, 1.2)
"""Simulated error of the warp, beyond that of the warps of the label maps: (standard deviation of the kernel, largest
root mean square along each axis), mm."""

REALISTIC = 0.5
"""Share of images whose tissues are as bright as in a T1w, T2w or FLAIR; the others are of no contrast in use."""

THICK = 0.6
"""Share of images with the resolution of low field."""

STRIPPED = 0.5
"""Share of images without skull."""

WORST_SNR, BEST_SNR = 3.0, 40.0
"""White-matter SNR of a thick stack, on its own voxels."""

PLANES = ((0,), (1,), (2,), (0, 1, 2))
"""Thick axes of the stacks: one stack, or the mean of three."""


@dataclass(frozen=True)
class Appearance:
    """What an image is to look like; drawn where None: ``contrast``, ``thick`` axes (none: thin), ``stripped``, and
    ``warp``, the number of the warp to the template.
    """

    contrast: str | None = None
    thick: tuple[int, ...] | None = None
    stripped: bool | None = None
    deformed: bool = True
    warp: int | None = None


def paint_patch(
    labels: np.ndarray, where: np.ndarray, shape: Shape, generator: np.random.Generator, look: Appearance | None = None
) -> dict[str, np.ndarray]:
    """One image of a box of a head, and its regions.

    Parameters
    ----------
    labels : (X, Y, Z) uint8 kinds (``regions.read_kinds``) on a 1 mm grid, RAS+
    where : (W, 3, X/2, Y/2, Z/2) cells of two by two by two voxels → common space in about [−1, 1], by W warps
    shape : of the box, voxels, even
    look : properties that are given rather than drawn

    ``input`` (1, *shape) float32, its brain about 1; ``target`` (1, *shape) uint8 channels; ``template_coordinates``
    (3, *shape/2) float32 of the box, as a registration would find it. Half the heads are mirrored, and their left and
    right regions exchanged.
    """
    look = look or Appearance()
    box, mirrored = _box(labels, shape, generator, look.deformed)
    index = lattice(box, shape)
    if look.deformed:
        for axis in range(3):
            for width, amplitude in WARP:
                index[axis] += np.float32(amplitude) * random_field(shape, width, generator)
    seen = ndimage.map_coordinates(labels, index, order=0, mode="constant")
    seen = _stripped(seen, generator, look.stripped)
    image = _degraded(_painted(seen, generator, look.contrast), seen, generator, look.thick)
    target = channels_of_kinds()[seen]
    number = int(generator.integers(len(where))) if look.warp is None else look.warp
    places = _places(where[number], index)
    if mirrored:  # the box shows the head mirrored: what is left in it is a right region
        target = mirrored_channels().astype(np.uint8)[target]
        places[0] *= -1
    if look.deformed:
        places = _misplaced(places, generator)
    item = {"input": image[None], "target": target[None], "template_coordinates": places}
    return item | {"present": np.ones(1, bool), "mask": target[None] > 0}


def _places(where: np.ndarray, index: np.ndarray) -> np.ndarray:
    """(3, x, y, z) float32 common space of the cells of a box whose voxels lie at ``index`` of the map."""
    middle = (np.stack([cells(axis).mean(axis=0) for axis in index]) - 0.5) / 2
    found = [ndimage.map_coordinates(axis.astype(np.float32), middle, order=1, mode="nearest") for axis in where]
    return np.stack(found).astype(np.float32)


def _box(labels: np.ndarray, shape: Shape, generator: np.random.Generator, deformed: bool) -> tuple[np.ndarray, bool]:
    """(4, 4) voxel of the box → voxel of the map, and whether it is mirrored; the box lies about the brain."""
    middle = (np.array(labels.shape) - 1) / 2
    turn, mirrored = np.eye(3), False
    if deformed:
        low, high = _extent(labels)
        middle = (low + high) / 2
        spare = np.maximum(high - low + 2 * MARGIN - shape, 0) / 2
        turn, mirrored = _affine(generator, TURN, STRETCH), bool(generator.integers(2))
        middle = middle + generator.uniform(-spare, spare)
    if mirrored:
        turn = turn @ np.diag([-1.0, 1, 1])
    box = np.eye(4)
    box[:3, :3] = turn
    box[:3, 3] = middle - turn @ ((np.array(shape) - 1) / 2)
    return box, mirrored


def _extent(labels: np.ndarray) -> np.ndarray:
    """(2, 3): the first and the last voxel of the brain along each axis, seen in every fourth."""
    region = np.array([False, *(bool(kind.region) for kind in kinds())])[labels[::4, ::4, ::4]]
    where = np.argwhere(region) if region.any() else np.array([[0, 0, 0]])
    return 4.0 * np.stack([where.min(axis=0), where.max(axis=0)])


def _affine(generator: np.random.Generator, degrees: float, stretch: float) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec(generator.normal(0, degrees, 3), degrees=True).as_matrix()
    return np.asarray(turn @ np.diag(np.exp(generator.normal(0, stretch, 3))))


def _misplaced(places: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(3, x, y, z) float32 places with a small affine error and a smooth one."""
    shift, degrees, stretch = MISPLACED
    width, most = BENT
    turn = _affine(generator, degrees, stretch).astype(np.float32)
    moved = np.einsum("ij,jxyz->ixyz", turn, places)
    moved += generator.normal(0, shift / COMMON_MM, 3).astype(np.float32)[:, None, None, None]
    amplitude = np.float32(generator.uniform(0, most) / COMMON_MM)
    for axis in range(3):
        moved[axis] += amplitude * random_field(places.shape[1:], width / 2, generator)
    return moved


def _stripped(seen: np.ndarray, generator: np.random.Generator, wanted: bool | None) -> np.ndarray:
    """The kinds without what is no brain, and without the CSF far from it; or, randomly, as they are."""
    strip = bool(generator.random() < STRIPPED) if wanted is None else wanted
    margin = int(generator.integers(0, 5))
    if not strip:
        return seen
    brain = np.array([False, *(kind.brain and kind.region != 24 for kind in kinds())])[seen]
    near = ndimage.binary_dilation(brain, iterations=margin) if margin else brain
    kept = np.array([False, *(kind.brain for kind in kinds())])[seen] & near
    return np.where(kept, seen, 0)


def _painted(seen: np.ndarray, generator: np.random.Generator, contrast: str | None) -> np.ndarray:
    """(X, Y, Z) float32 ≥ 0, brightest tissue about 1: each group of kinds has a mean and a spread of its own."""
    means, spread = _means(generator, contrast)
    image = means[seen] + spread[seen] * generator.standard_normal(seen.shape, dtype=np.float32)
    image = ndimage.gaussian_filter(np.maximum(image, 0), generator.uniform(0.3, 0.8))
    image *= bias_field(seen.shape, tuple(generator.normal(0, 0.12, len(BIAS_TERMS)).tolist()))
    return np.asarray(image ** np.float32(np.exp(generator.normal(0, 0.15))))


def _means(generator: np.random.Generator, contrast: str | None) -> tuple[np.ndarray, np.ndarray]:
    """(1 + kinds,) mean and spread of each kind; background 0."""
    groups = sorted({kind.group for kind in kinds()})
    drawn = dict(zip(groups, generator.uniform(0.02, 1, len(groups)), strict=True))
    if contrast or generator.random() < REALISTIC:
        name = contrast or str(generator.choice(["T1w", "T2w", "FLAIR"]))
        signal = tissue_signal(name, str(generator.choice([LF_TESLA, HF_TESLA])))
        shares = {region.index: region.tissue for region in regions()}
        of_group = {kind.group: np.dot(shares[kind.region], signal) for kind in kinds() if kind.region}
        drawn |= {group: mean * np.exp(generator.normal(0, 0.08)) for group, mean in of_group.items()}
    spreads = dict(zip(groups, generator.uniform(0.01, 0.1, len(groups)), strict=True))
    means = [0.0, *(drawn[kind.group] for kind in kinds())]
    return np.array(means, np.float32), np.array([0.0, *(spreads[kind.group] for kind in kinds())], np.float32)


def _degraded(
    image: np.ndarray, seen: np.ndarray, generator: np.random.Generator, thick: tuple[int, ...] | None
) -> np.ndarray:
    """(X, Y, Z) float32: as a scanner of low field shows it, or with a little noise; its brain about 1."""
    if thick is None:
        low = generator.random() < THICK
        thick = PLANES[int(generator.integers(len(PLANES)))] if low else ()
    brain = np.array([False, *(bool(kind.region) for kind in kinds())])[seen]
    level = float(image[brain].mean()) if brain.any() else 1.0
    if thick:
        snr = float(np.exp(generator.uniform(np.log(WORST_SNR), np.log(BEST_SNR))))
        stacks = [_stack(image, axis, level / snr, generator) for axis in thick]
        image = np.mean(stacks, axis=0)
    else:
        image = add_rician(image, level * float(np.exp(generator.uniform(np.log(0.005), np.log(0.1)))), generator)
    return np.asarray(image / max(level, 1e-6), np.float32)


def _stack(image: np.ndarray, axis: int, sigma: float, generator: np.random.Generator) -> np.ndarray:
    """(X, Y, Z) float32: one stack with thick slices along ``axis``, noise on its own voxels, back on the grid."""
    zooms = np.full(3, generator.uniform(1.0, 2.3))
    zooms[axis] = generator.uniform(2.3, 6.5)
    widths = zooms * generator.uniform(0.6, 1.1) / FWHM_PER_SD
    start = generator.uniform(0, zooms)
    shape = tuple(int(n) for n in np.maximum((np.array(image.shape) - 1 - start) // zooms + 1, 2))
    blurred = ndimage.gaussian_filter(image, widths)
    low = ndimage.affine_transform(blurred, np.diag(zooms), start, output_shape=shape, order=1)
    noisy = add_rician(np.maximum(low, 0), sigma, generator)
    back = np.diag(1 / zooms)
    seen = ndimage.affine_transform(noisy, back, -start / zooms, output_shape=image.shape, order=1, mode="nearest")
    return np.asarray(seen, np.float32)
