"""The curve from high to low field: found through the blur, rising, and what a patch aims at."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from bids_lfenhance.training.contrast_matching import KNOTS, contrast_curve
from bids_lfenhance.training.patches import Augmentation, draw_patch, whole

from ..oracle import phantom_head
from .toy import make_example

PLAIN = Augmentation("none", 0.0, 0.0)


@pytest.mark.parametrize(("name", "curve"), [("curved", lambda x: 0.9 * x**0.6), ("brighter", lambda x: 1.1 * x)])
def test_it_is_found_through_blur_and_noise(name: str, curve, rng: np.random.Generator) -> None:
    image, _, tissue = phantom_head(72, rng)
    mask = tissue.sum(axis=0) > 0.5
    low = (ndimage.gaussian_filter(curve(image), 1.3) + rng.normal(0, 0.03, image.shape)) * mask
    knots, heights = contrast_curve(low, image * mask, mask)
    np.testing.assert_array_equal(knots, KNOTS)
    assert (np.diff(heights) >= 0).all()
    # Where the phantom has voxels: from its fluid to its white matter.
    levels = np.linspace(0.3, 1.0, 20)
    np.testing.assert_allclose(np.interp(levels, knots, heights), curve(levels), atol=0.04)
    # The mean of low field where high field is so bright: pulled to the middle by the blur.
    naive = [low[(abs(image - level) < 0.04) & mask].mean() for level in levels]
    ours, dumb = (np.square(found - curve(levels)).mean() for found in (np.interp(levels, knots, heights), naive))
    assert ours < 0.5 * dumb


def test_patches_aim_at_it_and_whole_volumes_do_not(tmp_path: Path, rng: np.random.Generator) -> None:
    plain, alike = (make_example(tmp_path / str(one), "s1", 5, alike=one) for one in (False, True))
    assert plain.curves == {}
    assert set(alike.curves) == set(plain.contrasts["high"]) & set(plain.contrasts["low"])
    for maps, differs in (("lf2hf", True), ("hf2lf", False)):
        one, two = (draw_patch(e, maps, (12, 12, 12), PLAIN, np.random.default_rng(1)) for e in (plain, alike))
        np.testing.assert_array_equal(one["input"], two["input"])
        assert np.allclose(one["target"], two["target"], atol=1e-3) != differs
        np.testing.assert_array_equal(*(whole(e, maps).target.numpy() for e in (plain, alike)))
    target, wanted = (
        draw_patch(e, "lf2hf", (12, 12, 12), PLAIN, np.random.default_rng(1))["target"] for e in (alike, plain)
    )
    np.testing.assert_allclose(target[0], np.interp(wanted[0], *alike.curves["T1w"]), atol=1e-6)
