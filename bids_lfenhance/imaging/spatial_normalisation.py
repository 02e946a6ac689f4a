"""Spatial normalisation to a template of TemplateFlow: its files, the transforms both ways, images in its space."""

import os
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from nibabel import Nifti1Image
from nibabel.filebasedimages import ImageFileError
from scipy import ndimage

from ..errors import InputError
from .grid import Grid, apply_affine, resample
from .template import fit_affine, load_head_template
from .volume import Volume
from .warp import deform, lattice, thinned

FIELD_ZOOM = 2
"""Step of the saved displacement fields in voxels of the image: a 1 mm field would be eight times the bytes."""

INVERSE_ROUNDS = 20

LPS = np.diag([-1.0, -1.0, 1.0])
"""RAS+ to the frame of ITK, and back."""

ITK_KIND = "DisplacementFieldTransform_float_3_3"
ITK_COMPOSITE = "CompositeTransform_float_3_3"


@dataclass(frozen=True)
class TemplateFiles:
    """Where a template lies on disk: its image, its brain mask or None."""

    image: Path
    mask: Path | None


@dataclass(frozen=True, eq=False)
class Displacement:
    """A map of points: p → p + field(p), ``field`` (3, X, Y, Z) float32 in mm (RAS+) on ``grid``."""

    field: np.ndarray
    grid: Grid

    def points(self, grid: Grid) -> np.ndarray:
        """(3, X, Y, Z) float32, RAS+ mm: where each voxel of ``grid`` is carried."""
        index = lattice(np.linalg.inv(self.grid.affine) @ grid.affine, grid.shape)
        moved = [ndimage.map_coordinates(one, index, order=1, mode="nearest") for one in self.field]
        return lattice(grid.affine, grid.shape) + np.stack(moved)


def check_space(space: str) -> None:
    """Raise ``InputError`` for a space that is not written ``NAME:res-N`` or that TemplateFlow does not know.

    Nothing is fetched: a template that it knows may still have to be.
    """
    name, resolution = _name_and_resolution(space)
    client = _client()
    known = client.templates()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        message = f"Expected a template of TemplateFlow as output space, found '{name}'; " + (
            f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}."
        )
        raise InputError(message, code="bad-space", space=space)
    if not client.ls(name, suffix=["T1w", "T2w"], desc=None, **_query(resolution)):
        message = f"Expected a resolution that {name} has, found {resolution}; try another, as in {name}:res-1."
        if client.ls(name, suffix=["T1w", "T2w"], extension=".nii.gz", cohort="1"):
            message = (
                f"Expected a template of one cohort, as {name} has several, found {space}; choose another template."
            )
        raise InputError(message, code="bad-space", space=space)


def _name_and_resolution(space: str) -> tuple[str, int]:
    name, _, modifier = space.partition(":")
    resolution = modifier.removeprefix("res-") or "1"
    if not name.isalnum() or not resolution.isdecimal() or (modifier and not modifier.startswith("res-")):
        message = (
            f"Expected an output space written NAME:res-N, as in MNI152NLin2009cAsym:res-1, found {space!r}; "
            "write it so."
        )
        raise InputError(message, code="bad-space", space=space)
    return name, int(resolution)


def _query(resolution: int) -> dict[str, Any]:
    """What chooses the plain images of a template."""
    return {"resolution": resolution, "extension": ".nii.gz", "atlas": None, "label": None, "cohort": None}


def template_files(space: str) -> TemplateFiles:
    """The files of ``NAME:res-1``, on disk when this returns; fetched if need be, else an ``InputError``."""
    name, resolution = _name_and_resolution(space)
    client, where = _client(), _query(resolution)
    images = _fetch(client, name, suffix=["T1w", "T2w"], desc=None, **where)
    if not images:
        message = (
            f"Expected the template {name} at resolution {resolution} in {client.cache.config.root} or on the network, "
            "found neither; fetch it with templateflow where there is a network, set TEMPLATEFLOW_HOME to where it "
            "lies, or choose another output space."
        )
        raise InputError(message, code="no-template", space=space)
    masks = _fetch(client, name, suffix="mask", desc="brain", **where)
    for path in (*images, *masks):
        try:
            Nifti1Image.from_filename(path).get_fdata(dtype=np.float32)
        except (OSError, EOFError, ValueError, ImageFileError, zlib.error) as error:
            message = f"Expected the template {path} to be whole, found it damaged; delete it, and it is fetched again."
            raise InputError(message, code="no-template", space=space) from error
    return TemplateFiles(sorted(images)[0], masks[0] if masks else None)


def _client() -> Any:
    """A TemplateFlow client of the folder the environment names now, not of the one it named at import."""
    return _client_of(os.environ.get("TEMPLATEFLOW_HOME", ""))


@cache
def _client_of(home: str) -> Any:
    """The client of one folder: its index takes seconds to build."""
    with warnings.catch_warnings():
        # templateflow warns that it fills an empty home, which need not concern the user
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            from templateflow.client import TemplateFlowClient

            client = TemplateFlowClient()
            client.templates()  # an empty home is filled here
            return client
        except OSError as error:
            message = (
                f"Expected a folder of templates that can be written, found: {error}; set TEMPLATEFLOW_HOME to one "
                "that can, or to one that is filled."
            )
            raise InputError(message, code="no-template") from error


def _fetch(client: Any, name: str, **query: Any) -> list[Path]:
    """Files that match and are, or can be brought, on disk; none where the network refuses."""
    try:
        files = client.get(name, **query)
    except Exception:  # templateflow passes on whatever the network raised
        files = [path for path in client.ls(name, **query) if path.is_file() and path.stat().st_size > 0]
    return [Path(path) for path in (files if isinstance(files, list) else [files])]


def register_to_template(
    volume: Volume, spaces: Sequence[str], folder: Path, *, sloppy: bool = False
) -> list[dict[str, str]]:
    """A dict for each space: its name, the paths of the transforms ``to`` and ``from`` it (.h5) and of its image.

    ``volume`` needs its brain mask; ``spaces`` are NAME:res-N of one template, at whatever resolutions: its points are
    the same in all, so the volume is registered once, to the finest. The transforms are ITK displacement fields; as ITK
    has it, ``to`` carries the points of the template into the subject, which is what brings the subject's images to
    the template.
    """
    files = {space: template_files(space) for space in spaces}
    forward, back = match_template(volume, min(files.values(), key=_voxel_volume), sloppy=sloppy)
    paths = {"to": folder / "to_template.h5", "from": folder / "from_template.h5"}
    write_displacement(forward, paths["to"])
    write_displacement(back, paths["from"])
    transforms = {key: str(path) for key, path in paths.items()}
    return [{"space": space, "template": str(files[space].image)} | transforms for space in spaces]


def _voxel_volume(files: TemplateFiles) -> float:
    """Of the template's image, mm³."""
    return float(np.prod(Nifti1Image.from_filename(files.image).header.get_zooms()[:3]))


def match_template(volume: Volume, files: TemplateFiles, *, sloppy: bool = False) -> tuple[Displacement, Displacement]:
    """Template → subject and subject → template, both on grids of about 2 mm.

    Only brains are compared, by squared local correlation, so the contrast of the template need not be the volume's.
    """
    if volume.mask is None:
        raise ValueError("a volume goes to a template only once its brain mask is known")
    target, target_grid = load_template(files)
    image = np.where(volume.mask, volume.channel(volume.contrasts[0]), 0)
    head = load_head_template()
    subject_affine, _ = fit_affine(image, volume.grid, head)
    target_affine, _ = fit_affine(target, target_grid, head)
    affine = subject_affine @ np.linalg.inv(target_affine)
    field, grid = np.zeros((3, 2, 2, 2), np.float32), Grid(target_grid.affine, (2, 2, 2))
    for zoom, rounds in ((4, 25),) if sloppy else ((4, 60), (2, 25)):
        field, grid = _match_level(target, target_grid, image, volume.grid, affine, (field, grid), zoom, rounds)
    forward = _whole_map(affine, field, grid, target_grid)
    return forward, invert(forward, affine, volume.grid)


def load_template(files: TemplateFiles) -> tuple[np.ndarray, Grid]:
    """The brain of a template, (X, Y, Z) float32, zero outside, and its grid."""
    loaded = Nifti1Image.from_filename(files.image)
    image = np.asarray(loaded.dataobj, dtype=np.float32)
    grid = Grid(loaded.affine, image.shape)
    if files.mask is None:
        from .anatomy import find_anatomy

        return np.where(find_anatomy(image, grid, "template").mask, image, 0), grid
    mask = Nifti1Image.from_filename(files.mask)
    return np.where(resample(np.asarray(mask.dataobj), mask.affine, grid, order=0) > 0, image, 0), grid


def _match_level(
    target: np.ndarray,
    target_grid: Grid,
    image: np.ndarray,
    grid: Grid,
    affine: np.ndarray,
    start: tuple[np.ndarray, Grid],
    zoom: int,
    rounds: int,
) -> tuple[np.ndarray, Grid]:
    """The displacement (3, X, Y, Z), mm along the axes of its grid, refined at one voxel size."""
    coarse, fixed = thinned(target, target_grid, zoom)
    small, moving = thinned(image, grid, zoom)
    to_image = np.linalg.inv(small.affine) @ affine @ coarse.affine
    weight = np.minimum(1, 2 * ndimage.gaussian_filter((fixed > 0).astype(np.float32), 8 / zoom))
    return deform(fixed, coarse, moving, to_image, weight, start, rounds), coarse


def _whole_map(affine: np.ndarray, field: np.ndarray, grid: Grid, target: Grid) -> Displacement:
    """Field and affine as one displacement of points, on a lattice that holds all of ``target``."""
    wide = _lattice_over(target)
    inner = np.stack([resample(one, grid.affine, wide) for one in field])
    inner = np.einsum("ij,jxyz->ixyz", grid.affine[:3, :3] / np.array(grid.zooms), inner)
    start = lattice(wide.affine, wide.shape)
    end = np.einsum("ij,jxyz->ixyz", affine[:3, :3], start + inner) + affine[:3, 3][:, None, None, None]
    return Displacement((end - start).astype(np.float32), wide)


def _lattice_over(grid: Grid) -> Grid:
    """Every ``FIELD_ZOOM``-th voxel of a grid, with one more beyond each side."""
    affine = grid.affine @ np.diag([FIELD_ZOOM, FIELD_ZOOM, FIELD_ZOOM, 1.0])
    affine[:3, 3] = apply_affine(grid.affine, np.full((1, 3), -float(FIELD_ZOOM)))[0]
    x, y, z = (-(-n // FIELD_ZOOM) + 3 for n in grid.shape)
    return Grid(affine, (x, y, z))


def invert(forward: Displacement, affine: np.ndarray, target: Grid) -> Displacement:
    """The inverse of a displacement over ``target``, by fixed point from the inverse of ``affine`` (Chen 2008)."""
    wide = _lattice_over(target)
    goal = lattice(wide.affine, wide.shape)
    back = np.linalg.inv(affine)
    to_field = np.linalg.inv(forward.grid.affine)
    points = lattice(back @ wide.affine, wide.shape)
    for _ in range(INVERSE_ROUNDS):
        index = _carried(to_field, points)
        moved = np.stack([ndimage.map_coordinates(one, index, order=1, mode="nearest") for one in forward.field])
        points = points - np.einsum("ij,jxyz->ixyz", back[:3, :3], points + moved - goal).astype(np.float32)
    return Displacement(points - goal, wide)


def _carried(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (3, X, Y, Z) carried through an affine (4, 4)."""
    return np.einsum("ij,jxyz->ixyz", affine[:3, :3], points) + affine[:3, 3][:, None, None, None]


def carry_image(
    data: np.ndarray, affine: np.ndarray, transform: Displacement, grid: Grid, order: int = 3
) -> np.ndarray:
    """The image on ``grid`` of the other space, (X, Y, Z) float32; 0 where its field of view does not reach.

    ``data`` (I, J, K) with ``affine`` (4, 4) voxel → RAS+ mm; ``transform`` from the points of ``grid`` to those of
    ``data``; ``order`` 0 for labels, 1 for posteriors, 3 for images.
    """
    index = _carried(np.linalg.inv(affine), transform.points(grid))
    inside = np.all([(one > -0.5) & (one < n - 0.5) for one, n in zip(index, data.shape, strict=True)], axis=0)
    moved = ndimage.map_coordinates(np.asarray(data, np.float32), index, order=order, mode="nearest")
    if order > 1 and data.min() >= 0:  # a cubic rings below zero beside bright edges; a magnitude has no such values
        moved = np.maximum(moved, 0)
    return np.where(inside, moved, 0).astype(np.float32)


def to_template_space(
    data: np.ndarray, grid: Grid, transforms: Mapping[str, str], order: int = 3
) -> tuple[np.ndarray, Grid]:
    """An image (X, Y, Z) of ``grid`` in the template's space, and the template's grid.

    ``transforms`` one of those that ``register_to_template`` returned; ``order`` 0 for labels, 3 for images.
    """
    template = Nifti1Image.from_filename(transforms["template"])
    x, y, z = template.shape
    target = Grid(template.affine, (x, y, z))
    return carry_image(data, grid.affine, read_displacement(transforms["to"]), target, order), target


def write_displacement(transform: Displacement, path: str | Path) -> None:
    """Write an ITK displacement field (LPS, HDF5) that antsApplyTransforms and nitransforms read."""
    import h5py

    affine, zooms = transform.grid.affine, np.array(transform.grid.zooms)
    direction = LPS @ affine[:3, :3] / zooms
    fixed = np.concatenate([transform.grid.shape, LPS @ affine[:3, 3], zooms, direction.ravel()])
    flipped = transform.field * np.diag(LPS).astype(np.float32)[:, None, None, None]
    with h5py.File(path, "w") as file:
        for name, value in (("ITKVersion", "5.4.0"), ("HDFVersion", "1.14.3"), ("OSName", ""), ("OSVersion", "")):
            file.create_dataset(name, data=[value], dtype=h5py.string_dtype("ascii"))
        group = file.create_group("TransformGroup/0")  # without it nitransforms, which expects one, finds nothing
        group.create_dataset("TransformType", data=[ITK_COMPOSITE], dtype=h5py.string_dtype("ascii"))
        group = file.create_group("TransformGroup/1")
        group.create_dataset("TransformType", data=[ITK_KIND], dtype=h5py.string_dtype("ascii"))
        group.create_dataset("TransformFixedParameters", data=fixed.astype(np.float64))
        group.create_dataset("TransformParameters", data=flipped.ravel(order="F"), compression=4)


def read_displacement(path: str | Path) -> Displacement:
    """The displacement that ``write_displacement`` wrote."""
    import h5py

    with h5py.File(path, "r") as file:
        group = file["TransformGroup/1"]
        fixed, values = group["TransformFixedParameters"][:], group["TransformParameters"][:]
    x, y, z = (int(n) for n in fixed[:3])
    affine = np.eye(4)
    affine[:3, :3] = LPS @ fixed[9:].reshape(3, 3) @ np.diag(fixed[6:9])
    affine[:3, 3] = LPS @ fixed[3:6]
    field = values.reshape((3, x, y, z), order="F") * np.diag(LPS).astype(np.float32)[:, None, None, None]
    return Displacement(field.astype(np.float32), Grid(affine, (x, y, z)))
