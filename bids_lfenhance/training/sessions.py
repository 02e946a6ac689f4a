"""From scans to examples: real pairs registered as the participant level does it, and sessions made by a simulator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..config import CONTRASTS
from ..imaging.anatomy import extract_brain, find_anatomy
from ..imaging.fusion import fuse_mean
from ..imaging.tissue import segment_session
from ..imaging.volume import Volume, volume_from_channels
from ..methods.contrast import starting_image
from ..methods.options import IN_HIGH_FIELD_CONTRAST, AskedFusion
from ..nn.settings import JsonObject
from ..simulators.physics import BIAS_TERMS, bias_field
from ..simulators.presets import get_preset
from ..simulators.session import record_json, simulate_session
from ..simulators.simulator import Record, Simulator, random_motion, rows
from ..simulators.source import HighField, common_place

Planes = Sequence[str]

PLANES = (("axi", "cor", "sag"), ("axi",), ("cor",), ("sag",))
"""Stacks of a simulated session: all three planes, or one."""

SHARES = (0.5, 0.3, 0.1, 0.1)
"""How often each of ``PLANES`` is drawn: a network must know one thick stack as well as three."""

ALIGNMENT = (0.2, 0.2)
"""What registration leaves of the motion between stacks: shift (mm) and turn (degrees), SD along and about each axis
(benchmarks/registration.py: median 0.03 mm within a session, 0.2 mm across contrasts and fields)."""

SPREAD: Mapping[str, JsonObject] = {
    "physics": {
        "contrast_form": "curve",
        "contrast_back": 1.0,
        "contrast_jitter": 0.1,
        "snr_jitter": 0.4,
        "fwhm": 0.6,
        "fwhm_jitter": 0.2,
        "bias": 0.03,
    }
}
"""Settings of a simulator that training changes: scanners differ, and what is left of their bias after N4 is small.

A Gaussian as wide as a voxel blurs more than a scanner does: through plane it excites a slab, for which .73 of its
thickness stands (``fusion.SLAB``); in plane it cuts k-space, and a Gaussian of .5 to .8 voxels passes as much up to
there, by how the edge is rolled off. One width stands for both, which in plane mostly ends at the 1 mm of the head.
A factor per tissue imprints the edges of the segmentation on the image; a network learns to rely on them, and fails on
real scanners, which have none (docs/notebook.md).
"""

SHADING = 0.03
"""SD of each coefficient of a log field put on both images: the network is not to correct what shading N4 leaves."""


@dataclass(frozen=True, eq=False)
class Session:
    """Low and high field of one session on one grid, before they become an example.

    ``mask`` (X, Y, Z) bool, brain as found on the low field; ``to_template`` (4, 4) voxel → common space; ``origin``
    plain JSON: how it came about.
    """

    low: Volume
    high: Volume
    mask: np.ndarray
    to_template: np.ndarray
    origin: JsonObject


def paired_session(low: Volume, high: Volume, fusion: AskedFusion = "mean") -> Session:
    """A real pair on the grid of its high field, the brain found on the low field as the participant level finds it.

    ``low`` is a plain mean and has its stacks, which become what a network is shown, as ``fusion`` says.
    """
    contrast = low.contrasts[0]
    anatomy = find_anatomy(low.channel(contrast), low.grid, contrast)
    origin = {"mask": anatomy.quality, "fusion": fusion}
    seen = _as_estimate(replace(low, mask=anatomy.mask), anatomy.priors, fusion)
    return Session(seen, high, anatomy.mask, common_place(anatomy.warp.affine, low.grid), origin)


def simulated_session(
    simulator: Simulator,
    sources: Sequence[HighField],
    settings: object,
    generator: np.random.Generator,
    planes: Planes | None = None,
    fusion: AskedFusion = "mean",
) -> Session:
    """A session made from high field, fused and masked as a real one would be.

    Parameters
    ----------
    sources : one per contrast, of one head on one grid
    settings : of the simulator
    generator : decides planes, contrast, motion and noise
    planes : of the stacks; drawn from ``PLANES`` where not given
    fusion : what a network will be shown; a simulator that makes fused images knows the plain mean alone

    Where the head lies is known from the high field; where the brain ends is sought on the low field, and where its
    contrast is to be restored, its tissues are too: from the high field they would be better than they will be in use.
    """
    grid = sources[0].grid
    chosen = tuple(planes or PLANES[int(generator.choice(len(PLANES), p=SHARES))])
    shading = generator.normal(0, SHADING, len(BIAS_TERMS)).tolist()
    sources = [replace(source, image=source.image * bias_field(grid.shape, shading)) for source in sources]
    make = _fused if simulator.fused else _acquired
    low, records = make(simulator, sources, settings, generator, chosen)
    high = volume_from_channels(grid, {source.contrast: source.image for source in sources})
    first = sources[0]
    seen = low.channel(first.contrast)
    mask, _ = extract_brain(seen, first.mask, first.tissue, grid)
    origin = {
        "simulator": simulator.name,
        "fusion": fusion,
        "planes": [] if simulator.fused else list(chosen),
        "shading": shading,
        "records": [record_json(simulator, record) for record in records],
    }
    priors = find_anatomy(seen, grid, first.contrast).priors if fusion in IN_HIGH_FIELD_CONTRAST else first.tissue
    return Session(_as_estimate(replace(low, mask=mask), priors, fusion), high, mask, first.to_template, origin)


def _as_estimate(low: Volume, priors: np.ndarray, fusion: AskedFusion) -> Volume:
    """The session as a network is shown it; ``priors`` (3, X, Y, Z) of its tissues, which only contrast asks for."""
    if fusion in IN_HIGH_FIELD_CONTRAST:
        low, _, _ = segment_session(low, low.brain, priors)
    return starting_image(low, fusion, low.contrasts).volume


def _acquired(
    simulator: Simulator, sources: Sequence[HighField], settings: object, generator: np.random.Generator, planes: Planes
) -> tuple[Volume, list[Record]]:
    """The plain mean of the stacks of each contrast, and the stacks, as registration leaves them; their records."""
    grid = sources[0].grid
    presets = [get_preset(source.contrast, plane) for source in sources for plane in planes]
    made = simulate_session(simulator, sources, presets, settings, generator)
    centre = grid.corners().mean(axis=0)
    # The true resolution of a stack is unknown; in use its voxel size is taken for it.
    read = [replace(stack, fwhm=preset.on(grid).zooms) for (stack, _), preset in zip(made, presets, strict=True)]
    stacks = [replace(one, affine=random_motion(generator, *ALIGNMENT, centre) @ one.affine) for one in read]
    fused = {s.contrast: fuse_mean([k for k in stacks if k.contrast == s.contrast], grid) for s in sources}
    return volume_from_channels(grid, fused, tuple(stacks)), [record for _, record in made]


def _fused(
    simulator: Simulator, sources: Sequence[HighField], settings: object, generator: np.random.Generator, planes: Planes
) -> tuple[Volume, list[Record]]:
    """Each contrast by a simulator that learned from fused stacks: there is nothing left to fuse."""
    presets = [get_preset(source.contrast, planes[0]) for source in sources]
    drawn = [simulator.draw(*pair, settings, generator) for pair in zip(sources, presets, strict=True)]
    records = [replace(record, motion=rows(np.eye(4))) for record in drawn]
    pairs = zip(sources, records, strict=True)
    made = {source.contrast: simulator.apply(source, source.grid, record).data for source, record in pairs}
    return volume_from_channels(sources[0].grid, made), records


def chosen_contrasts(volume: Volume, contrasts: Sequence[str]) -> Volume:
    """The volume with only these contrasts present; all of them where none is named."""
    keep = np.array([not contrasts or name in contrasts for name in CONTRASTS]) & volume.present
    return replace(volume, image=volume.image * keep[:, None, None, None], present=keep)
