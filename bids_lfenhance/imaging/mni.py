"""The MNI152 template (ICBM 2009a, 1 mm, without its skull) that nilearn bundles."""

from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np

PARTS = ("t1", "gm", "wm")
"""T1w, grey matter, white matter."""


def mni152() -> tuple[list[np.ndarray], np.ndarray]:
    """``PARTS``, (X, Y, Z) float32 in [0, 1] each, and their affine (4, 4), voxel → RAS+ mm.

    As ``nilearn.datasets.load_mni152_template`` and its like have them; read from its files, because importing nilearn
    takes longer than all that is done with them.
    """
    spec = find_spec("nilearn")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("Expected nilearn, found none; install bids_lfenhance again.")
    folder = Path(spec.origin).parent / "datasets" / "data"
    images = [nib.nifti1.load(folder / f"mni_icbm152_{part}_tal_nlin_sym_09a_converted.nii.gz") for part in PARTS]
    data = [np.asarray(image.dataobj).astype(np.float32) for image in images]
    return [one / one.max() for one in data], images[0].affine
