"""The stacks of one session and the volume they become on the canonical grid, which nodes of a workflow hand on."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..config import CONTRASTS
from .grid import Grid, coverage


@dataclass(frozen=True)
class Stack:
    """One acquisition, on its own voxels, placed in the canonical frame.

    ``data`` (I, J, K) float32, bias-corrected, in the intensity units shared by all stacks of its contrast;
    ``affine`` (4, 4) voxel → canonical RAS+ mm, the rigid alignment folded in; ``native_affine`` (4, 4) voxel →
    scanner RAS+ mm, as the header has it; ``fwhm`` (3,) mm, resolution along the three voxel axes;
    ``sigma`` standard deviation of the noise, in the units of ``data``.
    """

    name: str
    contrast: str
    data: np.ndarray
    affine: np.ndarray
    native_affine: np.ndarray
    fwhm: tuple[float, float, float]
    sigma: float

    @property
    def lf2hf_xfm(self) -> np.ndarray:
        """(4, 4) RAS+ mm → RAS+ mm: carries a point of the stack's scanner space into the canonical frame."""
        return self.affine @ np.linalg.inv(self.native_affine)


def in_order(stacks: Iterable[Stack]) -> list[Stack]:
    """The stacks by name, then content: sums of floats depend on their order, which must not be that of the files."""
    return sorted(stacks, key=lambda stack: (stack.name, stack.data.tobytes(), stack.affine.tobytes()))


def seen_by(stacks: Iterable[Stack], grid: Grid) -> np.ndarray:
    """(X, Y, Z) bool: where on a grid some stack saw anything."""
    seen = np.zeros(grid.shape, bool)
    for stack in stacks:
        seen |= coverage(stack.data.shape, stack.affine, grid)
    return seen


@dataclass(frozen=True)
class Volume:
    """One session on the canonical grid.

    ``image`` (C, X, Y, Z) float32, one channel per name in ``CONTRASTS``, zero where a contrast is missing;
    ``present`` (C,) bool; ``stacks`` the acquisitions behind it (none for a high-field reference);
    ``mask`` (X, Y, Z) bool, brain; ``tissue`` (3, X, Y, Z) float32 in [0, 1], posteriors of CSF, GM, WM.
    """

    grid: Grid
    image: np.ndarray
    present: np.ndarray
    stacks: tuple[Stack, ...] = ()
    mask: np.ndarray | None = None
    tissue: np.ndarray | None = None

    @property
    def contrasts(self) -> tuple[str, ...]:
        """The contrasts that were acquired, in channel order."""
        return tuple(name for name, acquired in zip(CONTRASTS, self.present, strict=True) if acquired)

    def channel(self, contrast: str) -> np.ndarray:
        """(X, Y, Z) float32: the image of one contrast."""
        return self.image[CONTRASTS.index(contrast)]

    def stacks_of(self, contrast: str) -> tuple[Stack, ...]:
        """The acquisitions of one contrast, in the order they were read."""
        return tuple(stack for stack in self.stacks if stack.contrast == contrast)

    @property
    def brain(self) -> np.ndarray:
        """(X, Y, Z) bool: the brain mask; ``ValueError`` if there is none yet."""
        if self.mask is None:
            raise ValueError("this volume has no brain mask yet")
        return self.mask

    def with_anatomy(self, mask: np.ndarray, tissue: np.ndarray) -> "Volume":
        """The same volume, now with its brain mask and tissue posteriors."""
        return replace(self, mask=mask, tissue=tissue)


def volume_from_channels(grid: Grid, channels: dict[str, np.ndarray], stacks: tuple[Stack, ...] = ()) -> Volume:
    """A volume from one (X, Y, Z) image per contrast; contrasts not named are absent (zero)."""
    image = np.zeros((len(CONTRASTS), *grid.shape), dtype=np.float32)
    for contrast, channel in channels.items():
        image[CONTRASTS.index(contrast)] = channel
    return Volume(grid, image, np.array([name in channels for name in CONTRASTS]), stacks)


def save_volume(volume: Volume, path: str | Path) -> Path:
    """The path written, from which ``load_volume`` makes the same volume again."""
    arrays: dict[str, np.ndarray] = {"image": volume.image[volume.present], "present": volume.present}
    arrays |= {key: value for key in ("mask", "tissue") if (value := getattr(volume, key)) is not None}
    arrays |= {f"stack{number}": stack.data for number, stack in enumerate(volume.stacks)}
    stacks = [{key: value for key, value in vars(stack).items() if key != "data"} for stack in volume.stacks]
    header = {"affine": volume.grid.affine.tolist(), "shape": volume.grid.shape, "stacks": stacks}
    return save_arrays(path, header, arrays)


def load_volume(path: str | Path) -> Volume:
    """The volume that ``save_volume`` wrote."""
    header, arrays = load_arrays(path)
    grid = Grid(np.array(header["affine"]), tuple(header["shape"]))
    image = np.zeros((len(CONTRASTS), *grid.shape), dtype=np.float32)
    image[arrays["present"]] = arrays["image"]
    stacks = []
    for number, entry in enumerate(header["stacks"]):
        affines = {key: np.array(entry[key]) for key in ("affine", "native_affine")}
        stacks.append(Stack(**entry | affines | {"data": arrays[f"stack{number}"], "fwhm": tuple(entry["fwhm"])}))
    return Volume(grid, image, arrays["present"], tuple(stacks), arrays.get("mask"), arrays.get("tissue"))


def save_arrays(path: str | Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Path:
    """The path written: an uncompressed ``.npz`` with a JSON header, handed from one node to the next."""
    path = Path(path)
    keywords: dict[str, Any] = {"header": np.array(json.dumps(header, default=np.ndarray.tolist)), **arrays}
    np.savez(path, **keywords)
    return path


def load_arrays(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays that ``save_arrays`` wrote; nothing is ever unpickled."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files if key != "header"}
        return json.loads(str(file["header"])), arrays
