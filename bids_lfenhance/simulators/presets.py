"""Scanners and protocols as data: geometry of the stacks, and the signal of each tissue at each field strength."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..config import TISSUES
from ..data import read_text
from ..errors import InputError, MethodError
from ..imaging.grid import Grid

PLANES = ("axi", "cor", "sag", "iso")
"""The stacks of one contrast: the plane of high resolution, or none."""

ORIENTATION = {
    "axi": ((0, -1), (1, 1), (2, 1)),
    "cor": ((0, -1), (2, 1), (1, -1)),
    "sag": ((1, -1), (2, 1), (0, 1)),
    "iso": ((0, -1), (1, 1), (2, 1)),
}
"""(world axis, direction) of each voxel axis, as dcm2niix writes the scanner's files; the thick axis is last."""

LF_TESLA, HF_TESLA = "0.064", "3"
"""The two field strengths of the protocol table, tesla."""

ORDER: Mapping[str, tuple[str, str, str]] = {
    "T1w": ("WM", "GM", "CSF"),
    "T2w": ("CSF", "GM", "WM"),
    "FLAIR": ("GM", "WM", "CSF"),
}
"""Tissues of each contrast from bright to dark."""

INVERSION = 0.96
"""Efficiency of an adiabatic inversion pulse (our choice): CSF is dim at its null, never black."""


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
    planes = {name: next(iter(scanner["zooms"].values())) for name, scanner in _table()["presets"].items()}
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
    scanner = _table()["presets"].get(name, {"zooms": {}})
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
    table = _table()["tissue_snr"]
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


def tissue_signal(contrast: str, tesla: str) -> np.ndarray:
    """(3,) signal of CSF, GM, WM, the brightest 1: measured where the table has it, else the signal equations.

    ``tesla`` is ``LF_TESLA`` or ``HF_TESLA``.
    """
    measured = _table()["measured"].get(tesla, {}).get(contrast)
    signal = np.array(measured["signal"]) if measured else bloch_signal(contrast, tesla)
    return signal / signal.max()


def bloch_signal(contrast: str, tesla: str) -> np.ndarray:
    """(3,) signal of CSF, GM, WM by the equations of spin echo and magnitude inversion recovery, arbitrary units.

    Spin echo: ρ (1 − e^(−TR/T1)) e^(−TE/T2); inversion recovery in the steady state of pulses of efficiency a:
    ρ |1 − (1 + a) e^(−TI/T1) + a e^(−TR/T1)| e^(−TE/T2). The echo train, during which nothing recovers, shortens TR.

    >>> csf, gm, wm = bloch_signal("T1w", LF_TESLA)
    >>> bool(wm > gm > csf)
    True
    """
    table = _table()
    t1, t2 = (np.array(table["relaxation"][tesla][key]) for key in ("T1", "T2"))
    sequence = table["sequences"][tesla][contrast]
    recovered = np.exp(-(sequence["TR"] - sequence.get("train", 0.0)) / t1)
    if sequence["kind"] == "se":
        longitudinal = 1 - recovered
    else:
        longitudinal = np.abs(1 - (1 + INVERSION) * np.exp(-sequence["TI"] / t1) + INVERSION * recovered)
    density = np.array(table["relaxation"]["proton_density"]["value"])
    return density * longitudinal * np.exp(-sequence["TE"] / t2)


def contrast_factor(contrast: str, hf_means: np.ndarray | None = None) -> np.ndarray:
    """(3,) c_k of CSF, GM, WM in (0, 1], the largest 1: what turns the high-field contrast into that of low field.

    ``hf_means`` (3,) are the tissue means of the image at hand; the protocol table's where not given. ``InputError``
    where one is not above 0: no factor makes a tissue visible that was cut out of the image.

    >>> contrast_factor("T1w").round(2).tolist()
    [1.0, 0.62, 0.47]
    """
    means = tissue_signal(contrast, HF_TESLA) if hf_means is None else np.asarray(hf_means, dtype=float)
    if means.shape != (len(TISSUES),):
        raise ValueError(f"tissue means must be {len(TISSUES)} numbers, found {means.tolist()}")
    if not np.all(means > 0):
        found = ", ".join(f"{tissue} {mean:.3g}" for tissue, mean in zip(TISSUES, means, strict=True))
        raise InputError(
            f"Expected {', '.join(TISSUES)} all brighter than 0 in the high-field {contrast}, found {found}; give the "
            "image with nothing cut out of the brain, or use another simulator than physics."
        )
    factor = tissue_signal(contrast, LF_TESLA) / means
    return factor / factor.max()


def check_order(means: np.ndarray, contrast: str) -> None:
    """Raise MethodError if the tissue means (3,) are not in the contrast's order of brightness."""
    bright_to_dark = [float(means[TISSUES.index(tissue)]) for tissue in ORDER[contrast]]
    if sorted(bright_to_dark, reverse=True) != bright_to_dark:
        found = ", ".join(f"{tissue} {mean:.3g}" for tissue, mean in zip(TISSUES, means, strict=True))
        expected = " > ".join(ORDER[contrast])
        raise MethodError(f"a {contrast} scan should have {expected}, found {found}; check contrast and brain mask")


def _table() -> dict:
    return json.loads(read_text("protocols.json"))
