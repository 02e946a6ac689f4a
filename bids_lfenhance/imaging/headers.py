"""Opening a scan: file, header and voxels are checked before anything is computed from them."""

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ..errors import InputError
from .grid import zooms_of
from .header_notes import IMAGE, check_values, header_warnings

ZOOM_RANGE = (0.05, 20.0)
"""Voxel sizes outside this range, mm, are a damaged header."""

THICK_MM = 4.0
"""Longest side of a voxel that high field should have, mm: as the coarsest direction at the participant level."""

FIELD_OF_VIEW = (40.0, 600.0)
"""A head's field of view lies between these along every axis, mm."""

_ANNEX_POINTER = b"/annex/objects/"
"""What stands in an unlocked file of git-annex whose content was not fetched."""

_FOREIGN = {
    (0, b"version https://git-lfs"): "the pointer to a file of Git LFS, not the file: get its content (git lfs pull)",
    (0, b"<"): "a web page (was the download refused?): download it again",
    (0, b"PK\x03\x04"): "a zip archive: unpack it",
    (128, b"DICM"): "a DICOM file: convert the series, with dcm2niix say",
}
"""Files that are no image, by (offset, bytes) found in them: what each is, and what to do."""


def open_scan(path: str | Path) -> tuple[nib.Nifti1Image, tuple[str, ...]]:
    """A 3D image (I, J, K) float32 in memory, finite, with its affine voxel → RAS+ mm; and warnings about it.

    Raises ``InputError`` with one sentence where the file cannot be an anatomical scan.
    """
    path = Path(path)
    image, packing = _load(path)
    scan, warnings = check_scan(path, image)
    return scan, (*packing, *warnings)


def check_scan(path: Path, image: nib.Nifti1Image) -> tuple[nib.Nifti1Image, tuple[str, ...]]:
    """As ``open_scan``, for an image that is open already, in memory or on disk; ``path`` names it in messages."""
    data, warnings = _read(path, image)
    affine = np.asarray(image.affine, dtype=np.float64)
    _check_geometry(path, affine, data.shape)
    warnings = warnings + header_warnings(path.name, image, affine)
    data, more = check_values(path, data)
    header = nib.Nifti1Header()
    header.set_xyzt_units("mm", "sec")
    header.set_data_dtype(np.float32)
    header.set_slope_inter(1, 0)
    return nib.Nifti1Image(data, affine, header), tuple(warnings + more)


def thick_voxels(name: str, affine: np.ndarray) -> tuple[str, ...]:
    """A sentence where voxels of high field (``affine`` voxel → RAS+ mm) are longer than ``THICK_MM``, else none."""
    longest = round(max(zooms_of(affine)), 2)
    if longest <= THICK_MM:
        return ()
    return (f"{name} is high field with voxels {longest:.3g} mm long, expected at most {THICK_MM:g} mm: it is thick.",)


def copies(images: Mapping[str, nib.Nifti1Image]) -> list[str]:
    """A sentence for each image, by its name, that holds the same voxels as one before it."""
    seen: dict[tuple[Any, ...], str] = {}
    sentences = []
    for name, image in images.items():
        data = np.asanyarray(image.dataobj)
        key = (data.shape, data.dtype.str, zlib.crc32(data.tobytes()))
        if key in seen:
            sentences.append(
                f"{name} holds the same voxels as {seen[key]}: one acquisition counts twice, and its noise as if it "
                "were less; leave one out with --bids-filter-file."
            )
        seen.setdefault(key, name)
    return sentences


def _check_present(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        message = (
            f"{path.name} is a link to a file that is not there: get its content first "
            f"(datalad get or git annex get {path.name})."
        )
        raise InputError(message, code="missing-file", path=path)
    if path.is_file() and _starts_with(path, _ANNEX_POINTER):
        message = (
            f"{path.name} is the pointer to a file of an annex, not the file: get its content first "
            f"(datalad get or git annex get {path.name})."
        )
        raise InputError(message, code="missing-file", path=path)
    if not path.is_file():
        message = f"Expected the image {path.name} in {path.parent.resolve()}, found no such file; check the path."
        raise InputError(message, code="missing-file", path=path)
    if path.stat().st_size == 0:
        message = f"{path.name} is empty (0 bytes): download it again, it should hold a NIfTI image."
        raise InputError(message, code="empty-file", path=path)
    for (place, words), what in _FOREIGN.items():
        if _starts_with(path, words, place):
            raise InputError(f"{path.name} is {what}.", code="foreign-file", path=path)


def _load(path: Path) -> tuple[nib.Nifti1Image, list[str]]:
    """The image with its header read and a warning on how it was packed, or the reason why there is none."""
    _check_present(path)
    packing: list[str] = []
    try:
        gzipped, named = _starts_with(path, b"\x1f\x8b"), path.name.lower().endswith(".gz")
        if gzipped != named and _is_nifti(path, gzipped):
            packing = [
                f"{path.name} is {'' if gzipped else 'not '}compressed, against its name; it was read all the same."
            ]
        image = _unpacked(path, gzipped) if packing or path.name.lower().endswith(".nii.gz") else _plain(path)
    except (EOFError, zlib.error) as error:
        message = f"{path.name} is cut short or damaged ({_first_line(error)}): copy it again."
        raise InputError(message, code="damaged-file", path=path) from error
    except Exception as error:  # a damaged header makes nibabel raise whatever its arithmetic does
        message = f"{path.name} is not a readable NIfTI image ({_first_line(error)}): export it again."
        raise InputError(message, code="bad-image", path=path) from error
    if isinstance(image, nib.Nifti1Pair) and not isinstance(image, nib.Nifti1Image):
        message = f"{path.name} is half of a NIfTI pair (.hdr and .img): save it as one file, .nii or .nii.gz."
        raise InputError(message, code="bad-image", path=path)
    if not isinstance(image, nib.Nifti1Image):
        message = f"{path.name} should be a NIfTI image, found {type(image).__name__}: convert it first."
        raise InputError(message, code="bad-image", path=path)
    return image, packing


def _starts_with(path: Path, words: bytes, place: int = 0) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(place)
            return file.read(len(words)) == words
    except OSError:  # reported when the image is read
        return False


def _is_nifti(path: Path, gzipped: bool) -> bool:
    """Whether the first bytes, unpacked if need be, are a NIfTI header's."""
    with gzip.open(path) if gzipped else path.open("rb") as file:
        return _version(file.read(4)) > 0


def _version(size: bytes) -> int:
    """1 or 2 by the first four bytes of a NIfTI header, its size; 0 for anything else."""
    sizes = (int.from_bytes(size, "little"), int.from_bytes(size, "big"))
    return 1 if 348 in sizes else 2 if 540 in sizes else 0


def _plain(path: Path) -> Any:
    """An image that is not compressed; its voxels stay on the disk."""
    with path.open("rb") as file:
        version = _version(file.read(4))
    return IMAGE[version].from_filename(path) if version and path.suffix == ".nii" else nib.load(path)


def _unpacked(path: Path, gzipped: bool = True) -> nib.Nifti1Image:
    """A gzipped NIfTI, unpacked to its end: nibabel stops at the last voxel and never sees a wrong checksum."""
    content = path.read_bytes()
    if gzipped or not _version(content[:4]):
        content = gzip.decompress(content)
    return IMAGE[_version(content[:4]) or 1].from_bytes(content)


def _read(path: Path, image: nib.Nifti1Image) -> tuple[np.ndarray, list[str]]:
    """The voxels (I, J, K) float32 and the warning that a fourth axis of one was dropped."""
    shape = image.shape
    lengths = [n for n in shape[3:] if n != 1]
    if len(shape) < 3 or min(shape[:3]) < 2 or lengths:
        message = (
            f"{path.name} should be one 3D volume, found shape {' × '.join(map(str, shape))}: "
            "keep one volume of it or leave the file out."
        )
        raise InputError(message, code="bad-shape", path=path)
    if image.get_data_dtype().fields is not None or image.get_data_dtype().kind not in "iuf":
        message = f"{path.name} should hold real numbers, found {image.get_data_dtype()}: export the magnitude."
        raise InputError(message, code="bad-values", path=path)
    try:
        _check_size(path, image)
        data = np.asarray(image.dataobj, dtype=np.float32).reshape(shape[:3])
    except Exception as error:  # also a MemoryError: a header may promise more voxels than there is memory
        message = (
            f"{path.name} is cut short or damaged, its header promises {' × '.join(map(str, shape))} voxels "
            f"({_first_line(error)}): copy it again."
        )
        raise InputError(message, code="damaged-file", path=path) from error
    dropped = [f"{path.name} has a fourth axis of length 1, which was dropped."] if len(shape) > 3 else []
    return data, dropped


def _check_size(path: Path, image: nib.Nifti1Image) -> None:
    """An ``EOFError`` where the header promises more than there is, before memory is asked for all of it."""
    if not nib.is_proxy(image.dataobj) or image.in_memory:
        return
    content = image.file_map["image"].fileobj
    if content is None and path.suffix != ".nii":  # compressed: its size on disk says nothing of its voxels
        return
    size = path.stat().st_size if content is None else content.seek(0, 2)
    promised = int(image.header.get_data_offset()) + math.prod(image.shape) * image.get_data_dtype().itemsize
    if promised > size:
        raise EOFError(f"{promised} bytes, found {size}")


def _check_geometry(path: Path, affine: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse voxel sizes and fields of view that no head scan has."""
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        message = f"{path.name} has no usable orientation (its affine is singular): repair its header."
        raise InputError(message, code="bad-affine", path=path)
    zooms = zooms_of(affine)
    if min(zooms) <= ZOOM_RANGE[0] or max(zooms) > ZOOM_RANGE[1]:
        message = (
            f"{path.name} should have voxels between {ZOOM_RANGE[0]} and {ZOOM_RANGE[1]} mm, "
            f"found {_by(zooms)} mm: repair its header (unit other than mm?)."
        )
        raise InputError(message, code="bad-zooms", path=path)
    view = [zoom * n for zoom, n in zip(zooms, shape, strict=True)]
    if min(view) < FIELD_OF_VIEW[0] or max(view) > FIELD_OF_VIEW[1]:
        message = (
            f"{path.name} should show a head, between {FIELD_OF_VIEW[0]:.0f} and {FIELD_OF_VIEW[1]:.0f} mm a side, "
            f"found {_by(view)} mm: check its voxel sizes, or leave the file out."
        )
        raise InputError(message, code="bad-field-of-view", path=path)


def _by(values: tuple[float, ...] | list[float]) -> str:
    """Sizes as ``1.6 × 1.6 × 5``."""
    return " × ".join(f"{value:.4g}" for value in values)


def _first_line(error: BaseException) -> str:
    """First line of an error's message, 120 characters at most."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120] or type(error).__name__
