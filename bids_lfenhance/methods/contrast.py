"""The step that methods share: the contrast of high field, given to what they start from or to what they made."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ..config import CONTRASTS
from ..imaging.fusion import fuse_session
from ..imaging.volume import Volume
from ..nn.method import Draw
from ..simulators.contrast import POWER, SMOOTH_MM, fit_contrast, restoring_gain
from .options import AskedFusion


def asked_contrast(asked: str, weights: Mapping[str, Any]) -> Literal["none", "restored"]:
    """``none`` or ``restored``: what the user asked for; with ``auto`` what the settings of the weights say, else none.

    >>> asked_contrast("auto", {"contrast": "restored"})
    'restored'
    """
    found = weights.get("contrast", "none") if asked == "auto" else asked
    return "restored" if found == "restored" else "none"


def shown(volume: Volume, how: AskedFusion, contrasts: Sequence[str]) -> tuple[Volume, Mapping[str, Any]]:
    """(The session with its image as a network is shown it, in use as in training; for the record how it came about).

    ``volume`` comes with the plain mean of its stacks; "restored" needs its mask and tissue, and is for the
    ``contrasts`` that the network knows: what it does not see keeps its own (``with_contrast``).
    """
    if how == "mean":
        return volume, {"fusion": how, "warnings": []}
    draw = Draw(fuse_session(volume, "sr"), {"fusion": how, "warnings": []})
    if how == "restored":
        draw = with_contrast(draw, volume, "restored", contrasts)
    return replace(volume, image=draw.image), draw.record


def with_contrast(draw: Draw, volume: Volume, asked: str, contrasts: Sequence[str]) -> Draw:
    """The draw as it is, or with ``asked`` "restored" its image in high-field contrast; the record tells which.

    Parameters
    ----------
    draw : on the grid of the volume, in low-field contrast or somewhere between
    volume : the session behind it, whose mask and tissue decide; without them nothing changes, and a warning says so
    contrasts : those to be restored; one that does not show its tissues in their order keeps its contrast, and is named

    The vector is fitted to the draw itself (methods.md §3.1): what a network has restored already is not restored
    twice. The gain fades out over ``SMOOTH_MM`` around the brain.
    """
    record = {**draw.record, "contrast": "none"}
    if asked != "restored":
        return replace(draw, record=record)
    if volume.mask is None or volume.tissue is None:
        said = ["the low-field contrast was kept: the session came without brain mask and tissue"]
        return replace(draw, record=record | {"warnings": [*record["warnings"], *said]})
    image, vectors, warnings = draw.image.copy(), {}, list(record["warnings"])
    for name in (name for name in volume.contrasts if name in contrasts):
        channel = image[CONTRASTS.index(name)]
        sigma = float(np.median([stack.sigma for stack in volume.stacks_of(name)] or [0.0]))
        vector, said = fit_contrast(name, channel, volume.tissue, volume.mask, sigma)
        channel *= restoring_gain(name, vector**POWER, channel, volume.tissue, SMOOTH_MM / min(volume.grid.zooms))
        vectors[name] = vector.tolist()
        warnings += said
    record |= {"contrast": "restored", "contrast_vector": vectors, "warnings": warnings}
    return replace(draw, image=image, record=record)
