"""The signal of CSF, grey and white matter in each contrast at low and at high field: the table of protocols."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from ..config import TISSUES
from ..data import read_text
from ..errors import InputError, MethodError

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


@cache
def protocol_table() -> Mapping[str, Any]:
    """``data/protocols.json``: scanners, sequences, relaxation times and measured signals, with their sources."""
    table: Mapping[str, Any] = json.loads(read_text("protocols.json"))
    return table


def tissue_signal(contrast: str, tesla: str) -> np.ndarray:
    """(3,) signal of CSF, GM, WM, the brightest 1: measured where the table has it, else the signal equations.

    ``tesla`` is ``LF_TESLA`` or ``HF_TESLA``.
    """
    measured = protocol_table()["measured"].get(tesla, {}).get(contrast)
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
    table = protocol_table()
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
        found = ", ".join(f"{tissue} {mean:.5g}" for tissue, mean in zip(TISSUES, means, strict=True))
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
        found = ", ".join(f"{tissue} {mean:.5g}" for tissue, mean in zip(TISSUES, means, strict=True))
        expected = " > ".join(ORDER[contrast])
        raise MethodError(f"a {contrast} scan should have {expected}, found {found}; check contrast and brain mask")
