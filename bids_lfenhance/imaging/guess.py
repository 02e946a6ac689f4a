"""Which contrast an image has, from its name or from the brightness of its tissues."""

import re

import numpy as np

from .template import gains

NAMED = {"FLAIR": r"flair", "T2w": r"t2w?", "T1w": r"t1w?|mprage"}
"""Words of a file name that tell a contrast, whole and in either case; the first contrast that matches counts."""

LEAST_DIFFERENCE = 0.05
"""Two tissues that differ by less than this share of the brightest do not decide a contrast."""


CLEARLY = 1.15
"""Ratio of two tissues' intensities from which one is brighter beyond doubt."""

HARDLY = 0.95
"""Grey over white matter from which grey is hardly darker: .56 to .81 in the T1w tried, .93 to 1.4 in the FLAIR."""


def contrast_of_name(name: str) -> str | None:
    """The contrast that a file name tells, by its BIDS suffix or else by a word in it; None where it tells none.

    >>> contrast_of_name("sub-01_acq-axi_T2w.nii.gz"), contrast_of_name("AX_T2_FLAIR.nii"), contrast_of_name("at1.nii")
    ('T2w', 'FLAIR', None)
    >>> contrast_of_name("sub-01_space-T2w_T1w.nii.gz")
    'T1w'
    """
    if suffix := re.search(rf"_({'|'.join(NAMED)})\.nii(\.gz)?$", name):
        return suffix[1]
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


def contrast_warnings(
    channel: np.ndarray, priors: np.ndarray, mask: np.ndarray, contrast: str, name: str = ""
) -> list[str]:
    """A sentence where the order of the tissues' intensities contradicts ``contrast``, none where it does not.

    ``channel`` (X, Y, Z); ``priors`` (3, X, Y, Z) of CSF, GM, WM; ``mask`` (X, Y, Z) bool, the brain; ``name`` of the
    scan, where it is one.
    """
    if mask.sum() < 100 or contrast not in NAMED:
        return []
    csf, grey, white = gains(priors[:, mask], channel[mask])
    bright, dark = csf > CLEARLY * max(grey, white), csf * CLEARLY < min(grey, white)
    if bright and contrast != "T2w":
        looks = "a T2w: CSF is the brightest tissue"
    elif dark and contrast == "T2w":
        looks = "a T1w or FLAIR: CSF is the darkest tissue"
    elif contrast == "T1w" and grey > HARDLY * white:
        looks = "a FLAIR, or is of an infant: grey matter is not darker than white"
    else:
        return []
    return [f"{name or f'The {contrast}'} looks like {looks}; check contrast and file name."]
