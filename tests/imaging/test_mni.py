"""The bundled template against nilearn's own reading of it."""

import numpy as np
from nilearn import datasets

from bids_lfenhance.imaging.mni import PARTS, mni152


def test_the_template_is_that_of_nilearn() -> None:
    loaders = (datasets.load_mni152_template, datasets.load_mni152_gm_template, datasets.load_mni152_wm_template)
    images, affine = mni152()
    for part, image, load in zip(PARTS, images, loaders, strict=True):
        theirs = load(resolution=1)
        np.testing.assert_array_equal(image, theirs.get_fdata(dtype=np.float32), err_msg=part)
        np.testing.assert_array_equal(affine, theirs.affine)
