"""Which contrast an image has, from its name or from the brightness of its tissues."""

import re

import numpy as np

from .template import gains

NAMED = {"FLAIR": r"flair", "T2w": r"t2w?", "T1w": r"t1w?|mprage"}
"""What names of files say of their contrast, the first that is found; a word by itself, in either case."""

LEAST_DIFFERENCE = 0.05
"""Brightness of two tissues that differ by less than this share of the brightest do not decide a contrast."""


def contrast_of_name(name: str) -> str | None:
    """The contrast that the name of a file says, if it says one.

    >>> contrast_of_name("sub-01_acq-axi_T2w.nii.gz"), contrast_of_name("AX_T2_FLAIR.nii"), contrast_of_name("at1.nii")
    ('T2w', 'FLAIR', None)
    """
    for contrast, words in NAMED.items():
        if re.search(rf"(?<![a-z0-9])(t2[_-]?)?({words})(?![a-z0-9])", name.lower()):
            return contrast
    return None


def guess_contrast(image: np.ndarray, mask: np.ndarray, priors: np.ndarray) -> str | None:
    """T1w, T2w or FLAIR, by the order of CSF, grey and white matter; None where they are too much alike.

    Parameters
    ----------
    image : (X, Y, Z), bias-corrected
    mask : (X, Y, Z) bool, brain
    priors : (3, X, Y, Z) in [0, 1], where CSF, GM and WM are expected (``Anatomy.priors``)

    CSF brightest is T2w. Else white matter brighter than grey is T1w, and grey brighter than white FLAIR.
    """
    inside = mask & (priors.sum(axis=0) > 0.5)
    if inside.sum() < 1000:
        return None
    fluid, grey, white = gains(priors[:, inside], image[inside].astype(np.float32))
    least = LEAST_DIFFERENCE * max(fluid, grey, white)
    if fluid > max(grey, white) + least:
        return "T2w"
    if fluid > min(grey, white) - least or abs(white - grey) < least:
        return None
    return "T1w" if white > grey else "FLAIR"
