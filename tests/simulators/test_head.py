"""The digital head: fractions, anatomy and deformation hold what they promise."""

import numpy as np
import pytest

from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.simulators import head as module
from bids_lfenhance.simulators.head import (
    HEAD_GRID,
    MATERIALS,
    SIGNALS,
    Head,
    individual_points,
    make_head,
    random_field,
)


@pytest.fixture(scope="module")
def head() -> Head:
    return make_head(np.random.default_rng(7))


def test_fractions_fill_every_voxel_at_most_once(head: Head) -> None:
    assert head.fractions.shape == (len(MATERIALS), *HEAD_GRID.shape)
    assert head.fractions.min() > -1e-5
    assert head.fractions.sum(axis=0).max() < 1 + 1e-5
    assert head.fractions[:, :5, :5, -5:].max() == 0, "a corner of the field of view is air"


def test_brain_has_the_volumes_of_an_adult(head: Head) -> None:
    csf, gm, wm = head.tissue.sum(axis=(1, 2, 3)) / 1000  # ml
    assert 450 < gm < 1000
    assert 350 < wm < 800
    assert 1100 < gm + wm < 1700
    assert 150 < csf < 900


def test_skull_lies_between_brain_and_skin(head: Head) -> None:
    """Along rays from the middle of the brain to the vertex and the sides: fluid, bone, skin, in this order."""
    centre = np.round(np.linalg.inv(HEAD_GRID.affine) @ [0, -20, 15, 1])[:3].astype(int)
    for axis, step in ((2, 1), (0, 1), (0, -1), (1, -1)):
        index: list[int | slice] = [int(c) for c in centre]
        index[axis] = slice(int(centre[axis]), None, step)
        ray = head.fractions[(slice(None), *index)]
        outermost = {name: np.flatnonzero(ray[number] > 0.4).max(initial=-1) for number, name in enumerate(MATERIALS)}
        brain = max(outermost["GM"], outermost["WM"])
        assert brain < outermost["CSF"] < outermost["bone"] < outermost["skin"]


def test_signals_order_the_tissues_as_the_contrast_does(head: Head) -> None:
    pure = head.tissue > 0.95
    for contrast, order in (("T1w", (2, 1, 0)), ("T2w", (0, 1, 2))):
        image = head.signal(contrast)
        means = [image[pure[tissue]].mean() for tissue in range(3)]
        assert image.min() >= 0
        assert means[order[0]] > means[order[1]] > means[order[2]]
        np.testing.assert_allclose(means[2], SIGNALS[contrast][2], rtol=0.05)


def test_deformation_never_folds() -> None:
    points = individual_points(np.random.default_rng(3)).astype(np.float64)
    jacobian = np.stack([np.stack(np.gradient(part[::3, ::3, ::3], 3.0), axis=-1) for part in points], axis=-2)
    determinant = np.linalg.det(jacobian)
    assert determinant.min() > 0.1
    assert 0.7 < determinant.mean() < 1.4


def test_random_field_has_unit_variance_and_the_asked_width(rng: np.random.Generator) -> None:
    fields = np.stack([random_field((48, 4, 4), 5.0, rng)[:, 0, 0] for _ in range(800)])
    np.testing.assert_allclose(fields.std(), 1, atol=0.06)
    np.testing.assert_allclose(fields.std(axis=0), 1, atol=0.15)
    # The covariance of a field made with a Gaussian kernel of width w is a Gaussian of width √2 w.
    lagged = np.mean(fields[:, :-7] * fields[:, 7:])
    np.testing.assert_allclose(lagged, np.exp(-(7**2) / (4 * 5.0**2)), atol=0.08)


def test_same_generator_same_head_other_generator_other_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD_GRID", Grid(HEAD_GRID.affine @ np.diag([4, 4, 4, 1.0]), (48, 60, 56)))
    first, again, other = (individual_points(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert np.abs(first - other).mean() > 1  # mm
