"""What every simulator starts from: one high-field contrast and its anatomy."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..config import TISSUES
from ..errors import InputError
from ..imaging.anatomy import CORRELATION, VOLUME_ML, Anatomy, find_anatomy
from ..imaging.grid import Grid
from ..imaging.signal import ORDER
from ..imaging.template import FULL, ROUGH
from ..imaging.tissue import segment_tissue
from ..imaging.volume import Volume

PURE = 0.9
"""Posterior from which a voxel counts as pure tissue."""

TOLERANCE = 1.1
"""How far, as a factor, a tissue may outshine one that should be brighter: GM and WM are close in many a FLAIR."""

COMMON_MM = 120.0
"""Half the side of the common space, mm of the template about its origin: a head fits in [-1, 1]³."""


@dataclass(frozen=True, eq=False)
class HighField:
    """One high-field contrast of one subject.

    ``image`` (X, Y, Z) float32 ≥ 0, arbitrary units; ``contrast`` its BIDS suffix; ``tissue`` (3, X, Y, Z) float32 in
    [0, 1], CSF/GM/WM; ``mask`` (X, Y, Z) bool, brain; ``grid`` of them all, RAS+ mm; ``to_template`` (4, 4) voxel →
    common space in [-1, 1]: mm of the MNI152 template over ``COMMON_MM``, by the affine registration.
    """

    image: np.ndarray
    contrast: str
    tissue: np.ndarray
    mask: np.ndarray
    grid: Grid
    to_template: np.ndarray

    def tissue_means(self) -> np.ndarray:
        """(3,) mean intensity of pure CSF, GM, WM; of all voxels by their posteriors where no voxel is pure."""
        return np.array([mean_of(self.image, posterior) for posterior in self.tissue])


def mean_of(image: np.ndarray, posterior: np.ndarray) -> float:
    """Mean of an image (X, Y, Z) where a posterior is pure; weighted by it where it nowhere is."""
    pure = posterior > PURE
    if pure.any():
        return float(image[pure].mean(dtype=np.float64))
    return float(np.average(image, weights=posterior)) if posterior.any() else 0.0


def common_place(template_to_subject: np.ndarray, grid: Grid) -> np.ndarray:
    """(4, 4): voxel index of ``grid`` → common space.

    ``template_to_subject`` (4, 4) is in RAS+ mm, the direction of ``Warp.affine``; its inverse carries the subject's
    millimetres to the template's.
    """
    return np.diag([1 / COMMON_MM] * 3 + [1.0]) @ np.linalg.inv(template_to_subject) @ grid.affine


def high_field_source(
    image: np.ndarray,
    grid: Grid,
    contrast: str,
    *,
    like: HighField | None = None,
    name: str = "the image",
    sloppy: bool = False,
) -> HighField:
    """A source from an acquired image: brain, tissues and place found, or taken from another contrast of the subject.

    Parameters
    ----------
    image : (X, Y, Z) ≥ 0, bias-corrected, with skull or without, arbitrary units
    grid : RAS+, about 1 mm
    contrast : of the image, as its name or sidecar has it
    like : a source of another contrast on the same grid, whose anatomy is shared; finding it takes 20 s
    name : of the image, for the sentence of an ``InputError``
    sloppy : a coarser search for the brain, for tests

    ``InputError`` where there is no brain, or its tissues are in another order than that of the contrast.
    """
    if like is None:
        mask, tissue, place = _anatomy_of(image, grid, contrast, name, sloppy)
    elif like.grid == grid:
        mask, tissue, place = like.mask, like.tissue, like.to_template
    else:
        raise InputError(
            f"Expected {name} on the grid of its subject's {like.contrast}, {like.grid.shape}, found {grid.shape}; "
            "resample it."
        )
    known = np.nan_to_num(np.asarray(image, np.float32))
    source = HighField(np.maximum(known, 0), contrast, tissue, mask, grid, place)
    check_contrast(source, name)
    return source


def high_field_sources(high: Volume, names: Mapping[str, str] | None = None) -> list[HighField]:
    """One source per contrast of a session, in channel order, all with the anatomy of the first.

    ``names`` of the files by contrast, for the sentence of an ``InputError``.
    """
    called = {contrast: (names or {}).get(contrast, f"the {contrast}") for contrast in high.contrasts}
    first, *others = high.contrasts
    source = high_field_source(high.channel(first), high.grid, first, name=called[first])
    rest = [high_field_source(high.channel(c), high.grid, c, like=source, name=called[c]) for c in others]
    return [source, *rest]


def _anatomy_of(
    image: np.ndarray, grid: Grid, contrast: str, name: str, sloppy: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask (X, Y, Z) bool, tissue (3, X, Y, Z), place (4, 4) of an image, or ``InputError``."""
    if not np.isfinite(image).any() or np.nanmin(image) == np.nanmax(image):
        raise InputError(f"Expected a head or a brain in {name}, found one value everywhere; leave it out.")
    anatomy = find_anatomy(image, grid, contrast, effort=ROUGH if sloppy else FULL)
    check_brain(anatomy, name)
    tissue, _ = segment_tissue(image, anatomy.mask, anatomy.priors)
    return anatomy.mask, tissue, common_place(anatomy.warp.affine, grid)


def check_brain(anatomy: Anatomy, name: str) -> None:
    """Raise InputError if what was found is no brain: low field simulated from it would be useless."""
    volume, correlation = anatomy.quality["MaskVolumeMl"], anatomy.quality["TemplateCorrelation"]
    low, high = VOLUME_ML
    if not low <= volume <= high or correlation < CORRELATION:
        raise InputError(
            f"Expected a brain of {low:.0f} to {high:.0f} ml in {name}, correlating with the template's tissues by "
            f"{CORRELATION} or more, found {volume:.0f} ml and {correlation:.2f}; look at the image, or leave it out."
        )


def check_contrast(source: HighField, name: str) -> None:
    """Raise InputError if a tissue clearly outshines one that is brighter in the contrast."""
    means = source.tissue_means()
    order = [float(means[TISSUES.index(tissue)]) for tissue in ORDER[source.contrast]]
    if any(dark > TOLERANCE * bright for bright, dark in pairwise(order)):
        listed = ", ".join(f"{tissue} {mean:.5g}" for tissue, mean in zip(TISSUES, means, strict=True))
        raise InputError(
            f"Expected {' > '.join(ORDER[source.contrast])} in a {source.contrast}, found {listed} in {name}; "
            "check what contrast it is."
        )
