"""How the settings of methods tell of themselves, and what several of them tell alike."""

from typing import Literal


def told(text: str, source: str = "our choice") -> dict[str, str]:
    """Metadata of a field: what it does, and where its default comes from."""
    return {"help": text, "source": source}


AskedContrast = Literal["auto", "none", "restored"]

CONTRAST = told(
    "contrast of the result: restored, that of high field tissue by tissue, as inr does; none, as the network left it; "
    "auto, as the weights ask for",
    "methods.md §3.1",
)
"""Metadata of ``contrast`` in a method that learns: see ``contrast.with_contrast``."""
