"""Who finds the regions of a run: decided before anything is computed."""

from dataclasses import dataclass
from pathlib import Path

from ..config import Settings
from ..errors import InputError

NOTHING_BUNDLED = (
    "no regions are segmented, tissue alone: this version bundles no weights for them; train some "
    "(bids_lfenhance LABEL_MAPS OUT train --method regions) and name them with --segmentation-weights, or choose "
    "--segmentation synthseg."
)
"""What is said once where nobody asked and nothing is there."""


@dataclass(frozen=True)
class Segmenter:
    """``name`` as ``--segmentation`` takes it; ``weights`` of the network and their hash, where it is ours."""

    name: str
    weights: str = "auto"
    sha256: str = ""


def choose_segmenter(settings: Settings) -> Segmenter:
    """Who was asked for, or the bundled network where nobody was, but not in a rough run, of which it would be most.

    ``InputError`` where who was asked for is not there.
    """
    from ..nn.weights import default_weights, load_weights
    from ..segmentation.synthseg import check_installed

    own, name = settings.segmentation_weights, settings.segmentation
    if own and name not in (None, "builtin"):
        raise InputError(
            f"Expected --segmentation builtin with --segmentation-weights, found '{name}', which uses none; drop one.",
            code="no-effect",
            option="segmentation_weights",
        )
    if name is None:
        name = "builtin" if own or (default_weights("regions") and not settings.sloppy) else "none"
    if name == "synthseg":
        check_installed()
    if name != "builtin":
        return Segmenter(name)
    found = load_weights(own or "auto", "regions", ())
    return Segmenter(name, str(Path(found.path).resolve()) if own else "auto", found.sha256)
