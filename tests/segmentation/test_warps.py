"""Where cells lie in common space, beside arithmetic on paper."""

import numpy as np
from scipy import ndimage

from bids_lfenhance.imaging.anatomy import fit_warp
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.template import ROUGH, load_head_template
from bids_lfenhance.imaging.warp import Warp
from bids_lfenhance.segmentation.warps import WARPED, places, warp_to_template
from bids_lfenhance.simulators.source import COMMON_MM


def test_the_middle_of_a_cell_is_carried_by_field_and_affine():
    grid = Grid(np.array([[1.0, 0, 0, -20], [0, 1, 0, -30], [0, 0, 1, 10], [0, 0, 0, 1]]), (8, 10, 12))
    affine = np.diag([1.25, 1.0, 0.8, 1.0])
    affine[:3, 3] = (2, -3, 4)
    field = np.zeros((3, *grid.shape), np.float32)
    field[1] = 5.0
    found = places(Warp(affine, field, grid), grid)
    assert found.shape == (3, 4, 5, 6)
    middle = np.array([-20 + 2 * 3 + 0.5, -30 + 2 * 1 + 0.5, 10 + 2 * 2 + 0.5])
    expected = (middle + np.array([-2, 8, -4])) / [1.25, 1.0, 0.8] / COMMON_MM
    np.testing.assert_allclose(found[:, 3, 1, 2], expected, rtol=1e-5)


def test_a_head_is_warped_by_images_of_different_quality():
    assert len({(look.contrast, look.thick, look.stripped) for look in WARPED}) == len(WARPED) == 3
    assert not any(look.deformed for look in WARPED), "the warp of a head is of the head as the map has it"


def test_thick_slices_of_the_template_bend_it_little(rng):
    """The template's own head in noisy slices of 5 mm: the right warp is none at all."""
    head = load_head_template()
    image = np.tensordot((0.2, 0.6, 0.9), head.maps[:3], 1).astype(np.float32)
    noise = 0.3 * rng.standard_normal(image.shape, dtype=np.float32)
    image = np.maximum(ndimage.gaussian_filter(image + noise, (0.7, 0.7, 2.1)), 0)
    inside = head.depth < -5

    def bent(warp: Warp) -> float:
        field = np.stack([ndimage.zoom(one, np.array(image.shape) / one.shape, order=1) for one in warp.field])
        return float(np.sqrt((field[:, inside] ** 2).sum(axis=0).mean()))

    yielding = fit_warp(image, head.grid, head, np.eye(4), effort=ROUGH)
    found = warp_to_template(image, head.grid, np.eye(4), sloppy=True)
    assert bent(found) < 0.8 * bent(yielding)
    assert bent(found) < 1.5
