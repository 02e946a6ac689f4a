"""Synthetic high field: T1w, T2w and FLAIR of one brain from a label map, in the manner of SynthSeg.

Billot et al. 2023 draw every image from Gaussians, one per label, with any means. Here the tissues' means are near
those of the protocol table, so that what is learned from these heads fits real ones.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product

import numpy as np
from scipy import ndimage

from ..config import CONTRASTS, TISSUES
from ..data import read_text
from ..errors import InputError
from ..imaging.grid import Grid, apply_affine, canonical_grid
from ..imaging.signal import HF_TESLA, tissue_signal
from ..imaging.template import fit_affine, load_head_template
from ..imaging.warp import lattice
from .head import random_field
from .physics import BIAS_TERMS, bias_field
from .simulator import jitter
from .source import HighField, common_place

MARGIN_MM = 30.0
"""How much is kept around the brain: skull, scalp and room for the deformation, but no neck."""

AIR_MM = 8.0
"""Air around the head where less would do."""

TURN, STRETCH, SHIFT = 5.0, 0.05, 4.0
"""Standard deviations of the affine of a head: degrees about each axis, log scale along each, mm along each."""

WARP = ((20.0, 2.5), (8.0, 0.8))
"""Smooth deformation: (standard deviation of the kernel, root mean square along each axis), mm."""

BLUR = 0.5
"""Standard deviation of the partial volume between labels, voxels of the 1 mm grid."""

SPREAD = 0.06
"""Standard deviation of the voxels of one class before the blur, the brightest tissue 1."""

PRIOR = 0.05
"""Lognormal standard deviation of a class's mean over heads."""

GRAIN = 0.03
"""Standard deviation of the slow texture that a head shows in all its contrasts."""

BIAS = 0.05
"""Standard deviation of each coefficient of the log bias field: little is left after the scanner's own filter."""

NOISE = 0.015
"""Standard deviation of the noise at 3 T, the brightest tissue 1."""


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A label map prepared for synthesis.

    ``labels`` (I, J, K) FreeSurfer's numbers as they came; ``classes`` (I, J, K) uint8, 0 for background, else 1 + the
    place in ``label_classes``; ``affine`` (4, 4) voxel → RAS+ mm; ``grid`` of the images to be made, 1 mm; ``template``
    (4, 4) template → RAS+ mm of the labels, by affine registration of their T1w.
    """

    labels: np.ndarray
    classes: np.ndarray
    affine: np.ndarray
    grid: Grid
    template: np.ndarray

    def on_grid(self, values: np.ndarray) -> np.ndarray:
        """(X, Y, Z): an array of the map's voxels on ``grid``, by nearest neighbour; 0 outside the map."""
        return _interpolate(values, self, lattice(np.eye(4), self.grid.shape))

    def to_template(self) -> np.ndarray:
        """(4, 4): voxel of ``grid`` → common space, as ``HighField.to_template``."""
        return common_place(self.template, self.grid)


@dataclass(frozen=True)
class LabelClass:
    """One row of the table: ``tissue`` (3,) shares of CSF, GM, WM (none outside the brain); ``signal`` by contrast."""

    name: str
    labels: frozenset[int]
    tissue: tuple[float, float, float]
    signal: dict[str, float]


@cache
def label_classes() -> tuple[LabelClass, ...]:
    """The classes that FreeSurfer's labels are drawn as, from the bundled table."""
    rows = json.loads(read_text("labelmap.json"))["classes"]
    return tuple(
        LabelClass(
            row["name"],
            frozenset(row["labels"]).union(*(range(a, b + 1) for a, b in row.get("ranges", []))),
            tuple(row.get("tissue", (0, 0, 0))),
            row.get("signal", {}),
        )
        for row in rows
    )


def read_labels(labels: np.ndarray, grid: Grid) -> LabelMap:
    """The label map prepared for synthesis, with its affine registration to the template (some seconds).

    ``labels`` (I, J, K) FreeSurfer's numbers (aseg, aparc+aseg, SynthSeg's training maps) on ``grid``, RAS+ mm.
    ``InputError`` where grey matter, white matter or CSF is missing; labels that are not in the table count as air.
    """
    present, index = np.unique(np.rint(labels).astype(np.int64), return_inverse=True)
    number = np.zeros(present.size, np.uint8)
    for row, kind in enumerate(label_classes(), start=1):
        number[[label in kind.labels for label in present.tolist()]] = row
    classes = number[index].reshape(labels.shape)
    _check_tissues(number, present)
    brain = np.array([False, *(any(kind.tissue[1:]) for kind in label_classes())])
    inner, outer = _extent(brain[classes], grid), _extent(classes > 0, grid)
    low = np.maximum(inner[0] - MARGIN_MM, outer[0] - AIR_MM)
    high = np.minimum(inner[1] + MARGIN_MM, outer[1] + AIR_MM)
    points = np.stack([low, high])
    unplaced = LabelMap(labels, classes, np.array(grid.affine), canonical_grid(points), np.eye(4))
    image = _means("T1w", None)[unplaced.on_grid(classes)]
    image = ndimage.gaussian_filter(image, BLUR)
    template, _ = fit_affine(image, unplaced.grid, load_head_template())
    return LabelMap(labels, classes, unplaced.affine, unplaced.grid, template)


def _extent(inside: np.ndarray, grid: Grid) -> np.ndarray:
    """(2, 3) RAS+ mm: the lowest and highest corner of the box around what is inside."""
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    corners = apply_affine(grid.affine, np.array(list(product(*((s.start, s.stop - 1) for s in box))), float))
    return np.stack([corners.min(axis=0), corners.max(axis=0)])


def _check_tissues(number: np.ndarray, present: np.ndarray) -> None:
    """Raise InputError if some tissue has no label."""
    used = {row - 1 for row in number.tolist() if row}
    for tissue, name in enumerate(TISSUES):
        if not any(label_classes()[row].tissue[tissue] == 1 for row in used):
            raise InputError(
                f"Expected labels of {name} by FreeSurfer's numbers (such as 2, 3, 4, 41, 42, 43), found "
                f"{', '.join(map(str, present[:12].tolist()))}; give a segmentation of the whole brain."
            )


@lru_cache(maxsize=1)
def load_labels(path: str) -> LabelMap:
    """The label map of a file (NIfTI or MGH), prepared; the last is cached, as many heads are drawn from each."""
    import nibabel as nib

    try:
        image = nib.load(path)
        labels = np.asarray(image.dataobj, np.float32)  # type: ignore[attr-defined]
    except (OSError, nib.filebasedimages.ImageFileError, EOFError) as error:
        raise InputError(f"Expected a label map (NIfTI or MGH) in {path}, found no image ({error}).") from error
    if labels.ndim != 3:
        raise InputError(f"Expected a label map of three dimensions in {path}, found {labels.ndim}.")
    return read_labels(labels, Grid(image.affine, labels.shape))  # type: ignore[attr-defined]


def synthesise(labels: LabelMap, contrasts: Sequence[str], seed: int) -> list[HighField]:
    """One high-field source per contrast, in the order asked for, all of one deformed anatomy on ``labels.grid``.

    Tissue posteriors are the labels' shares after the same blur as the image; the brain mask is where they exceed one
    half. A contrast does not depend on which others are asked for; the same ``seed`` and map give the same bytes.
    """
    generator = np.random.default_rng([seed, 0])
    shape = labels.grid.shape
    affine = _random_affine(labels.grid, generator)
    # The place of each voxel in the undeformed grid: the affine, then small smooth displacements.
    index = lattice(np.linalg.inv(labels.grid.affine) @ affine @ labels.grid.affine, shape)
    for axis in range(3):
        for width, amplitude in WARP:
            index[axis] += np.float32(amplitude) * random_field(shape, width, generator)
    classes = _interpolate(labels.classes, labels, index)
    shares = np.array([(0, 0, 0), *(kind.tissue for kind in label_classes())], np.float32)
    tissue = np.stack([ndimage.gaussian_filter(one[classes], BLUR) for one in shares.T])
    mask = ndimage.binary_fill_holes(tissue.sum(axis=0) > 0.5)
    grain = 1 + np.float32(GRAIN) * random_field(shape, 3.0, generator)
    to_template = common_place(np.linalg.inv(affine) @ labels.template, labels.grid)
    return [
        HighField(_paint(classes, grain, contrast, seed), contrast, tissue, mask, labels.grid, to_template)
        for contrast in contrasts
    ]


def _paint(classes: np.ndarray, grain: np.ndarray, contrast: str, seed: int) -> np.ndarray:
    """(X, Y, Z) float32 ≥ 0: one contrast of deformed classes, brightest tissue about 1."""
    generator = np.random.default_rng([seed, 1 + CONTRASTS.index(contrast)])
    means = _means(contrast, generator)
    spread = np.full(means.size, SPREAD, np.float32)
    spread[0] = 0
    image = means[classes] + spread[classes] * generator.standard_normal(classes.shape, dtype=np.float32)
    image = ndimage.gaussian_filter(image, BLUR) * grain
    image *= bias_field(classes.shape, tuple(generator.normal(0, BIAS, len(BIAS_TERMS)).tolist()))
    noise = generator.standard_normal(classes.shape, dtype=np.float32)
    return np.abs(image + np.float32(NOISE) * noise).astype(np.float32)


def _means(contrast: str, generator: np.random.Generator | None) -> np.ndarray:
    """(1 + classes,) float32: mean of background and of each class; the table's own without a generator."""
    tissues = tissue_signal(contrast, HF_TESLA)
    means = [0.0]
    for kind in label_classes():
        mean = kind.signal.get(contrast, float(np.dot(kind.tissue, tissues)))
        means.append(mean * jitter(generator, PRIOR) if generator else mean)
    return np.array(means, np.float32)


def _random_affine(grid: Grid, generator: np.random.Generator) -> np.ndarray:
    """(4, 4) RAS+ mm: from a point of the new head to the label map's, about the middle of the grid."""
    from scipy.spatial.transform import Rotation

    centre = grid.corners().mean(axis=0)
    affine = np.eye(4)
    turn = Rotation.from_rotvec(generator.normal(0, TURN, 3), degrees=True).as_matrix()
    affine[:3, :3] = turn @ np.diag(np.exp(generator.normal(0, STRETCH, 3)))
    affine[:3, 3] = centre + generator.normal(0, SHIFT, 3) - affine[:3, :3] @ centre
    return affine


def _interpolate(values: np.ndarray, labels: LabelMap, index: np.ndarray) -> np.ndarray:
    """(X, Y, Z): the value (I, J, K) at each place (3, X, Y, Z), voxels of ``labels.grid``; 0 outside the map."""
    to_map = (np.linalg.inv(labels.affine) @ labels.grid.affine).astype(np.float32)
    voxels = np.einsum("ij,jxyz->ixyz", to_map[:3, :3], index) + to_map[:3, 3, None, None, None]
    return ndimage.map_coordinates(values, voxels, order=0, mode="constant")
