"""What users of other BIDS Apps reported in public, tried here at its smallest: one test for each kind of fault."""

import json
from pathlib import Path
from typing import Any

import pytest

from bids_lfenhance.bids.field_strength import read_field_strength
from bids_lfenhance.bids.highfield import plan_simulation
from bids_lfenhance.bids.participants import merged_participants
from bids_lfenhance.bids.plan import make_plan
from bids_lfenhance.cli.parser import parse
from bids_lfenhance.evaluation.usable import asks_for_action
from bids_lfenhance.workflows.inputs import reference_key, scan_input, session_key

from ..refusals import refused
from .conftest import MakeTree

Sidecar = dict[str, Any]


@pytest.mark.parametrize(
    "above", ["func", "dwi", "sub-99", "ses-9/anat", "sub-01_ses-B_T1w.nii.gz", "acq-3T/perf", "run-1/anat"]
)
def test_a_folder_above_the_dataset_decides_nothing(
    make_tree: MakeTree, low: Sidecar, high: Sidecar, tmp_path: Path, above: str
) -> None:
    """Entities were taken from the whole path: https://github.com/bids-standard/pybids/issues/1270, …/issues/595."""
    root = make_tree({"01/A/acq-axi_T1w": low, "01/B/T1w": high, "02/-/T1w": low})
    (tmp_path / above).mkdir(parents=True)
    moved = root.rename(tmp_path / above / "BIDS")
    plan = make_plan(moved)
    assert [session.name for session in plan.sessions] == ["sub-01_ses-A", "sub-02"]
    assert plan.sessions[0].reference_session == "B"
    assert [one.name for one in plan_simulation(moved).sessions] == ["sub-01_ses-B"]
    database = make_plan(moved, database_dir=tmp_path / "db")
    assert database.sessions == plan.sessions


def test_scans_without_session_beside_sessions(make_tree: MakeTree, low: Sidecar, high: Sidecar) -> None:
    """One subject stopped the run: https://github.com/nipreps/fmriprep/issues/2687."""
    tree = {"01/LF/T1w": low, "02/-/T1w": low, "02/LF/T1w": low, "02/HF/T1w": high, "02/-/acq-3T_T1w": high}
    plan = make_plan(make_tree(tree))
    assert [session.name for session in plan.sessions] == ["sub-01_ses-LF", "sub-02", "sub-02_ses-LF"]
    own = plan.sessions_of("02")
    assert len({session_key(session) for session in own}) == 2
    assert all(session.paired for session in own)


def test_two_references_of_one_person_stay_two(make_tree: MakeTree, low: Sidecar, high: Sidecar) -> None:
    """A session-less T1w and a T2w of ses-HF shared one name (found beside fMRIPrep's issue 2687)."""
    one, two = make_plan(make_tree({"01/A/T1w": low, "01/B/T2w": low, "01/-/T1w": high, "01/HF/T2w": high})).sessions
    assert [(s.reference_session, [scan.contrast for scan in s.reference]) for s in (one, two)] == [
        (None, ["T1w"]),
        ("HF", ["T2w"]),
    ]
    assert reference_key(one) != reference_key(two)


@pytest.mark.parametrize(
    ("key", "value", "tesla"),
    [
        ("MagneticFieldStrength", "0.064", 0.064),
        ("MagneticFieldStrength", "0,064", 0.064),
        ("MagneticFieldStrength", "3T", 3.0),
        ("MagneticFieldStrength", " 64 mT ", 0.064),
        ("MagneticFieldStrength", 64, 0.064),
        ("MagneticFieldStrength", 30000, 3.0),
        ("MagneticFieldStrength", "15000 Gauss", 1.5),
        ("MagneticFieldStrength", [3], 3.0),
        ("MagneticFieldStrength", ["3", "3"], 3.0),
        ("ImagingFrequency", 2.7e6, 2.7 / 42.577),
        ("ImagingFrequency", 127.76e6, 127.76 / 42.577),
        ("ImagingFrequency", 127760, 127.76 / 42.577),
        ("ImagingFrequency", "2.7 MHz", 2.7 / 42.577),
    ],
)
def test_field_strength_is_read_where_it_can_mean_one_thing(key: str, value: object, tesla: float) -> None:
    """Field strengths as converters and people write them: text, units, lists, Hz (no single report)."""
    reading = read_field_strength({key: value})
    assert reading.tesla == pytest.approx(tesla)
    assert reading.reread[0].startswith(f"{key}: {value!r} was read as ")


def test_field_strength_that_can_mean_two_things_is_quoted(make_tree: MakeTree, low: Sidecar) -> None:
    """3000 is 3 T in mT and .3 T in gauss: the error shows what stands there."""
    plan = make_plan(make_tree({"01/A/T1w": {"MagneticFieldStrength": 3000}, "02/A/T1w": low}))
    assert "MagneticFieldStrength: 3000" in dict(plan.failed)["01"]
    (session,) = make_plan(make_tree({"01/A/T1w": {"MagneticFieldStrength": 64}, "02/A/T1w": low}), ["01"]).sessions
    assert "64 was read as 0.064 T in 1 of 1 sidecars" in session.warnings[0]


def test_folders_that_are_no_label_are_named_with_the_reason(make_tree: MakeTree, low: Sidecar, tmp_path: Path) -> None:
    """Subjects vanished without a word: https://github.com/nipreps/mriqc/issues/954."""
    root = make_tree({"01/A/T1w": low, "pt-02/A/T1w": low, "K6_b/A/T1w": low, "01/pre_1/T1w": low})
    (root / "participants.tsv").write_text("participant_id\nsub-01\nsub-pt-02\n03\nsub-04\n")
    plan = make_plan(root)
    for folder, sign in (("sub-pt-02", "-"), ("sub-K6_b", "_"), ("sub-01/ses-pre_1", "_")):
        (sentence,) = [warning for warning in plan.warnings if warning.startswith(f"{folder} was left out")]
        assert f"holds '{sign}'" in sentence
    assert [w for w in plan.warnings if w.startswith("2 of 4 people of participants.tsv are without data: sub-03")]
    with refused("unknown-subject") as caught:
        make_plan(root, ["pt-02"])
    assert "holds '-'" in str(caught.value)
    for folder in ("sub-01", "sub-K6_b"):
        (root / folder).rename(tmp_path / folder)
    with refused("no-subjects") as caught:
        make_plan(root)
    assert "sub-pt-02" in str(caught.value)


@pytest.mark.parametrize("typed", [["K6 K7"], ["K6,K7"], ["K6\r", "sub-K7\r"], ["K6", "K7"]])
def test_labels_as_people_type_them(make_tree: MakeTree, low: Sidecar, typed: list[str]) -> None:
    """Lists in one argument, lists with Windows' line ends: https://github.com/nipreps/fmriprep/issues/1748."""
    root = make_tree({"K6/A/T1w": low, "K7/A/T1w": low, "K8/A/T1w": low})
    settings = parse([str(root), str(root.parent / "out"), "participant", "--participant-label", *typed])
    assert make_plan(root, settings.participant_label).subjects == ("K6", "K7")


@pytest.mark.parametrize(
    ("listed", "left"),
    [
        ("sub-02/", ["01", "03"]),
        ("# a comment\n\n**/*_acq-bad_T1w.nii.gz", ["01", "02"]),
        ("/sub-01/ses-A/anat/*", ["02", "03"]),
        ("sub-*\n!sub-01_*", ["01"]),
        ("*.json", ["01", "02", "03"]),
    ],
)
def test_bidsignore_is_obeyed_and_said(make_tree: MakeTree, low: Sidecar, listed: str, left: list[str]) -> None:
    """A .bidsignore was not looked at: https://github.com/BIDS-Apps/freesurfer/issues/82."""
    root = make_tree({"01/A/T1w": low, "02/A/T1w": low, "03/A/acq-bad_T1w": low})
    (root / ".bidsignore").write_text(listed)
    plan = make_plan(root)
    assert list(plan.subjects) == left
    said = [
        sentence
        for sentence in plan.warnings
        if sentence.endswith("as .bidsignore lists them.") or "lists it" in sentence
    ]
    assert len(said) == (len(left) < 3)


def test_contrast_agent_in_the_sidecar_alone(make_tree: MakeTree, low: Sidecar, high: Sidecar) -> None:
    """The name need not say it: https://github.com/bids-standard/bids-specification/issues/1542."""
    gadolinium = {"ContrastBolusAgent": "Gadovist"}
    tree = {"01/A/acq-axi_T1w": low, "01/A/acq-cor_T1w": low | gadolinium, "01/A/acq-sag_T1w": low}
    tree["01/A/acq-sag_T1w"] = low | {"ContrastBolusAgent": "None"}
    tree |= {"01/B/T1w": high | gadolinium, "01/B/acq-late_T1w": high, "01/A/acq-3T_T1w": high | gadolinium}
    (session,) = make_plan(make_tree(tree)).sessions
    assert [scan.name for scan in session.stacks] == ["acq-axi_T1w", "acq-sag_T1w"]
    assert [scan.path.name for scan in session.reference] == ["sub-01_ses-B_acq-late_T1w.nii.gz"]
    assert any("contrast agent" in sentence and "acq-cor_T1w" in sentence for sentence in session.warnings)


@pytest.mark.parametrize("words", [["NONE"], "No contrast", "Not applicable", "", "without"])
def test_no_contrast_agent_in_other_words(make_tree: MakeTree, low: Sidecar, words: object) -> None:
    tree = {"01/A/acq-axi_T1w": low, "01/A/acq-cor_T1w": low | {"ContrastBolusAgent": words}}
    (session,) = make_plan(make_tree(tree)).sessions
    assert len(session.stacks) == 2


def test_a_contrast_that_there_is_with_agent_only_is_enhanced_beside_another_without(
    make_tree: MakeTree, low: Sidecar
) -> None:
    tree = {"01/A/acq-axi_ce-gad_T1w": low, "01/A/acq-axi_T2w": low, "01/A/acq-cor_ce-gad_T2w": low}
    (session,) = make_plan(make_tree(tree)).sessions
    assert [scan.name for scan in session.stacks] == ["acq-axi_ce-gad_T1w", "acq-axi_T2w"]


def test_a_reference_with_contrast_agent_is_said(make_tree: MakeTree, low: Sidecar, high: Sidecar) -> None:
    """The kind of bids-specification issue 1542, where there is nothing better."""
    tree = {"01/A/T1w": low, "01/B/T1w": high | {"ContrastBolusIngredient": "GADOLINIUM"}}
    (session,) = make_plan(make_tree(tree)).sessions
    assert session.paired
    assert any("with contrast agent" in sentence for sentence in session.warnings)


def test_reformats_of_one_acquisition_are_not_three(make_tree: MakeTree, low: Sidecar) -> None:
    """MPR series came out as acquisitions: https://github.com/nipy/heudiconv/issues/510."""
    computed = low | {"ImageType": ["DERIVED", "SECONDARY", "MPR", "CORONAL"]}
    tree: dict[str, Any] = {"01/A/acq-axi_T1w": low | {"ImageType": ["DERIVED", "PRIMARY", "M"]}}
    tree |= {f"01/A/acq-{plane}_T1w": computed for plane in ("cor", "sag")}
    as_text = computed | {"ImageType": "DERIVED\\SECONDARY\\MPR\\CORONAL"}
    tree |= {f"02/A/acq-{plane}_T1w": as_text for plane in ("axi", "cor", "sag")}
    for session in make_plan(make_tree(tree)).sessions:
        assert [scan.name for scan in session.stacks] == ["acq-axi_T1w"]
        assert any("2 reformats" in s and "acq-cor_T1w, acq-sag_T1w" in s for s in session.warnings)


@pytest.mark.parametrize("key", ["SkullStripped", "SpatialReference", "Enhanced"])
def test_what_was_processed_already_is_said(make_tree: MakeTree, low: Sidecar, key: str) -> None:
    """A derivative copied among raw scans, with its sidecar (no single report)."""
    (session,) = make_plan(make_tree({"01/A/acq-axi_T1w": low, "01/A/acq-cor_T1w": low | {key: True}})).sessions
    (sentence,) = (s for s in session.warnings if key in s)
    assert "acq-cor_T1w" in sentence
    assert asks_for_action(sentence)


def test_echoes_are_said(make_tree: MakeTree, low: Sidecar) -> None:
    """Echoes fused as if they were repeats (no single report)."""
    tree = {"01/A/acq-axi_echo-1_T2w": low, "01/A/acq-axi_echo-2_T2w": low}
    (session,) = make_plan(make_tree(tree)).sessions
    assert any(s.startswith("acq-axi_T2w is there in several echoes") for s in session.warnings)


@pytest.mark.parametrize(("written", "mm"), [(2.5, 2.5), ("2,5", 2.5), (None, None), ([2.5], None), ("thin", None)])
def test_the_thickness_of_slices_reaches_the_preparation(
    make_tree: MakeTree, low: Sidecar, written: object, mm: float | None
) -> None:
    """Slices with gaps, SpacingBetweenSlices absent as in all 64 mT sidecars of ds006557 (no single report)."""
    (session,) = make_plan(make_tree({"01/A/acq-axi_T1w": low | {"SliceThickness": written}})).sessions
    assert scan_input(session.stacks[0])["thickness"] == mm


def test_a_latin_1_sidecar_is_read(make_tree: MakeTree, low: Sidecar) -> None:
    """A converter wrote an institution's name in Latin-1: https://github.com/rordenlab/dcm2niix/issues/878."""
    root = make_tree({"01/A/T1w": low})
    (sidecar,) = root.rglob("*_T1w.json")
    sidecar.write_bytes(json.dumps(low | {"InstitutionName": "Hôpital"}, ensure_ascii=False).encode("latin-1"))
    (session,) = make_plan(root).sessions
    assert session.stacks[0].sidecar["InstitutionName"] == "Hôpital"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("participant_id\tage\n1\t30\n2\t40\n", "utf-8"),
        ("participant_id;age\r\n01;30\r\n02;40\r\n", "utf-8-sig"),
        ('"participant_id","age"\n"sub-01","30"\n"sub-02","40"\n', "utf-8"),
        ('"participant_id"\t"age"\n"sub-01"\t"30"\n', "utf-16"),
        ("participant_id\tage\n01 \t30\n01\t31\n", "utf-8"),
    ],
)
def test_a_participants_table_as_people_have_it(tmp_path: Path, text: str, encoding: str) -> None:
    """Tables from spreadsheets: https://github.com/nipreps/nibabies/issues/388, …/issues/62, bids-examples 446."""
    (tmp_path / "participants.tsv").write_bytes(text.encode(encoding))
    merged = merged_participants(tmp_path / "out" / "participants.tsv", tmp_path, ["01"])
    assert merged == "participant_id\tage\nsub-01\t30\n"


def test_numbers_of_a_table_are_matched_only_where_there_is_one(tmp_path: Path) -> None:
    """Ids 1, 2, 3 for sub-01 … (bids-examples 446): never where sub-1 and sub-01 are two people."""
    (tmp_path / "participants.tsv").write_text("participant_id\tage\n1\t30\n")
    merged = merged_participants(tmp_path / "out" / "participants.tsv", tmp_path, ["01", "001"])
    assert merged == "participant_id\tage\nsub-001\tn/a\nsub-01\tn/a\n"


def test_an_mp2rage_that_is_not_read_is_said(make_tree: MakeTree, low: Sidecar, high: Sidecar) -> None:
    """UNIT1 beside its inversions, unused: https://github.com/bids-standard/bids-specification/issues/1890."""
    tree = {"01/A/T1w": low, "01/B/UNIT1": high, "01/B/inv-1_MP2RAGE": high, "01/B/inv-2_MP2RAGE": high}
    plan = make_plan(make_tree(tree))
    assert not plan.sessions[0].paired
    assert [w for w in plan.warnings if w.startswith("3 images of an MP2RAGE (sub-01_ses-B_UNIT1.nii.gz")]


@pytest.mark.parametrize(
    "name",
    [
        "acq-cor_T1w_heudiconv057a.nii.gz",  # https://github.com/nipy/heudiconv/issues/520, …/issues/694
        "acq-cor_T1w__dup-01.nii.gz",  # https://github.com/nipy/heudiconv/issues/740
        "acq-cor_t1w.nii.gz",  # https://github.com/MICA-MNI/micapipe/issues/61
        "acq-cor_T1W.nii.gz",
        "acq-cor_T1w.NII.GZ",  # https://github.com/bids-standard/bids-validator/issues/47
        "T1w_acq-cor.nii.gz",
        "acq-cor_T1w (1).nii.gz",
        "acq-cor_T1.nii",
        "acq-cor_T1w.mgz",
    ],
)
def test_names_that_look_like_a_scan_s_are_said(make_tree: MakeTree, low: Sidecar, high: Sidecar, name: str) -> None:
    """What a converter or a person named otherwise was silently unread: reports beside the names."""
    root = make_tree({"01/A/acq-axi_T1w": low, "01/B/T1w": high})
    odd = root / "sub-01" / "ses-A" / "anat" / f"sub-01_ses-A_{name}"
    odd.touch()
    for plan in (make_plan(root), plan_simulation(root)):
        assert len([sentence for sentence in plan.warnings if odd.name in sentence]) == 1
    (root / ".bidsignore").write_text(odd.name.replace("(", "[(]").replace(")", "[)]"))
    assert make_plan(root).warnings == ()


@pytest.mark.parametrize(
    "name", ["._sub-01_ses-A_acq-axi_T1w.nii.gz", ".DS_Store", "sub-01_ses-A_mod-T1w_defacemask.nii.gz", "x_T1map.nii"]
)
def test_what_is_no_scan_is_left_alone(make_tree: MakeTree, low: Sidecar, tmp_path: Path, name: str) -> None:
    """AppleDouble files taken for images: https://github.com/nipreps/mriqc/issues/682, OpenNeuro 2520."""
    root = make_tree({"01/A/acq-axi_T1w": low})
    (root / "sub-01" / "ses-A" / "anat" / name).write_bytes(b"\0\5\x16\7")
    (root / "._sub-01").touch()
    for plan in (make_plan(root), make_plan(root, database_dir=tmp_path / "db")):
        assert [scan.name for scan in plan.sessions[0].stacks] == ["acq-axi_T1w"]
        assert plan.warnings == ()


@pytest.mark.parametrize("odd", ["Sub-02", "sub_02", "sub-01/Anat", "sub-01/ses-A/ANAT", "sub-01/ses-A/anat/anat"])
def test_folders_spelled_otherwise_are_said(make_tree: MakeTree, low: Sidecar, odd: str) -> None:
    """A datatype's folder in capitals: https://github.com/bids-standard/legacy-validator/issues/804."""
    root = make_tree({"01/A/T1w": low})
    (root / odd).mkdir(parents=True)
    (sentence,) = make_plan(root).warnings
    assert sentence.startswith(f"{odd} was left out")


def test_the_wrong_level_of_the_tree_is_put_right(make_tree: MakeTree, low: Sidecar, tmp_path: Path) -> None:
    """No subject found, and not a word where they are: https://github.com/nipreps/fmriprep/issues/1840, …/2100."""
    root = make_tree({"01/A/T1w": low})
    for given in (root.parent, root / "sub-01"):
        with refused("no-subjects", path=given) as caught:
            make_plan(given)
        assert str(root) in str(caught.value)
    (tmp_path / "empty").mkdir()
    with refused("no-subjects"):
        make_plan(tmp_path / "empty")


def test_linked_folders_and_links_to_nothing(make_tree: MakeTree, low: Sidecar, high: Sidecar, tmp_path: Path) -> None:
    """A virtual dataset of links (https://github.com/bids-standard/pybids/issues/1086), under a folder with a dot
    (…/issues/130), and sidecars of others that were not fetched (…/issues/631).
    """
    root = make_tree({"01/A/acq-axi_T1w": low, "01/B/T1w": high, "02/A/T1w": low})
    virtual = tmp_path / ".tmp" / "virtual"
    virtual.mkdir(parents=True)
    (virtual / "dataset_description.json").symlink_to(root / "dataset_description.json")
    (virtual / "sub-01").symlink_to(root / "sub-01")
    (virtual / "sub-03" / "ses-A").parent.mkdir()
    (virtual / "sub-03" / "ses-A").symlink_to(root / "sub-02" / "ses-A")
    (virtual / "task-rest_bold.json").symlink_to(tmp_path / "nowhere")
    for plan in (make_plan(virtual, ["01"]), make_plan(virtual, ["01"], database_dir=tmp_path / "db")):
        assert [(one.name, one.paired) for one in plan.sessions] == [("sub-01_ses-A", True)]
        assert plan.warnings == ()
    (sidecar,) = (root / "sub-02").rglob("*.json")
    sidecar.unlink()
    sidecar.symlink_to(tmp_path / "nowhere")
    assert [subject for subject, _ in make_plan(root).failed] == ["02"]
    assert not make_plan(root, ["01"]).failed


def test_dates_are_found_where_the_table_has_another_extension(
    make_tree: MakeTree, low: Sidecar, high: Sidecar
) -> None:
    """scans.tsv lists .nii.gz, the files are .nii: https://github.com/nipy/heudiconv/issues/576."""
    tree = {"01/A/T1w.nii": low, "01/B/T1w.nii": high, "01/C/T1w.nii": high}
    root = make_tree(tree)
    for session, day in (("A", "2020-03-01"), ("B", "2019-01-01"), ("C", "2020-03-02")):
        text = f"filename\tacq_time\nanat/sub-01_ses-{session}_T1w.nii.gz\t{day}T10:00:00\n"
        (root / "sub-01" / f"ses-{session}" / f"sub-01_ses-{session}_scans.tsv").write_text(text)
    (session,) = make_plan(root, filters={"lf": {"session": "A"}}).sessions
    assert session.reference_session == "C"


@pytest.mark.parametrize("table", ["", "\n", "session_id\n", "acq_time\n2020-01-01\n"])
def test_an_empty_table_of_sessions_stops_nothing(make_tree: MakeTree, low: Sidecar, high: Sidecar, table: str) -> None:
    """An empty sessions.tsv made an import crash: https://github.com/fli-iam/shanoir-ng/pull/2576."""
    root = make_tree({"01/A/T1w": low, "01/B/T1w": high, "01/C/T1w": high})
    (root / "sub-01" / "sub-01_sessions.tsv").write_text(table)
    (root / "sub-01" / "ses-A" / "sub-01_ses-A_scans.tsv").write_text(table)
    assert make_plan(root).sessions[0].paired


def test_metadata_in_the_layers_of_dcmstack_is_no_field_strength(make_tree: MakeTree, low: Sidecar) -> None:
    """Keys inside global/const: https://github.com/nipy/heudiconv/issues/90. One subject fails, in a sentence."""
    plan = make_plan(make_tree({"01/A/T1w": {"global": {"const": low}}, "02/A/T1w": low}))
    assert [session.name for session in plan.sessions] == ["sub-02_ses-A"]
    assert "--assume-field-strength" in dict(plan.failed)["01"]
