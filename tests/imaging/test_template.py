"""The head template and its affine fit, on heads made from the template itself with every contrast."""

import numpy as np
import pytest

from bids_lfenhance.imaging.grid import Grid, apply_affine, resample
from bids_lfenhance.imaging.template import (
    CLASSES,
    FULL,
    ROUGH,
    affine_of,
    crown,
    explained,
    fit_affine,
    gains,
    load_head_template,
)

INTENSITIES = {  # CSF, GM, WM, skull, scalp, air, below
    "T1w": (40, 90, 130, 25, 110, 0, 80),
    "T2w": (220, 120, 90, 25, 100, 0, 70),
    "FLAIR": (30, 140, 110, 20, 90, 0, 60),
    "stripped": (40, 90, 130, 0, 0, 0, 0),
}


def test_the_maps_share_out_every_voxel():
    head = load_head_template()
    assert head.maps.shape == (len(CLASSES), *head.grid.shape)
    assert np.allclose(head.maps.sum(axis=0), 1, atol=1e-4)
    assert head.maps.min() >= 0
    millilitres = head.brain.sum() * head.grid.voxel_volume / 1000
    assert 1800 < millilitres < 1950
    assert ((head.depth < 0) == (head.brain > 0.5)).mean() > 0.999


def test_gains_are_the_intensities_and_explain_all(rng):
    maps = rng.dirichlet(np.ones(4), 500).T
    truth = np.array([10.0, 200, 90, 0])
    assert np.allclose(gains(maps, truth @ maps), truth, rtol=0.02, atol=2)
    assert explained(maps, truth @ maps) > 0.999
    assert explained(maps, rng.standard_normal(500)) < 0.1
    assert explained(maps, truth @ maps, np.zeros(500)) == 0, "nothing is compared, as where noise passes for a head"


def test_parameters_are_centimetres_ten_degrees_ten_percent():
    centre = np.array([5.0, -20, 10])
    assert np.allclose(affine_of(np.zeros(12), centre), np.eye(4))
    moved = affine_of(np.array([1, 0, 0, 0, 0, 9, 1, 1, 1, 0, 0, 0.0]), centre)
    assert np.allclose(apply_affine(moved, centre[None])[0], centre + np.array([10, 0, 0]))
    assert np.allclose(moved[:3, :3] @ [1, 0, 0], [0, np.exp(0.1), 0])


def _head(contrast: str, motion: np.ndarray, rng: np.random.Generator, neck: bool) -> tuple[np.ndarray, Grid]:
    head = load_head_template()
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = (-110, -140, -150 if neck else -80)
    grid = Grid(affine, (72, 84, 90 if neck else 66))
    image = np.tensordot(INTENSITIES[contrast], head.maps, 1)
    moved = resample(image, motion @ head.grid.affine, grid)
    return np.abs(moved + 4 * rng.standard_normal(grid.shape)).astype(np.float32), grid


@pytest.mark.parametrize(
    ("contrast", "turn", "shift", "effort"),
    [
        ("T1w", 1.2, (1.0, -0.8, 0.5), FULL),
        ("T2w", -1.0, (0, 1.5, -0.7), ROUGH),
        ("FLAIR", 0.5, (0, 0, 0), ROUGH),
        ("stripped", -1.2, (1, 1, 1), FULL),
    ],
)
def test_a_moved_head_of_any_contrast_is_found(contrast, turn, shift, effort, rng):
    head = load_head_template()
    parameters = np.array([*shift, turn, -0.4, 0.6, -1.2, -0.8, -1.0, 0, 0, 0])
    motion = affine_of(parameters, np.array([0.0, -20, 10]))
    image, grid = _head(contrast, motion, rng, neck=contrast != "FLAIR")
    found, share = fit_affine(image, grid, head, effort=effort)
    brain = apply_affine(head.grid.affine, np.argwhere(head.brain > 0.5)[::500].astype(float))
    error = np.linalg.norm(apply_affine(found, brain) - apply_affine(motion, brain), axis=1)
    assert np.median(error) < 3.0
    assert share > 0.8


def test_the_crown_is_not_moved_by_a_neck(rng):
    motion = affine_of(np.array([0, 0, 0, 0, 0, 0, -1, -1, -1, 0, 0, 0.0]), np.zeros(3))
    tops = [crown(*_head("T1w", motion, np.random.default_rng(3), neck))[0] for neck in (True, False)]
    assert abs(tops[0] - tops[1]) <= 5
