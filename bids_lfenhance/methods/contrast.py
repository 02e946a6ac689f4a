"""High-field contrast for the image that a method starts from, or for its result: a step that methods share."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..config import CONTRASTS
from ..imaging.contrast import POWER, SMOOTH_MM, fit_contrast, restoring_gain
from ..imaging.fusion import fuse_session
from ..imaging.volume import Volume
from ..nn.method import Draw, StartingImage
from ..nn.settings import JsonObject

PRIOR = 0.25
"""Weight of the prior of the super-resolution with fusion "sharp", over the usual: a trained network may tell detail
from noise where the prior would smooth both away."""


def starting_image(volume: Volume, how: str, contrasts: Sequence[str]) -> StartingImage:
    """The image that a network starts from, in use as in training.

    ``volume`` comes with the plain mean of its stacks; "restored" and "sharp" need its mask and tissue, and are for the
    ``contrasts`` that the network knows: what it does not see keeps its own (``with_contrast``).
    """
    record: JsonObject = {"fusion": how, "warnings": []}
    if how == "mean":
        return StartingImage(volume, record, tuple(contrasts))
    sharp = fuse_session(volume, "sr")
    if how == "sr":
        return StartingImage(replace(volume, image=sharp), record, tuple(contrasts))
    draw = with_contrast(Draw(sharp, record), volume, "restored", contrasts)
    if how == "restored":
        return StartingImage(replace(volume, image=draw.image), draw.record, tuple(contrasts), sharp)
    known = np.array([name in contrasts for name in CONTRASTS])
    again = fuse_session(replace(volume, present=volume.present & known), "sr", PRIOR)
    noisy = np.where(known[:, None, None, None], again, sharp) * _ratio(draw.image, sharp)
    return StartingImage(replace(volume, image=noisy), draw.record, tuple(contrasts), sharp, draw.image)


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    return np.divide(over, under, out=np.ones_like(under), where=under > 0)


def restore(draw: Draw, volume: Volume, asked: str, start: StartingImage) -> Draw:
    """``draw``, what a network made of ``start``, in the contrast asked for.

    "none": the change of contrast in ``start`` is undone voxel by voxel; the network's own change stays. "auto", and
    where ``start`` kept its contrast: as the network left it. "restored": see ``with_contrast``. Where the network was
    shown a noisy image, of which a share of 1 − the record's ``strength`` is left, the smooth one takes its place.
    """
    if start.smooth is not None:
        inside = True if volume.mask is None else volume.mask
        rest = np.where(inside, 1 - draw.record["strength"], 1.0).astype(np.float32)
        draw = replace(draw, image=draw.image + rest * (start.smooth - start.volume.image))
    if asked != "none" or start.native is None:
        return with_contrast(draw, volume, asked, start.contrasts)
    given = start.volume.image if start.smooth is None else start.smooth
    return replace(draw, image=draw.image * _ratio(start.native, given), record={**draw.record, "contrast": "own"})


def with_contrast(draw: Draw, volume: Volume, asked: str, contrasts: Sequence[str]) -> Draw:
    """The draw as it is, or with ``asked`` "restored" its image in high-field contrast; the record tells which.

    Parameters
    ----------
    draw : on the grid of the volume, in low-field contrast or somewhere between
    volume : the session behind it, whose mask and tissue decide; without them nothing changes, and a warning says so
    contrasts : those to be restored; one that does not show its tissues in their order keeps its contrast, and is named

    The vector is fitted to the draw itself, so that what a network has restored already is not restored twice. The
    gain fades out over ``SMOOTH_MM`` around the brain.
    """
    record = {**draw.record, "contrast": "none"}
    if asked != "restored":
        return replace(draw, record=record)
    if volume.mask is None or volume.tissue is None:
        kept = ["the low-field contrast was kept: the session came without brain mask and tissue"]
        return replace(draw, record=record | {"warnings": [*record["warnings"], *kept]})
    image, vectors, warnings = draw.image.copy(), {}, list(record["warnings"])
    for name in (name for name in volume.contrasts if name in contrasts):
        channel = image[CONTRASTS.index(name)]
        sigma = float(np.median([stack.sigma for stack in volume.stacks_of(name)] or [0.0]))
        vector, doubts = fit_contrast(name, channel, volume.tissue, volume.mask, sigma)
        channel *= restoring_gain(name, vector**POWER, channel, volume.tissue, SMOOTH_MM / min(volume.grid.zooms))
        vectors[name] = vector.tolist()
        warnings += doubts
    record |= {"contrast": "restored", "contrast_vector": vectors, "contrast_power": POWER, "warnings": warnings}
    return replace(draw, image=image, record=record)
