"""Contrast by name and by the brightness of the tissues."""

import numpy as np
import pytest

from bids_lfenhance.imaging.guess import contrast_of_name, guess_contrast


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        ("sub-1_T1w.nii.gz", "T1w"),
        ("AX_T2_FLAIR.nii", "FLAIR"),
        ("T2FLAIR.nii", "FLAIR"),
        ("axi.nii", None),
        ("sub-FLAIR_space-T2w_T1w.nii.gz", "T1w"),
    ],
)
def test_names_say_contrasts(name: str, contrast: str | None) -> None:
    assert contrast_of_name(name) == contrast


@pytest.mark.parametrize(
    ("means", "contrast"),
    [((0.4, 0.8, 1.0), "T1w"), ((1.0, 0.66, 0.54), "T2w"), ((0.3, 1.0, 0.86), "FLAIR"), ((0.3, 1.0, 0.99), None)],
)
def test_tissues_say_contrasts(means: tuple[float, ...], contrast: str | None) -> None:
    rng = np.random.default_rng(0)
    priors = rng.dirichlet((0.5, 0.5, 0.5), 20**3).T.reshape(3, 20, 20, 20).astype(np.float32)
    image = np.tensordot(means, priors, 1) + rng.normal(0, 0.05, (20, 20, 20))
    assert guess_contrast(image, np.ones((20, 20, 20), bool), priors) == contrast
