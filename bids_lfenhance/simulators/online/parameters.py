"""What is drawn of one simulated session: plain numbers in frozen records, from which it can be made again.

Nothing here needs an image, but for where lesions may lie. Ranges are those of many scanners, wider than any one's.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .material import TrainingHead

Numbers = tuple[float, ...]

Profile = Literal["gaussian", "box", "lowpass"]
"""How a stack blurs along one of its axes: Gaussian; a slab; a k-space that ends, passing half at half a cycle per
``width`` and nothing from ⅔ on, whose FWHM is a fifth above ``width``."""

AXIAL, CORONAL, SAGITTAL = range(3)
"""Slots, as ``imaging.slots`` counts them."""

THICK_AXIS = {AXIAL: 2, CORONAL: 1, SAGITTAL: 0}
"""The axis of the head along which the slices of a slot are thick."""


@dataclass(frozen=True)
class Warp:
    """What makes another head of one: ``scale`` (3,) of its axes, a turn by ``degrees`` (3,), fields of ``bend`` mm SD.

    ``distance`` mm between the nodes of a field.
    """

    scale: Numbers
    degrees: Numbers
    bend: float
    distance: float


@dataclass(frozen=True)
class Lesion:
    """``centre`` (3,) voxel of the head; ``radius`` mm; ``stretch`` (3,) factors of the distances along the axes."""

    centre: tuple[int, ...]
    radius: float
    stretch: Numbers


@dataclass(frozen=True)
class Tissues:
    """Contrast of a T1w head at low field: Σ p_k (mean_k + texture_k (x − μ_k)) over CSF, GM, WM.

    A ``curve`` of x through six even knots is mixed in by ``share``; none where it is empty. ``restored``: the T1w
    itself is a target too.
    """

    means: Numbers
    texture: Numbers
    curve: Numbers = ()
    share: float = 0.0
    restored: bool = False


@dataclass(frozen=True)
class Painting:
    """Contrast of a label map: ``means`` and ``spreads`` of each label; ``blur`` the SD, mm, of its smoothing."""

    means: Numbers
    spreads: Numbers
    blur: float


@dataclass(frozen=True)
class Gamma:
    """Contrast of a real image: its intensities to this ``power``."""

    power: float


@dataclass(frozen=True)
class Subject:
    """A head as it lies in the scanner.

    ``low`` and ``high``: brightness of its ``lesions`` at low field, and where the T1w is a target, in that.
    """

    flip: bool
    warp: Warp | None
    contrast: Tissues | Painting | Gamma
    lesions: tuple[Lesion, ...]
    low: float
    high: float


@dataclass(frozen=True)
class StackDraw:
    """One stack. Lengths in mm along its three axes, which are those of the head turned by ``degrees``.

    ``voxel`` sizes; ``width`` mm of the ``profile`` along each axis, the 1 mm of the head included; ``shift`` of the
    head, mm; ``offset`` of the lattice, voxels. ``error_degrees``, ``error_shift``: of registration. ``bias``
    SD of the logarithm of its field, ``slices`` SD of the gain of single slices, ``noise`` SD as a share of the brain's
    95th percentile, ``smooth`` FWHM of its correlation in plane, voxels. ``cut`` (axis, voxels below, voxels above)
    that the field of view leaves out.
    """

    slot: int
    voxel: Numbers
    profile: tuple[Profile, ...]
    width: Numbers
    degrees: Numbers
    shift: Numbers
    offset: Numbers
    error_degrees: Numbers
    error_shift: Numbers
    bias: float
    slices: float
    noise: float
    smooth: float
    cut: tuple[int, int, int]

    @property
    def thick(self) -> int | None:
        """The axis of its slices; None where it is isotropic."""
        return THICK_AXIS.get(self.slot)


@dataclass(frozen=True)
class SessionParameters:
    """All that is drawn of one session; what is drawn voxel by voxel follows from ``seed``.

    ``mask``: the brain as it will be found reaches as far as its blurred edge exceeds this. ``rim``: (how far, how
    bright as a share of the brain's 95th percentile) what is left around the brain; (0, 0): nothing.
    """

    seed: int
    subject: Subject
    stacks: tuple[StackDraw, ...]
    mask: float
    rim: tuple[float, float]


def draw_session(
    generator: np.random.Generator, head: TrainingHead, restored: bool, lesions: float
) -> SessionParameters:
    """A session of a head; ``restored``: of a T1w head, whose T1w contrast at high field is a target too.

    ``lesions``: chance that some are planted in it.
    """
    subject = _draw_subject(generator, head, restored, lesions)
    rim = (_between(generator, 0.02, 0.2), _between(generator, 0.1, 1.1)) if _chance(generator, 0.7) else (0.0, 0.0)
    return SessionParameters(
        int(generator.integers(2**62)),
        subject,
        draw_stacks(generator, draw_slots(generator), head.image.shape),
        _between(generator, 0.18, 0.5),
        rim,
    )


def draw_slots(generator: np.random.Generator) -> tuple[int, ...]:
    """Three planes 35 %, one axial 20 %, all four 10 %, else any of the others or of these."""
    kind = generator.random()
    if kind < 0.65:
        return (0, 1, 2) if kind < 0.35 else (0,) if kind < 0.55 else (0, 1, 2, 3)
    some = np.flatnonzero(generator.random(4) < 0.5)
    return tuple(int(slot) for slot in some) or (int(generator.integers(4)),)


def draw_stacks(
    generator: np.random.Generator, slots: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[StackDraw, ...]:
    """A stack of one scanner in each slot; ``shape`` (3,) of the head, mm."""
    sizes = [_between(generator, 1.2, 2.1), _between(generator, 3.0, 6.5), _between(generator, 1.8, 3.2)]
    level = 1 / _log_between(generator, 5, 35)
    blur = _between(generator, 0.7, 1.4)
    ends = _chance(generator, 0.4)
    smooth = _between(generator, 1.0, 1.8) if _chance(generator, 0.35) else 0.0
    return tuple(_draw_stack(generator, slot, sizes, level, blur, ends, smooth, shape) for slot in slots)


def _draw_stack(
    generator: np.random.Generator,
    slot: int,
    sizes: list[float],
    level: float,
    blur: float,
    ends: bool,
    smooth: float,
    shape: tuple[int, ...],
) -> StackDraw:
    in_plane, through, iso = sizes
    thick = THICK_AXIS.get(slot)
    voxel = tuple(iso if thick is None else through if axis == thick else in_plane for axis in range(3))
    # Of scans that last equally long SNR goes with the volume; protocols give small voxels more time: half of that.
    volume = math.prod(voxel) / (in_plane**2 * through)
    profiles: list[Profile] = []
    widths = []
    for axis, size in enumerate(voxel):
        slab = axis == thick and _chance(generator, 0.5)
        profiles.append("box" if slab else "lowpass" if ends and axis != thick else "gaussian")
        factor = _between(generator, 0.9, 1.1) if slab else _between(generator, 0.8, 1.2) if axis == thick else blur
        widths.append(size * (max(factor, 0.8) if profiles[-1] == "lowpass" else factor))
    axis, share = int(generator.integers(3)), _between(generator, 0.02, 0.15)
    lost = int(shape[axis] / voxel[axis] * share) if _chance(generator, 0.12) else 0
    below = _chance(generator, 0.5)
    return StackDraw(
        slot,
        voxel,
        tuple(profiles),
        tuple(widths),
        _normal(generator, 2.0),
        _normal(generator, 1.5),
        _uniform(generator, -0.5, 0.5, 3),
        _normal(generator, 0.25),
        _normal(generator, 0.25),
        _between(generator, 0, 0.24),
        0.04 if thick is not None and _chance(generator, 0.3) else 0.0,
        level / math.sqrt(volume) * _between(generator, 0.85, 1.15),
        smooth,
        (axis, lost * below, lost * (not below)),
    )


def _draw_subject(generator: np.random.Generator, head: TrainingHead, restored: bool, share: float) -> Subject:
    contrast = _draw_contrast(generator, head, restored)
    bent = _chance(generator, 0.8 if head.kind == "labels" else 0.0 if head.kind == "image" else 0.4)
    warp = None
    if bent:
        warp = Warp(
            _uniform(generator, 0.92, 1.09, 3),
            _normal(generator, 5.0),
            _between(generator, 0, 3.5),
            _between(generator, 26, 48),
        )
    lesions: tuple[Lesion, ...] = ()
    low = _between(generator, 0.05, 1.25)
    if isinstance(contrast, Tissues) and contrast.restored:
        low = _between(generator, 0.2, 1.0) if _chance(generator, 0.8) else _between(generator, 1.0, 1.25)
    if _chance(generator, share):
        lesions = tuple(_draw_lesion(generator, head) for _ in range(int(generator.integers(1, 9))))
    # A dark lesion is about as much darker than white matter in the target as at low field.
    high = (1 - (1 - low) * _between(generator, 0.8, 1.3)) if low < 1 else low
    white = head.means[2] if head.means else 1.0
    return Subject(_chance(generator, 0.5), warp, contrast, lesions, low, max(0.05, white * high))


def _draw_contrast(generator: np.random.Generator, head: TrainingHead, restored: bool) -> Tissues | Painting | Gamma:
    if head.kind == "image":
        return Gamma(_between(generator, 0.8, 1.25))
    if head.kind == "labels":
        means, spreads = head.paint(generator)
        return Painting(means, spreads, _between(generator, 0.35, 0.6))
    _, grey, white = head.means
    if not restored:
        textures = (_between(generator, -0.3, 1), *_uniform(generator, -0.7, 1, 2))
        mixed = _chance(generator, 0.4)
        curve = _uniform(generator, 0.05, 1, 6) if mixed else ()
        share = _between(generator, 0.3, 1) if mixed else 0.0
        return Tissues(_uniform(generator, 0.08, 1, 3), textures, curve, share)
    low_grey = _between(generator, 0.6, 0.93)
    ratio = (1 - low_grey) / max((white - grey) / white, 0.05)  # of the contrast of grey and white
    textures = (
        _between(generator, 0.3, 1) / white,
        *(ratio * factor / white for factor in _uniform(generator, 0.6, 1.3, 2)),
    )
    return Tissues((_between(generator, 0.12, 0.62), low_grey, 1.0), textures, restored=True)


def _draw_lesion(generator: np.random.Generator, head: TrainingHead) -> Lesion:
    centre = head.place_of_lesion(generator)
    return Lesion(centre, _log_between(generator, 1.3, 9), _uniform(generator, 0.7, 1.4, 3))


def _chance(generator: np.random.Generator, share: float) -> bool:
    return bool(generator.random() < share)


def _between(generator: np.random.Generator, low: float, high: float) -> float:
    return float(generator.uniform(low, high))


def _uniform(generator: np.random.Generator, low: float, high: float, count: int) -> Numbers:
    return tuple(float(value) for value in generator.uniform(low, high, count))


def _log_between(generator: np.random.Generator, low: float, high: float) -> float:
    return math.exp(generator.uniform(math.log(low), math.log(high)))


def _normal(generator: np.random.Generator, spread: float) -> Numbers:
    return tuple(float(value) for value in generator.normal(0, spread, 3))
