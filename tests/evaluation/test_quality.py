"""The verdict passes only what was measured and good, and abstains otherwise."""

import copy
from pathlib import Path

import pytest

from bids_lfenhance.evaluation.quality import CHECKS, verdict

DOCS = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"

GOOD = {
    "Scans": [
        {"File": "a.nii.gz", "SNR": 14.0, "RotationDeg": 1.0, "TranslationMm": 2.0, "Coverage": 0.99, "Similarity": 0.7}
    ],
    "Anatomy": {"MaskVolumeMl": 1450.0, "TemplateCorrelation": 0.9},
    "Risk": {"T1w": {"FractionAbove": 0.001, "FractionSeen": 1.0}},
}


def changed(group: str, key: str, value: object) -> dict:
    record = copy.deepcopy(GOOD)
    part = {"Scans": record["Scans"][0], "Anatomy": record["Anatomy"], "Risk": record["Risk"]["T1w"]}[group]
    part[key] = value
    return record


def test_a_good_session_passes():
    assert verdict(GOOD) == ("pass", [])


@pytest.mark.parametrize(
    ("group", "key", "review", "fail"),
    [
        ("Scans", "SNR", 5.0, 1.0),
        ("Scans", "RotationDeg", 12.0, 45.0),
        ("Scans", "TranslationMm", 12.0, 45.0),
        ("Scans", "Coverage", 0.8, 0.3),
        ("Anatomy", "MaskVolumeMl", 700.0, 90.0),
        ("Anatomy", "MaskVolumeMl", 2100.0, 4000.0),
        ("Anatomy", "TemplateCorrelation", 0.5, 0.0),
        ("Scans", "Similarity", 0.1, 0.0),
        ("Risk", "FractionAbove", 0.05, 0.6),
        ("Risk", "FractionSeen", 0.9, 0.2),
    ],
)
def test_doubt_is_review_and_nonsense_fails(group, key, review, fail):
    word, reasons = verdict(changed(group, key, review))
    assert word == "review"
    assert len(reasons) == 1
    assert f"{review:.3g}" in reasons[0]
    assert verdict(changed(group, key, fail))[0] == "fail"


@pytest.mark.parametrize("absent", [None, float("nan"), "unknown"])
def test_what_was_not_measured_is_not_passed(absent):
    word, reasons = verdict(changed("Scans", "SNR", absent))
    assert word == "review"
    assert reasons == ["signal-to-noise ratio of a.nii.gz was not measured"]


def test_nothing_measured_is_review():
    word, reasons = verdict({"Scans": [], "Anatomy": None})
    assert word == "review"
    assert len(reasons) == sum(check.needed for check in CHECKS)


def test_one_bad_stack_among_good_ones_is_named_first():
    record = changed("Anatomy", "MaskVolumeMl", 700.0)
    record["Scans"].append({**record["Scans"][0], "File": "b.nii.gz", "SNR": 1.0})
    word, reasons = verdict(record)
    assert word == "fail"
    assert "b.nii.gz" in reasons[0]
    assert "brain mask" in reasons[1]


def test_the_table_in_the_documentation_is_this_one():
    text = DOCS.read_text(encoding="utf-8")
    for check in CHECKS:
        cells = [f"{limits[0]:g} to {limits[1]:g}{check.unit}" for limits in (check.good, check.usable)]
        assert f"| {check.name} | {cells[0]} | {cells[1]} |" in text
