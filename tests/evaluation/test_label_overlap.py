"""Volumes and overlap of shapes whose size is known."""

import numpy as np
import pytest

from bids_lfenhance.evaluation.label_overlap import agreements, structures


@pytest.fixture
def labels():
    nested = np.zeros((20, 20, 20), np.uint8)
    for label, edge in ((1, 2), (2, 4), (3, 7)):
        nested[(slice(edge, 20 - edge),) * 3] = label
    return nested


TISSUES = {"CSF": (1,), "GM": (2,), "WM": (3,)}


def overlaps(ours, theirs, of=TISSUES):
    return {name: found.dice for name, found in agreements(ours, theirs, of).items()}


def test_overlap_of_a_shifted_image(labels):
    assert overlaps(np.roll(labels, 3, axis=0), labels)["WM"] == pytest.approx(0.5)
    assert overlaps(labels, labels) == {"CSF": 1, "GM": 1, "WM": 1}


def test_overlap_is_that_of_scipy():
    from scipy.spatial.distance import dice

    rng = np.random.default_rng(2)
    ours, theirs = (rng.choice(np.array([0, 17, 53, 200], np.uint8), (9, 8, 7)) for _ in range(2))
    of = structures({17: "left hippocampus", 53: "right hippocampus", 200: "stem"})
    for name, value in overlaps(ours, theirs, of).items():
        expected = 1 - dice(np.isin(ours, of[name]).ravel(), np.isin(theirs, of[name]).ravel())
        assert value == pytest.approx(expected), name
    swapped = np.where(theirs == 17, 53, np.where(theirs == 53, 17, theirs)).astype(np.uint8)
    assert overlaps(ours, swapped, of)["hippocampus"] == overlaps(ours, theirs, of)["hippocampus"]


def test_overlap_with_what_is_not_there(labels):
    assert overlaps(np.where(labels == 3, 0, labels), labels)["WM"] == 0
    assert np.isnan(overlaps(np.zeros_like(labels), np.zeros_like(labels))["CSF"])
    assert np.isnan(agreements(labels, np.zeros_like(labels), TISSUES)["CSF"].volume_difference)


def test_volume_difference_is_of_the_reference(labels):
    fewer = np.where(np.arange(20)[:, None, None] < 10, labels, 0).astype(np.uint8)
    for name, found in agreements(fewer, labels, TISSUES).items():
        assert found.volume_difference == -50, name
    assert agreements(labels, fewer, TISSUES)["WM"].volume_difference == 100


def test_two_grids_are_refused(labels):
    with pytest.raises(ValueError, match="one grid"):
        agreements(labels, labels[1:], TISSUES)
