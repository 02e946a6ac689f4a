import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from bids_lfenhance.bids.plan import LowFieldSession, make_plan
from bids_lfenhance.errors import InputError

from ..refusals import refused
from .conftest import MakeTree

Sidecar = dict[str, Any]


def stacks(session: LowFieldSession) -> list[str]:
    return [scan.name for scan in session.stacks]


def test_low_and_high_field_are_told_apart_by_field_alone(make_tree: MakeTree, low: Sidecar, high: Sidecar) -> None:
    root = make_tree({"01/highfield/T1w": low, "01/lowfield/T1w": high, "02/highfield/T1w": low})
    one, two = make_plan(root).sessions
    assert (one.session, one.reference_session, two.paired) == ("highfield", "lowfield", False)
    assert [scan.field_strength for scan in (*one.stacks, *one.reference)] == pytest.approx([0.0634, 3.0007], rel=1e-3)


@pytest.mark.parametrize("closed", ["sub-02", "sub-02/ses-A", "sub-02/ses-A/anat"])
def test_a_subject_whose_folders_may_not_be_read_stops_no_other(
    make_tree: MakeTree, low: Sidecar, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    root = make_tree({"01/A/T1w": low, "02/A/T1w": low})
    monkeypatch.setattr(os, "access", lambda path, mode: path != root / closed)
    plan = make_plan(root)
    assert [session.subject for session in plan.sessions] == ["01"]
    ((subject, sentence),) = plan.failed
    assert subject == "02"
    assert str(root / closed) in sentence


def test_a_file_named_like_a_folder_closes_nothing(make_tree: MakeTree, low: Sidecar) -> None:
    root = make_tree({"01/A/T1w": low})
    (root / "sub-01" / "ses-A.zip").touch()
    assert not make_plan(root).failed


def test_dataset_without_sessions(make_tree: MakeTree, low: Sidecar, high: Sidecar) -> None:
    root = make_tree(
        {"01/-/acq-axi_T1w": low, "01/-/acq-cor_T1w": low, "01/-/acq-hf_T1w": high, "02/-/acq-axi_T1w": low}
    )
    one, two = make_plan(root).sessions
    assert (one.session, stacks(one), one.reference_session) == (None, ["acq-axi_T1w", "acq-cor_T1w"], None)
    assert [scan.name for scan in one.reference] == ["acq-hf_T1w"]
    assert one.paired
    assert not two.paired


def test_both_fields_in_one_session_and_runs(make_tree: MakeTree, low: Sidecar, high: Sidecar) -> None:
    root = make_tree({"01/A/acq-axi_run-1_T1w": low, "01/A/acq-axi_run-2_T1w": low, "01/A/acq-3T_T1w": high})
    (session,) = make_plan(root).sessions
    assert stacks(session) == ["acq-axi_run-1_T1w", "acq-axi_run-2_T1w"]
    assert session.reference_session == "A"


def test_high_field_of_another_contrast_in_the_same_session_is_on_record(
    make_tree: MakeTree, low: Sidecar, high: Sidecar
) -> None:
    root = make_tree({"01/A/acq-lf_FLAIR": low, "01/A/T1w": high, "01/B/T1w": low})
    first, second = make_plan(root).sessions
    assert (first.paired, first.beside_high_field) == (False, True)
    assert (second.reference_session, second.beside_high_field) == ("A", False)


def test_plan_survives_a_pickle(make_tree: MakeTree, low: Sidecar, high: Sidecar) -> None:
    plan = make_plan(make_tree({"01/A/acq-axi_T1w": low, "01/B/T1w": high}))
    assert pickle.loads(pickle.dumps(plan)) == plan


def test_planning_opens_no_image(make_tree: MakeTree, low: Sidecar) -> None:
    root = make_tree({"01/A/acq-axi_T1w": low, "01/A/acq-cor_T1w": low})
    image = root / "sub-01" / "ses-A" / "anat" / "sub-01_ses-A_acq-axi_T1w.nii.gz"
    image.unlink()
    image.symlink_to(root / ".git" / "annex" / "gone")
    plan = make_plan(root)
    (session,) = plan.sessions
    assert stacks(session) == ["acq-axi_T1w", "acq-cor_T1w"]
    (sentence,) = [one for one in plan.warnings if "datalad get" in one]
    assert "1 of 2" in sentence
    assert image.name in sentence


def test_high_field_only_and_no_image_are_skipped_with_a_reason(
    make_tree: MakeTree, low: Sidecar, high: Sidecar
) -> None:
    root = make_tree({"01/A/T1w": low, "02/A/T1w": high, "03/A/dwi": {}, "04/A/T1w": {"MagneticFieldStrength": 0.55}})
    plan = make_plan(root)
    reasons = dict(plan.skipped)
    assert plan.subjects == ("01",)
    assert sorted(reasons) == ["02", "03", "04"]
    assert "only high field (1 image)" in reasons["02"]
    assert "no T1w, T2w or FLAIR" in reasons["03"]
    assert "0.55 T is neither" in reasons["04"]


def test_a_broken_sidecar_stops_its_subject_only(make_tree: MakeTree, low: Sidecar) -> None:
    root = make_tree(
        {"01/A/T1w": "{broken", "02/A/T1w": low, "03/A/T1w": {"MagneticFieldStrength": 3000}, "04/A/T1w": None}
    )
    plan = make_plan(root)
    failed = dict(plan.failed)
    assert plan.subjects == ("02",)
    assert sorted(failed) == ["01", "03", "04"]
    assert "sub-01_ses-A_T1w.json" in failed["01"]
    assert all("--assume-field-strength" in failed[subject] for subject in ("03", "04"))
    assert "sub-04_ses-A_T1w.nii.gz" in failed["04"]


def test_no_field_strength_anywhere_names_the_files(make_tree: MakeTree) -> None:
    root = make_tree({f"0{number}/A/T1w": {} for number in range(1, 6)})
    with pytest.raises(
        InputError, match=r"5 images \(sub-01_ses-A_T1w.nii.gz, .* and 2 more\).*--assume-field-strength"
    ):
        make_plan(root)
    assert len(make_plan(root, assume_field_strength=0.064).sessions) == 5
    with refused("bad-option", option="assume_field_strength"):
        make_plan(root, assume_field_strength=-1)


def test_an_assumed_field_overrules_no_sidecar(make_tree: MakeTree, high: Sidecar) -> None:
    (session,) = make_plan(make_tree({"01/A/T1w": None, "01/B/T1w": high}), assume_field_strength=0.064).sessions
    assert (session.field_strength, session.reference_session) == (0.064, "B")
    assert "0.064 T was assumed" in session.warnings[0]


def test_requested_sessions_keep_their_reference(make_tree: MakeTree, low: Sidecar, high: Sidecar) -> None:
    root = make_tree({"01/A/T1w": low, "01/B/T1w": low, "01/G/T1w": high, "01/H/T1w": high, "02/A/T1w": low})
    plan = make_plan(root, sessions=["ses-B"])
    assert [(session.subject, session.session, session.reference_session) for session in plan.sessions] == [
        ("01", "B", "G")
    ]
    assert [subject for subject, _ in plan.skipped] == ["02"]
    assert make_plan(root, sessions=["B", "H"]).sessions[0].reference_session == "H"
    with refused("unknown-session", sessions=["C"]):
        make_plan(root, sessions=["C"])


def test_what_was_not_asked_for_does_not_stop_a_subject(make_tree: MakeTree, low: Sidecar, high: Sidecar) -> None:
    root = make_tree({"01/A/acq-axi_T1w": low, "01/B/T1w": high, "01/Z/T1w": {}})
    with refused("no-field-strength"):
        make_plan(root)
    plan = make_plan(root, sessions=["A"])
    assert [one.reference_session for one in plan.sessions] == ["B"]
    assert any("sub-01_ses-Z_T1w.nii.gz was left out" in text for text in plan.warnings)
    (root / "sub-01/ses-Z/anat/sub-01_ses-Z_T1w.json").write_text("{")
    assert len(make_plan(root, sessions=["A"]).sessions) == 1
    chosen = {"lf": {"session": "A"}, "reference": {"session": "B"}}
    assert [one.paired for one in make_plan(root, filters=chosen).sessions] == [True]


def test_a_filter_that_leaves_no_reference_says_so_and_names_stay(
    make_tree: MakeTree, low: Sidecar, high: Sidecar
) -> None:
    root = make_tree({"01/A/acq-axi_T1w": low, "01/A/acq-hf_T1w": high})
    plan = make_plan(root, filters={"reference": {"session": "B"}})
    (session,) = plan.sessions
    assert (session.paired, session.beside_high_field) == (False, True)
    assert any(
        "leaves none of the high field of sub-01: sub-01_ses-A_acq-hf_T1w.nii.gz" in text for text in plan.warnings
    )


def test_filters_choose_stacks_and_reference(make_tree: MakeTree, low: Sidecar, high: Sidecar) -> None:
    root = make_tree({"01/A/acq-axi_T1w": low, "01/A/acq-iso_T1w": low, "01/G/T1w": high, "01/H/T1w": high})
    filters = {"lf": {"acquisition": ["axi"]}, "reference": {"session": "H"}}
    (session,) = make_plan(root, filters=filters).sessions
    assert (stacks(session), session.reference_session, session.warnings) == (
        ["acq-axi_T1w"],
        "H",
        session.warnings[:1],
    )
    assert "filters leave no low-field" in make_plan(root, filters={"lf": {"acq": "sag"}}).skipped[0][1]
    assert not make_plan(root, filters={"reference": {"session": "none"}}).sessions[0].paired


def test_missing_by_own_planes_by_other_sessions_by_other_subjects(make_tree: MakeTree, low: Sidecar) -> None:
    three = ["acq-axi_T1w", "acq-cor_T1w", "acq-sag_T1w"]
    both = [*three, "acq-axi_T2w", "acq-cor_T2w"]
    tree = {f"01/A/{name}": low for name in both} | {"01/B/T1w": low}
    for subject in ("02", "03"):
        tree |= {f"{subject}/B/{name}": low for name in ("T1w", "FLAIR")}
    plan = make_plan(make_tree(tree))
    missing = {session.name: session.missing for session in plan.sessions}
    assert missing["sub-01_ses-A"] == ("T1w", "acq-sag_T2w")
    assert missing["sub-01_ses-B"] == ("FLAIR", *sorted(both))
    assert missing["sub-02_ses-B"] == ()


def test_a_plane_spelt_otherwise_is_not_missing(make_tree: MakeTree, low: Sidecar) -> None:
    names = ("01/A/acq-axi_T1w", "02/A/acq-axi_T1w", "03/A/acq-AXI_T1w", "04/A/acq-axial_T1w")
    plan = make_plan(make_tree(dict.fromkeys((*names, "05/A/acq-cor_T1w"), low)))
    assert [session.missing for session in plan.sessions] == [(), (), (), (), ("acq-axi_T1w",)]


def test_one_plane_of_a_contrast_is_not_two_missing(make_tree: MakeTree, low: Sidecar) -> None:
    names = ["acq-axi_T1w", "acq-axi_T2w", "acq-cor_T2w", "acq-sag_T2w", "acq-axi_FLAIR"]
    (session,) = make_plan(make_tree({f"01/A/{name}": low for name in names})).sessions
    assert session.missing == ()


def test_contrast_agent_and_reconstructions_are_told(make_tree: MakeTree, low: Sidecar) -> None:
    names = ["acq-axi_T1w", "acq-axi_ce-gd_T1w", "acq-cor_rec-a_T1w", "acq-cor_rec-b_T1w"]
    (session,) = make_plan(make_tree({f"01/A/{name}": low for name in names})).sessions
    assert "acq-axi_ce-gd_T1w" not in stacks(session)
    assert any("contrast agent" in sentence for sentence in session.warnings)
    assert any(sentence.startswith("acq-cor_T1w is there in several reconstructions") for sentence in session.warnings)


def test_participants_table_without_prefix_is_no_hindrance(make_tree: MakeTree, low: Sidecar) -> None:
    root = make_tree({"01/A/T1w": low})
    (root / "participants.tsv").write_text("participant_id\tage\n01\t30\n")
    assert make_plan(root, ["sub-01"]).subjects == ("01",)


def test_a_dataset_without_description_is_planned_with_a_warning(make_tree: MakeTree, low: Sidecar) -> None:
    root = make_tree({"01/A/T1w": low})
    (root / "dataset_description.json").unlink()
    plan = make_plan(root)
    assert plan.subjects == ("01",)
    assert "dataset_description.json" in plan.warnings[0]


def test_what_came_since_the_database_was_made_is_in_the_plan(
    make_tree: MakeTree, low: Sidecar, tmp_path: Path
) -> None:
    root = make_tree({"01/A/acq-axi_T1w": low})
    make_plan(root, database_dir=tmp_path / "db")
    make_tree({"01/A/acq-cor_T1w": low})
    plan = make_plan(root, database_dir=tmp_path / "db")
    assert stacks(plan.sessions[0]) == ["acq-axi_T1w", "acq-cor_T1w"]
    assert any("delete it to have it made anew" in warning for warning in plan.warnings)


def test_one_of_many_subjects_touches_no_other(
    make_tree: MakeTree, low: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_tree({f"{number:03d}/A/acq-{plane}_T1w": low for number in range(40) for plane in ("axi", "cor")})
    listed: list[str] = []
    scandir = os.scandir

    def watched(path: Any = ".") -> Any:
        listed.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", watched)
    make_plan(root, ["007"])
    assert any("sub-007" in path for path in listed)
    assert not [path for path in listed if "sub-" in path and "sub-007" not in path]


@pytest.mark.real
def test_ds006557(shared_data: Path) -> None:
    plan = make_plan(shared_data / "ds006557-skeleton")
    assert (len(plan.subjects), len(plan.sessions), plan.skipped, plan.failed) == (23, 46, (), ())
    assert {session.reference_session for session in plan.sessions} == {"GE"}
    assert sum(len(session.stacks) for session in plan.sessions) == 344
    assert len({scan.path for session in plan.sessions for scan in session.reference}) == 46
    assert all(0.0633 < session.field_strength < 0.0640 for session in plan.sessions)
    for session in plan.sessions:
        assert len([sentence for sentence in session.warnings if "0.006 T" in sentence]) == len(session.warnings) == 1
        expected = ("acq-iso_T2w",) if session.session == "HFE" else ()
        if (session.subject, session.session) == ("HYPE06", "HFC"):
            expected = ("acq-sag_T1w",)
        assert session.missing == expected


@pytest.mark.real
def test_ds006557_one_subject_names_what_is_missing_too(shared_data: Path) -> None:
    plan = make_plan(shared_data / "ds006557-skeleton", ["HYPE06"])
    assert [session.missing for session in plan.sessions] == [("acq-sag_T1w",), ("acq-iso_T2w",)]
