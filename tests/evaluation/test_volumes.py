"""Volumes and overlap of shapes whose size is known."""

import numpy as np
import pytest

from bids_lfenhance.evaluation.volumes import brain_volumes, overlaps, structures, tissue_volumes


@pytest.fixture
def cubes():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[2:18, 2:18, 2:18] = 1
    labels[4:16, 4:16, 4:16] = 2
    labels[7:13, 7:13, 7:13] = 3
    posteriors = np.stack([labels == i for i in (1, 2, 3)]).astype(np.float32)
    return posteriors, labels


def test_volumes_of_cubes(cubes):
    rows = tissue_volumes(*cubes, voxel_volume=2.0)
    assert [(row["index"], row["name"]) for row in rows] == [(1, "CSF"), (2, "GM"), (3, "WM")]
    assert [row["volume_mm3"] for row in rows] == [2.0 * n for n in (16**3 - 12**3, 12**3 - 6**3, 6**3)]
    assert [row["volume_soft_mm3"] for row in rows] == [row["volume_mm3"] for row in rows]


def test_soft_volume_counts_shares(cubes):
    posteriors, labels = cubes
    soft = tissue_volumes(0.5 * posteriors, labels, 1.0)
    assert soft[2]["volume_soft_mm3"] == pytest.approx(soft[2]["volume_mm3"] / 2)


def test_brain_and_intracranial(cubes):
    _, labels = cubes
    totals = brain_volumes(tissue_volumes(*cubes, voxel_volume=1.0), labels > 0, 1.0)
    assert totals == {"brain_mm3": 12**3, "brain_soft_mm3": 12**3, "intracranial_mm3": 16**3}


TISSUES = {"CSF": (1,), "GM": (2,), "WM": (3,)}


def test_overlap_of_shifted_cubes(cubes):
    _, labels = cubes
    assert overlaps(np.roll(labels, 3, axis=0), labels, TISSUES)["WM"] == pytest.approx(0.5)
    assert overlaps(labels, labels, TISSUES) == {"CSF": 1, "GM": 1, "WM": 1}


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


def test_overlap_with_what_is_not_there(cubes):
    _, labels = cubes
    assert overlaps(np.where(labels == 3, 0, labels), labels, TISSUES)["WM"] == 0
    assert np.isnan(overlaps(np.zeros_like(labels), np.zeros_like(labels), TISSUES)["CSF"])


def test_two_grids_are_refused(cubes):
    with pytest.raises(ValueError, match="one grid"):
        overlaps(cubes[1], cubes[1][1:], TISSUES)
