"""Volumes and overlap of shapes whose size is known."""

import numpy as np
import pytest

from bids_lfenhance.evaluation.volumes import brain_volumes, label_agreement, tissue_volumes


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


def test_agreement_of_shifted_cubes(cubes):
    _, labels = cubes
    moved = np.roll(labels, 3, axis=0)
    rows = {row["name"]: row for row in label_agreement(moved, labels)}
    assert rows["WM"]["dice"] == pytest.approx(0.5)
    assert rows["WM"]["volume_difference_percent"] == 0
    assert all(row["dice"] == 1 for row in label_agreement(labels, labels))


def test_agreement_with_what_is_not_there(cubes):
    _, labels = cubes
    row = label_agreement(np.where(labels == 3, 0, labels), labels)[2]
    assert (row["dice"], row["volume_difference_percent"]) == (0, -100)
    empty = label_agreement(np.zeros_like(labels), np.zeros_like(labels))[0]
    assert np.isnan(empty["dice"])
    assert np.isnan(empty["volume_difference_percent"])


def test_two_grids_are_refused(cubes):
    with pytest.raises(ValueError, match="one grid"):
        label_agreement(cubes[1], cubes[1][1:])
