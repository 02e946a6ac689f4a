"""Masks grown by a ball against distances."""

import numpy as np
import pytest
from scipy import ndimage

from bids_lfenhance.imaging.morphology import close, dilate, fill_holes, largest, open_


@pytest.mark.parametrize("radius", [1.0, 2.0, 3.3])
@pytest.mark.parametrize("zooms", [(1.0, 1.0, 1.0), (1.6, 1.6, 5.0), (0.7, 2.0, 1.1)])
def test_a_mask_grows_by_what_lies_within_the_radius(rng, radius, zooms):
    mask = rng.random((20, 17, 15)) > 0.99
    expected = ndimage.distance_transform_edt(~mask, sampling=zooms) <= radius
    assert np.array_equal(dilate(mask, radius, zooms), expected)


def test_nothing_stays_nothing_and_everything_everything():
    empty = np.zeros((5, 6, 3), bool)
    for change in (dilate, close, open_):
        assert not change(empty, 4.0).any()
        assert change(~empty, 4.0).all()


def test_closing_fills_a_slit_and_opening_cuts_a_bridge():
    blocks = np.zeros((40, 20, 20), bool)
    blocks[5:15, 5:15, 5:15] = blocks[17:27, 5:15, 5:15] = True
    assert close(blocks, 2.0)[15:17, 8:12, 8:12].all()
    blocks[15:23] = False
    blocks[15:23, 10, 10] = True
    apart = open_(blocks, 2.0)
    assert not apart[18:20].any()
    assert 0.5 * apart.sum() < largest(apart).sum() < apart.sum()


def test_holes_are_filled_but_not_bays(rng):
    mask = ndimage.gaussian_filter(rng.standard_normal((30, 31, 32)), 2) > 0
    assert np.array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))
    assert np.array_equal(fill_holes(~mask), ndimage.binary_fill_holes(~mask))
