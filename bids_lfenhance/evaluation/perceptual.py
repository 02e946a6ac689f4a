"""LPIPS, where the optional package is installed (``pip install bids_lfenhance[lpips]``); never a reason to fail."""

import logging
import warnings
from collections.abc import Iterable

import numpy as np

LOGGER = logging.getLogger(__name__)


def lpips_mean(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float | None:
    """The mean LPIPS (AlexNet) over pairs of (X, Y) slices in [0, 1], or None where the package or its weights lack."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a call that lpips makes, not we
            import lpips

            network = lpips.LPIPS(net="alex", verbose=False).eval().requires_grad_(False)
            values = [
                float(network(*(lpips.im2tensor(np.repeat(s[:, :, None], 3, axis=2), factor=0.5) for s in pair)))
                for pair in pairs
            ]
    except ImportError:
        return None
    except Exception as error:  # whatever a third party's download or torch build does, the other metrics stand
        LOGGER.info("LPIPS left out: %s", error)
        return None
    return float(np.mean(values)) if values else None
