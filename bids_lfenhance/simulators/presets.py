"""Scanners as data: geometry, resolution and noise of the stacks."""

from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..imaging.grid import Grid
from ..imaging.signal import LF_TESLA, protocol_table, tissue_signal

PLANES = ("axi", "cor", "sag", "iso")
"""The stacks of one contrast: the plane of high resolution, or none."""

ORIENTATION = {
    "axi": ((0, -1), (1, 1), (2, 1)),
    "cor": ((0, -1), (2, 1), (1, -1)),
    "sag": ((1, -1), (2, 1), (0, 1)),
    "iso": ((0, -1), (1, 1), (2, 1)),
}
"""(world axis, direction) of each voxel axis, as dcm2niix writes the scanner's files; the thick axis is last."""


@dataclass(frozen=True)
class Preset:
    """How one stack is acquired: voxel size and resolution in mm along its voxel axes, field in tesla.

    ``snr`` is the white-matter signal over the noise of one channel, on the stack's own voxels. A ``relative`` preset
    counts in voxels of the high-field image and has no shape until ``on`` tells it that image's grid.
    """

    name: str
    contrast: str
    plane: str
    zooms: tuple[float, float, float]
    fwhm: tuple[float, float, float]
    shape: tuple[int, int, int]
    field_strength: float
    snr: float
    relative: bool = False

    def on(self, head: Grid) -> "Preset":
        """The same preset in mm; for a relative one, ⌊N / zoom⌋ voxels along each of its axes."""
        if not self.relative:
            return self
        axes = [axis for axis, _ in ORIENTATION[self.plane]]
        x, y, z = (int(head.shape[axis] // zoom) for axis, zoom in zip(axes, self.zooms, strict=True))
        if min(x, y, z) < 1:
            raise InputError(
                f"Expected at least {self.zooms} voxels for the preset {self.name}, found {head.shape}; "
                "give a larger image."
            )
        (zx, fx), (zy, fy), (zz, fz) = (
            (zoom * head.zooms[axis], width * head.zooms[axis])
            for axis, zoom, width in zip(axes, self.zooms, self.fwhm, strict=True)
        )
        return replace(self, zooms=(zx, zy, zz), fwhm=(fx, fy, fz), shape=(x, y, z), relative=False)


def preset_names() -> tuple[str, ...]:
    """The words of ``--presets``: a family and, where it has more than one, the plane of the stack.

    >>> preset_names()
    ('hyperfine-axi', 'hyperfine-cor', 'hyperfine-sag', 'hyperfine-iso', 'iqt-hcp', '55mT')
    """
    planes = {name: next(iter(scanner["zooms"].values())) for name, scanner in protocol_table()["presets"].items()}
    return tuple(name if len(family) == 1 else f"{name}-{plane}" for name, family in planes.items() for plane in family)


def named_preset(word: str, contrast: str) -> Preset:
    """The preset of one word of ``preset_names`` and one contrast.

    >>> named_preset("hyperfine-sag", "T2w").plane
    'sag'
    """
    if word not in preset_names():
        raise InputError(f"Expected a preset among {', '.join(preset_names())}, found {word!r}; choose one of these.")
    name, _, plane = word.rpartition("-")
    return get_preset(contrast, plane, name) if plane in PLANES else get_preset(contrast, "axi", word)


def get_preset(contrast: str, plane: str, name: str = "hyperfine") -> Preset:
    """The preset of one contrast and plane.

    >>> get_preset("T1w", "axi").shape
    (112, 138, 40)
    """
    scanner = protocol_table()["presets"].get(name, {"zooms": {}})
    if plane not in scanner["zooms"].get(contrast, {}):
        raise InputError(
            f"Expected a preset among {', '.join(preset_names())}, found {name}-{plane} of {contrast}; "
            "choose one of these."
        )
    zooms = tuple(scanner["zooms"][contrast][plane])
    relative = "field_of_view" not in scanner
    extent = [0 if relative else scanner["field_of_view"][axis] for axis, _ in ORIENTATION[plane]]
    counts = tuple(2 * round(length / zoom / 2) for length, zoom in zip(extent, zooms, strict=True))
    fwhm = tuple(scanner.get("fwhm", zooms))
    return Preset(name, contrast, plane, zooms, fwhm, counts, scanner["field_strength"], scanner["snr"], relative)


def tissue_snr(preset: Preset) -> tuple[np.ndarray, np.ndarray]:
    """Mean (2,) and covariance (2, 2) of the SNR of WM and GM over subjects: the table's, or scaled down from it.

    Where a scanner's were never published, white matter has the preset's SNR, grey matter what the low-field signal
    makes of it, and both the relative spread and correlation of the published T1w.
    """
    table = protocol_table()["tissue_snr"]
    known = table.get(preset.name, {}).get(preset.contrast)
    if known:
        return np.array(known["mean"]), np.array(known["covariance"])
    published = table["iqt-hcp"]["T1w"]
    _, gm, wm = tissue_signal(preset.contrast, LF_TESLA)
    mean = preset.snr * np.array([1.0, gm / wm])
    scale = mean / np.array(published["mean"])
    return mean, np.array(published["covariance"]) * np.outer(scale, scale)


def stack_geometry(preset: Preset, head: Grid) -> Grid:
    """The stack's voxels in its scanner: upright, centred on the field of view of ``head``, RAS+ mm."""
    preset = preset.on(head)
    affine = np.zeros((4, 4))
    for axis, ((world, direction), zoom) in enumerate(zip(ORIENTATION[preset.plane], preset.zooms, strict=True)):
        affine[world, axis] = direction * zoom
    affine[3, 3] = 1.0
    middle = (np.array(preset.shape) - 1) / 2
    affine[:3, 3] = head.corners().mean(axis=0) - affine[:3, :3] @ middle
    return Grid(affine, preset.shape)
