"""Subjects of one OUT_DIR that were made with other settings or another version."""

import json
from pathlib import Path

import pytest

from bids_lfenhance.config import GroupSettings
from bids_lfenhance.reports.boilerplate import boilerplate
from bids_lfenhance.workflows.group import run_group

from .fake_cohort import Cohort, build

MADE = {
    "Method": "inr",
    "Seed": 0,
    "MethodSettings": {"steps": 600, "device": "cpu"},
    "SettingsHash": "aaaaaaaaaaaa",
    "GeneratedWith": "bids_lfenhance 0.1.0",
}
OTHER = {"MethodSettings": {"steps": 20, "device": "cpu"}, "SettingsHash": "bbbbbbbbbbbb"}
ANOTHER_VERSION = {"SettingsHash": "cccccccccccc", "GeneratedWith": "bids_lfenhance 0.2.0"}


def made(root: Path, *changes: dict) -> Path:
    """The derivative of a subject for each, whose enhanced image tells that it was made so."""
    _, out = build(root, Cohort(subjects=len(changes), sessions=("A",), contrasts=("T1w",)))
    for path, change in zip(sorted(out.glob("sub-*/ses-A/anat/*_desc-inr_T1w.json")), changes, strict=True):
        path.write_text(json.dumps(json.loads(path.read_text()) | MADE | change))
    return out


def notes_of(root: Path) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bids_lfenhance.workflows.group.group_figures", lambda cohort, tables: [])
        outcome = run_group(GroupSettings(root / "raw", root / "derivative"))
    return [one for one in outcome.problems if "different settings" in one]


def test_who_was_made_otherwise_is_named_with_what_differs(tmp_path: Path) -> None:
    text = boilerplate(made(tmp_path, {}, OTHER, {}))
    assert "Of 2 sessions (sub-001/ses-A, sub-003/ses-A): High-field-like images" in text
    assert "Of 1 session (sub-002/ses-A): High-field-like images" in text
    (sentence,) = notes_of(tmp_path)
    assert sentence in text
    assert "inr were made with 2 different settings" in sentence
    assert "sub-001/ses-A, sub-003/ses-A with steps 600, settings aaaaaaaaaaaa; sub-002/ses-A with steps 20" in sentence
    assert "device" not in sentence
    assert sentence in (tmp_path / "derivative" / "group.html").read_text()


@pytest.mark.parametrize("rms", [0.0, 3.1])
def test_a_correction_by_the_scans_is_told_where_there_was_one(tmp_path: Path, rms: float) -> None:
    record = {"contrasts": {"T1w": {"correction_rms": rms}}}
    text = boilerplate(made(tmp_path, {"Method": "fusionnet", "Records": [record]}))
    assert ("corrected by the scans and averaged with their super-resolution" in text) == (rms > 0)


def test_versions_are_named_each(tmp_path: Path) -> None:
    text = boilerplate(made(tmp_path, {}, ANOTHER_VERSION))
    assert "bids_lfenhance 0.1.0 and 0.2.0, a workflow" in text
    assert "sub-002/ses-A with version 0.2.0" in text
    assert text.count("Settings of inr") == 1


def test_a_device_is_no_difference(tmp_path: Path) -> None:
    text = boilerplate(made(tmp_path, {}, {"MethodSettings": {"steps": 600, "device": "cuda"}}))
    assert "different settings" not in text
    assert "Of 1 session" not in text
    assert notes_of(tmp_path) == []


def test_another_method_for_some_is_said_of_those_alone(tmp_path: Path) -> None:
    out = made(tmp_path, {}, {})
    for path in sorted(out.glob("sub-002/ses-A/anat/*_desc-inr*")):
        path.rename(path.with_name(path.name.replace("_desc-inr", "_desc-own")))
    text = boilerplate(out)
    assert "Of 1 session (sub-001/ses-A): High-field-like" in text
    assert "Settings of own: steps = 600" in text
