"""SIMULATED low field made bad in twelve ways, and good: what benchmarks/verdicts.py is run on.

The scanner is tests/oracle.py; heads are real high field (fidelity.py), or label maps painted. A way is made in two
forms, which a person each of two scanners shows.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from benchmarks.fidelity import high_field
from bids_lfenhance.simulators.labelmap import label_classes
from bids_lfenhance.simulators.presets import get_preset
from bids_lfenhance.simulators.protocol import LOW_FIELD, low_field_sidecar
from tests import oracle

WHITE = 1000
"""Stored value of simulated white matter: scanners store integers."""

ZOOM = 1.5
"""Voxel size of the real heads, mm: three times fewer voxels than 1 mm, and still finer than low field."""

THREE = ("axi", "cor", "sag")


@dataclass(frozen=True)
class Head:
    """High field by contrast on one grid: images (X, Y, Z), ``affine`` → RAS+ mm, ``tissue`` (3, X, Y, Z)."""

    images: Mapping[str, np.ndarray]
    affine: np.ndarray
    tissue: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        return oracle.head_centre(self.images["T1w"], self.affine)


@dataclass(frozen=True)
class File:
    """One scan as a dataset has it; ``qform`` where it is not the affine."""

    name: str
    data: np.ndarray
    affine: np.ndarray
    sidecar: Mapping[str, Any]
    qform: np.ndarray | None = None

    def write(self, folder: Path) -> None:
        image = nib.Nifti1Image(self.data, self.affine)
        image.set_sform(self.affine, code=1)
        image.set_qform(self.affine if self.qform is None else self.qform, code=1)
        image.header.set_xyzt_units("mm", "sec")
        nib.save(image, folder / f"sub-01_ses-LF_{self.name}.nii.gz")
        (folder / f"sub-01_ses-LF_{self.name}.json").write_text(json.dumps(dict(self.sidecar), indent=1) + "\n")


@lru_cache(maxsize=1)
def load(data: Path, person: str) -> Head:
    """A head; ``map07`` is the seventh of the label maps, the others are those of fidelity.py."""
    if person.startswith("map"):
        return painted(data / "synthseg_label_maps" / f"training_seg_{person[3:]}.nii.gz")
    real, grid, brain = high_field(data, person, ZOOM)
    return Head(real, grid.affine, oracle.tissue_by_intensity(real["T1w"], brain))


def painted(path: Path) -> Head:
    """The head of a label map: a grey value a label, soft edges, and texture."""
    image = nib.as_closest_canonical(nib.load(path))
    labels = np.rint(np.asarray(image.dataobj)).astype(int)
    signal, shares = np.zeros(labels.max() + 1), np.zeros((3, labels.max() + 1))
    t1w = (0.25, 0.60, 1.0)
    for kind in label_classes():
        own = [label for label in kind.labels if label < signal.size]
        signal[own] = kind.signal.get("T1w", float(np.dot(kind.tissue, t1w)))
        shares[:, own] = np.array(kind.tissue)[:, None]
    brain = np.argwhere(shares.sum(axis=0)[labels] > 0)
    low, high = np.maximum(brain.min(axis=0) - 30, 0), brain.max(axis=0) + 31
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    tissue = np.stack([ndimage.gaussian_filter(part[labels[box]].astype(np.float32), 0.5) for part in shares])
    texture = ndimage.gaussian_filter(np.random.default_rng(int(path.name[-9:-7])).normal(size=tissue.shape[1:]), 1.0)
    drawn = ndimage.gaussian_filter(signal[labels[box]].astype(np.float32), 0.5)
    return Head({"T1w": drawn * (1 + 0.03 * texture / texture.std()).astype(np.float32)}, affine, tissue)


def acquire(
    head: Head,
    contrast: str,
    planes: Sequence[str],
    rng: np.random.Generator,
    motion: tuple[float, float] = (2, 2),
    **more: Any,
) -> list[oracle.Acquired]:
    """The stacks of one contrast by the independent scanner, each moved by ``motion`` mm and degrees; SNR 14."""
    image = head.images.get(contrast, head.images["T1w"])
    return [
        oracle.acquire_stack(
            image,
            head.affine,
            head.tissue,
            contrast,
            plane=plane,
            rng=rng,
            motion=oracle.random_rigid(rng, *motion, head.centre),
            order=1,
            margin_mm=12.0,
            **{"snr": 14.0, **more},
        )
        for plane in planes
    ]


def as_file(scan: oracle.Acquired, name: str = "", **sidecar: Any) -> File:
    protocol = next(one for one in LOW_FIELD if (one.contrast, one.plane) == (scan.contrast, scan.plane))
    about = low_field_sidecar(protocol, get_preset(scan.contrast, scan.plane)) | sidecar
    stored = np.clip(np.rint(scan.data / oracle.LF_MEANS[scan.contrast][2] * WHITE), 0, 32767).astype(np.int16)
    return File(name or scan.name, stored, scan.native_affine, about)


def good(head: Head, contrast: str, planes: Sequence[str], rng: np.random.Generator, **more: Any) -> list[File]:
    return [as_file(scan) for scan in acquire(head, contrast, planes, rng, **more)]


def moved_between(head: Head, rng: np.random.Generator, form: int) -> list[File]:
    """Every stack turned by 12 to 18 degrees, each another way, or the last one alone."""
    calm = acquire(head, "T1w", THREE, rng)
    wild = acquire(head, "T1w", THREE, rng, motion=(rng.uniform(8, 14), rng.uniform(12, 18)))
    return [as_file(scan) for scan in ([calm[0], calm[1], wild[2]] if form else wild)]


def moved_within(head: Head, rng: np.random.Generator, form: int) -> list[File]:
    """4 mm and 5° between odd and even slices of one stack, or between parts of the k-space of all of three."""
    planes = THREE if form else ("axi",)
    before, after = (acquire(head, "T1w", planes, rng, motion, bias=0.0) for motion in ((0, 0), (4, 5)))
    return [as_file(replace(a, data=_mixed(a.data, b.data, form))) for a, b in zip(before, after, strict=True)]


def _mixed(before: np.ndarray, after: np.ndarray, form: int) -> np.ndarray:
    """Two poses in one stack (I, J, K): slice by slice, or echo train by echo train along the first axis."""
    if not form:
        return np.where(np.arange(before.shape[2]) % 2, after, before)
    later = np.arange(before.shape[0]) // 8 % 2 == 1
    spectrum = np.where(later[:, None, None], np.fft.fft(after, axis=0), np.fft.fft(before, axis=0))
    return np.abs(np.fft.ifft(spectrum, axis=0)).astype(np.float32)


def noisy(head: Head, rng: np.random.Generator, form: int) -> list[File]:
    """Noise four times that of SNR 10, of SNR 16."""
    return good(head, "T1w" if form else "T2w", THREE, rng, snr=(10.0, 16.0)[form] / 4)


def misnamed(head: Head, rng: np.random.Generator, form: int) -> list[File]:
    """T2w called T1w: all stacks, or one of three."""
    wrong = [as_file(scan, scan.name.replace("T2w", "T1w")) for scan in acquire(head, "T2w", THREE, rng)]
    return [*good(head, "T1w", THREE[:2], rng), wrong[2]] if form else wrong


def half(head: Head, rng: np.random.Generator, form: int) -> list[File]:
    """The right half of the head in one stack; the upper half in three."""
    return [_cut(file, head.centre, form * 2, 1) for file in good(head, "T1w", THREE if form else ("axi",), rng)]


def slab(head: Head, rng: np.random.Generator, form: int) -> list[File]:
    """45 mm of the head: an axial stack, three stacks front to back."""
    files = good(head, "T1w", THREE if form else ("axi",), rng)
    axis = 1 if form else 2
    way = np.eye(3)[axis] * 22.5
    return [_cut(_cut(file, head.centre - way, axis, 1), head.centre + way, axis, -1) for file in files]


def _cut(file: File, centre: np.ndarray, axis: int, sense: int) -> File:
    """What lies on one side of a plane across a world axis."""
    voxel = int(np.abs(file.affine[axis, :3]).argmax())
    place = file.affine[axis, voxel] * np.arange(file.data.shape[voxel]) + file.affine[axis, 3] - centre[axis]
    kept = np.flatnonzero(sense * place > 0)
    affine = file.affine.copy()
    affine[:3, 3] += affine[:3, voxel] * kept[0]
    return replace(file, data=np.take(file.data, kept, axis=voxel), affine=affine)


def upside_down(head: Head, rng: np.random.Generator, form: int) -> list[File]:
    """The slices of the axial stack in reverse order, alone or beside a coronal stack that is sound."""
    axial, *others = good(head, "T1w", ("axi", "cor") if form else ("axi",), rng)
    return [replace(axial, data=axial.data[:, :, ::-1]), *others]


def mirrored(head: Head, rng: np.random.Generator, form: int) -> list[File]:
    """Left is right by the qform and not by the sform; or by both, in one of three stacks."""
    flip = np.diag([-1.0, 1, 1, 1])
    if not form:
        return [replace(file, qform=flip @ file.affine) for file in good(head, "T1w", ("axi",), rng)]
    files = good(head, "T1w", THREE, rng)
    flip[0, 3] = 2 * head.centre[0]
    return [*files[:2], replace(files[2], affine=flip @ files[2].affine)]


def phantom(head: Head, rng: np.random.Generator, form: int) -> list[File]:
    """A ball of water; a bottle with rods in it."""
    x, y, z = np.indices((200, 200, 200), np.float32) - 99.5
    body = np.clip(85 - np.sqrt(x**2 + y**2 + z**2), 0, 1)
    rods = np.zeros_like(body)
    if form:
        body = np.clip(70 - np.sqrt(x**2 + y**2), 0, 1) * (np.abs(z) < 90)
        rods = body * (((x / 30) % 1 < 0.4) & ((y / 30) % 1 < 0.4))
    affine = np.eye(4)
    affine[:3, 3] = -99.5
    image = body * (1 - 0.7 * rods) * (1 + 1e-3 * z / 100)
    tissue = np.stack([rods + 1e-6 * body, (body - rods) * (z > 0), (body - rods) * (z <= 0)])
    stacks = [
        oracle.acquire_stack(image, affine, tissue, "T1w", plane=plane, rng=rng, means=(0.4, 1.0, 1.0))
        for plane in (THREE if form else ("axi",))
    ]
    return [as_file(scan) for scan in stacks]


def other_field(head: Head, rng: np.random.Generator, form: int) -> list[File]:
    """High field with the sidecar of low field; stacks whose sidecar says 0.35 T."""
    if not form:
        return [_as_low_field(head.images["T1w"], head.affine)]
    said: dict[str, Any] = {"MagneticFieldStrength": 0.35, "ImagingFrequency": 14.9, "Manufacturer": "Open"}
    return [as_file(scan, **said) for scan in acquire(head, "T1w", THREE, rng)]


def _as_low_field(image: np.ndarray, affine: np.ndarray) -> File:
    """A fine image under the sidecar of an isotropic scan at 64 mT."""
    protocol = next(one for one in LOW_FIELD if (one.contrast, one.plane) == ("T1w", "iso"))
    stored = np.clip(np.rint(image / np.percentile(image, 99.9) * WHITE), 0, 32767).astype(np.int16)
    return File("acq-iso_T1w", stored, affine, low_field_sidecar(protocol, get_preset("T1w", "iso")))


def clipped(head: Head, rng: np.random.Generator, form: int) -> list[File]:
    """T1w cut off below white matter, T2w below CSF and grey matter."""
    contrast, level = ("T1w", 800) if not form else ("T2w", 1150)
    return [replace(file, data=np.minimum(file.data, level)) for file in good(head, contrast, THREE, rng)]


def enhanced(head: Head, rng: np.random.Generator, form: int) -> list[File]:
    """What the default method made of three stacks, or of one, as the scan."""
    from bids_lfenhance.api import enhance

    files = good(head, "T1w", ("axi",) if form else THREE, rng)
    made = enhance(*(nib.Nifti1Image(file.data, file.affine) for file in files), suffix="T1w")
    return [_as_low_field(np.asarray(made.image.dataobj), made.image.affine)]


WAYS: Mapping[str, Callable[[Head, np.random.Generator, int], list[File]]] = {
    "motion between stacks": moved_between,
    "motion within a stack": moved_within,
    "noise × 4": noisy,
    "T2w named T1w": misnamed,
    "half a head": half,
    "slab": slab,
    "upside down": upside_down,
    "left–right mirrored": mirrored,
    "phantom": phantom,
    "another field": other_field,
    "clipped": clipped,
    "already enhanced": enhanced,
}
