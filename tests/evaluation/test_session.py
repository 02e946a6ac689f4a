"""The overlap of a session's segmentations with those of its high field, as rows of the metrics table."""

import numpy as np
import pytest

from bids_lfenhance.evaluation.metric_definitions import DATA_DICTIONARY, METRICS, SEGMENTATIONS
from bids_lfenhance.evaluation.session import compute_overlap

ROWS = [
    {"index": 17, "name": "left hippocampus"},
    {"index": 53, "name": "right hippocampus"},
    {"index": 24, "name": "CSF"},
    {"index": None, "name": "total intracranial"},
]


def test_every_image_and_structure_has_its_row() -> None:
    truth = np.zeros((10, 4, 4), np.uint8)
    truth[:4], truth[6:] = 17, 53
    low = np.roll(truth, 1, axis=0)
    images = {"preproc": {"T1w": low, "FLAIR": low}, "inr": {"T1w": truth}}
    rows = compute_overlap(images, {"T1w": truth, "T2w": truth}, {"T1w": ROWS}, "regions")
    found = {(row["image"], row["region"]): row["value"] for row in rows if row["metric"] == "dice"}
    changes = {(row["image"], row["region"]): row["value"] for row in rows if row["metric"] == "volume_difference"}
    assert changes["preproc", "left hippocampus"] == changes["inr", "hippocampus"] == 0
    assert np.isnan(changes["inr", "CSF"])
    assert {row["contrast"] for row in rows} == {"T1w"}, "only what both have"
    assert found["inr", "hippocampus"] == found["inr", "left hippocampus"] == 1
    assert found["preproc", "left hippocampus"] == pytest.approx(2 * 3 / 8)
    assert found["preproc", "hippocampus"] == pytest.approx(2 * (3 + 3 + 1) / 16)
    assert np.isnan(found["inr", "CSF"])
    assert ("inr", "total intracranial") not in found
    assert all(set(row) == set(DATA_DICTIONARY) for row in rows)
    assert {row["protocol"] for row in rows} <= set(SEGMENTATIONS)
    assert {row["metric"] for row in rows} <= set(METRICS)


def test_what_the_field_of_view_cuts_has_no_agreement() -> None:
    truth = np.zeros((10, 6, 6), np.uint8)
    truth[2:4, 2:4, 2:4], truth[6:9, 2:4, 2:4] = 17, 53
    seen = np.ones(truth.shape, bool)
    seen[8:] = False
    rows = compute_overlap({"inr": {"T1w": truth}}, {"T1w": truth}, {"T1w": ROWS}, "regions", {"T1w": seen})
    found = {row["region"]: row["value"] for row in rows if row["metric"] == "dice"}
    assert found["left hippocampus"] == 1
    assert np.isnan(found["right hippocampus"])
    assert np.isnan(found["hippocampus"]), "one of its sides is cut"
