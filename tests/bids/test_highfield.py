"""The plan of a simulation: what counts as high field, what the simulated sessions are called, what is said once."""

import json
import os
from pathlib import Path

import pytest

from bids_lfenhance.bids.highfield import describe_simulation, lower_field_note, plan_simulation

from ..refusals import refused

HIGH, LOW, MIDDLE = {"MagneticFieldStrength": 3}, {"ImagingFrequency": 2.7}, {"MagneticFieldStrength": 0.55}


def scan(root: Path, name: str, about: dict | None = None) -> None:
    """An empty image with its sidecar: planning opens none."""
    folder = root.joinpath(*[part for part in name.split("_") if part.startswith(("sub-", "ses-"))], "anat")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.nii.gz").touch()
    if about is not None:
        (folder / f"{name}.json").write_text(json.dumps(about))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    return tmp_path


def test_scans_without_field_strength_are_high_field_and_said_once(raw):
    for subject in ("01", "02"):
        scan(raw, f"sub-{subject}_T1w")
    plan = plan_simulation(raw)
    assert [one.name for one in plan.sessions] == ["sub-01", "sub-02"]
    assert len(plan.unknown) == 2
    (said,) = plan.warnings
    assert said.startswith("2 images (first: sub-01_T1w.nii.gz) without any field strength are taken as high field")


def test_a_subject_whose_folder_may_not_be_read_stops_no_other(raw, monkeypatch):
    for subject in ("01", "02"):
        scan(raw, f"sub-{subject}_T1w")
    monkeypatch.setattr(os, "access", lambda path, mode: path != raw / "sub-02")
    plan = plan_simulation(raw)
    assert [one.name for one in plan.sessions] == ["sub-01"]
    assert [subject for subject, _ in plan.failed] == ["02"]


def test_an_assumed_strength_settles_it(raw):
    scan(raw, "sub-01_T1w")
    plan = plan_simulation(raw, assume_field_strength=1.5)
    assert (plan.unknown, plan.warnings) == ((), ())
    assert plan.sessions[0].scans[0].field_strength == 1.5
    with refused("no-high-field", path=raw):
        plan_simulation(raw, assume_field_strength=0.064)


def test_lower_fields_are_left_out_and_said(raw):
    scan(raw, "sub-01_ses-A_T1w", HIGH)
    scan(raw, "sub-01_ses-B_T1w", LOW)
    scan(raw, "sub-02_ses-A_T1w", MIDDLE)
    plan = plan_simulation(raw)
    assert [(one.name, one.labels(1)) for one in plan.sessions] == [("sub-01_ses-A", ("SIM",))]
    assert plan.skipped == (("02", "There is no high-field image."),)
    assert plan.warnings == ()
    assert "2 images below 1 T" in lower_field_note(plan)[0]


def test_names_do_not_hang_on_what_is_asked_for(raw):
    for session in ("A", "B"):
        scan(raw, f"sub-01_ses-{session}_T1w", HIGH)
    both, one = plan_simulation(raw), plan_simulation(raw, sessions=["B"])
    assert [s.labels(1)[0] for s in both.sessions] == ["ASIM", "BSIM"]
    assert [s.labels(2) for s in one.sessions] == [("BSIM1", "BSIM2")]


def test_a_session_called_sim_is_not_written_over(raw):
    scan(raw, "sub-01_ses-SIM_T1w", HIGH)
    assert plan_simulation(raw).sessions[0].labels(1) == ("SIMSIM",)


def test_one_scan_of_each_contrast_asked_for(raw):
    for name in ("run-1_T1w", "run-2_T1w", "T2w", "FLAIR"):
        scan(raw, f"sub-01_{name}", HIGH)
    plan = plan_simulation(raw, contrasts=["T1w", "FLAIR"])
    assert [s.path.name for s in plan.sessions[0].scans] == ["sub-01_run-1_T1w.nii.gz", "sub-01_FLAIR.nii.gz"]
    assert plan.contrasts == ("T1w", "FLAIR")
    assert "run-2" in plan.sessions[0].warnings[0]
    filtered = plan_simulation(raw, filters={"reference": {"run": "2"}}, contrasts=["T1w", "T2w"])
    assert [s.path.name for s in filtered.sessions[0].scans] == ["sub-01_run-2_T1w.nii.gz"]
    assert any("no high-field T2w" in warning for warning in filtered.sessions[0].warnings)


def test_a_broken_sidecar_stops_no_other(raw):
    scan(raw, "sub-01_T1w", HIGH)
    scan(raw, "sub-02_T1w", HIGH)
    (raw / "sub-02" / "anat" / "sub-02_T1w.json").write_text("{broken")
    plan = plan_simulation(raw)
    assert [one.subject for one in plan.sessions] == ["01"]
    ((subject, sentence),) = plan.failed
    assert subject == "02"
    assert "JSON" in sentence
    text = describe_simulation(plan, 1, 3)
    assert "Plan: 1 subject · 1 high-field session · 1 simulated session · 3 low-field stacks" in text
    assert "Cannot be processed" in text


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"contrasts": ["T2w"]}, "no-high-field"),
        ({"participants": ["9"]}, "unknown-subject"),
        ({"sessions": ["X"]}, "unknown-session"),
    ],
)
def test_nothing_to_simulate_from_is_one_sentence(raw, asked, code):
    scan(raw, "sub-01_T1w", HIGH)
    with refused(code):
        plan_simulation(raw, **asked)
