"""How the settings of methods tell of themselves, and what several of them tell alike."""

from typing import Literal


def told(text: str, source: str = "our choice") -> dict[str, str]:
    """Metadata of a field: what it does, and where its default comes from."""
    return {"help": text, "source": source}


AskedFusion = Literal["mean", "sr", "restored", "sharp"]

FUSION = told(
    "what is enhanced: mean, the plain mean of the stacks; sr, the super-resolved image of interp; restored, the same "
    "in the contrast of high field, given to it tissue by tissue as inr does; sharp, that with a quarter of the "
    "smoothing: noise is left to the network, and what is not applied of its change is the smooth image's",
    "methods.md §3.1",
)
"""Metadata of ``fusion`` in a method that learns: see ``contrast.shown``."""

IN_HIGH_FIELD_CONTRAST = ("restored", "sharp")
"""Fusions that change contrast, so that a network need not: it aims at high field in the contrast of low field."""

AskedContrast = Literal["auto", "none", "restored"]

CONTRAST = told(
    "contrast of the result: restored, that of high field tissue by tissue, as inr does; none, that of the scan, given "
    "back where the network was shown another; auto, as the weights ask for, and else as the network left it",
    "methods.md §3.1",
)
"""Metadata of ``contrast`` in a method that learns: see ``contrast.finished``."""
