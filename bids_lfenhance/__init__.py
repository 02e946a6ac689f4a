"""A BIDS App that turns ultra-low-field brain MRI into high-field-like images and says how far to trust them.

In Python, ``enhance`` does it to the stacks of one scan: ``from bids_lfenhance import enhance``.
"""

from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .api import EnhancedScan as EnhancedScan
    from .api import enhance as enhance

__all__ = ["EnhancedScan", "__version__", "enhance"]


def __getattr__(name: str) -> Any:
    """The public functions, imported when they are first asked for: ``import bids_lfenhance`` loads nothing else."""
    if name in ("EnhancedScan", "enhance"):
        from . import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
