"""The group level on made-up cohorts: what it finds, what it says is missing, what it leaves."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from bids import BIDSLayout

from bids_lfenhance.config import GroupSettings
from bids_lfenhance.derivatives.volumes import COLUMNS
from bids_lfenhance.reports.group_dictionary import TABLES
from bids_lfenhance.reports.group_figures import _metric_plot
from bids_lfenhance.reports.svg import FAINT
from bids_lfenhance.workflows.group import run_group
from tests.refusals import refused

from .fake_cohort import BIAS_SHARE, DICE, LOW_SHARE, PSNR_GAIN, TISSUES, Cohort, build
from .group_reader import Tables, read, record

SUBJECTS = 9


def report(root: Path, drawn: bool = False, **options):
    """A run; figures, which take most of the time, only where they are asked for."""
    with pytest.MonkeyPatch.context() as patch:
        if not drawn:
            patch.setattr("bids_lfenhance.workflows.group.group_figures", lambda cohort, tables: [])
        return run_group(GroupSettings(root / "raw", root / "derivative", **options))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("cohort") / "it"
    build(root, Cohort(subjects=SUBJECTS, methods=("inr", "interp"), segmentations=("tissue", "regions")))
    (root / "derivative" / "sub-002").joinpath("ses-HFC/anat").joinpath(
        "sub-002_ses-HFC_space-GE_res-1mm_desc-interp_T2w.nii.gz"
    ).unlink()
    return root, report(root, drawn=True), (root / "derivative" / "group.html").read_text()


def test_quality_control_shows_the_worst_scan(made):
    root, _, page = made
    heads, rows = Tables(page).named("Look")
    assert len(rows) == 2 * SUBJECTS
    assert {row[heads.index("Look")].text for row in rows} <= {"yes", "check", "no"}
    for row in rows:
        cell = dict(zip(heads, row, strict=True))
        name, session = cell["Subject"][0], cell["Session"][0]
        told = record(root / "derivative", name, session)
        for title, key, worst in (
            ("SNR", "SNR", min),
            ("Rotation, °", "RotationDeg", max),
            ("Shift, mm", "TranslationMm", max),
        ):
            assert float(cell[title][1]) == pytest.approx(worst(scan[key] for scan in told["Scans"]))
        shares = [
            json.loads(path.read_text())["FractionAbove"]
            for path in (root / "derivative" / name / f"ses-{session}" / "anat").glob("*Risk_*.json")
        ]
        risk = max(shares) * told["Anatomy"]["MaskVolumeMl"]
        assert float(cell["Risk volume, mL"][1]) == pytest.approx(risk)
        assert float(cell["Confidence"][1]) == pytest.approx(0.7 + 0.2 * np.cos(32), abs=1e-4)


def test_what_was_planted_is_found(made):
    root = made[0] / "derivative" / "group"
    keys = ("contrast", "session_id", "name", "image", "measure")
    rows = {tuple(row[key] for key in keys): row for row in read(root / "volumes.tsv")}
    low, enhanced = (rows["T1w", "all", "WM", image, "volume_mm3"] for image in ("preproc", "inr"))
    assert float(low["difference_percent_mean"]) == pytest.approx(100 * (LOW_SHARE - 1), abs=1)
    assert float(enhanced["bias"]) == pytest.approx(BIAS_SHARE * TISSUES["WM"], abs=0.006 * TISSUES["WM"])
    assert float(low["bias_high"]) < 0
    assert float(enhanced["icc"]) > 0.9 > float(low["icc"])
    gains = [
        r
        for r in read(root / "metrics.tsv")
        if (r["protocol"], r["metric"], r["session_id"]) == ("brain-fit", "psnr", "all")
    ]
    for row in gains:
        if row["image"] == "inr":
            assert float(row["difference_mean"]) == pytest.approx(PSNR_GAIN, abs=0.2)
            assert float(row["p_holm"]) < 0.05
        elif row["image"] == "interp":
            assert float(row["p_holm"]) > 0.05


def test_a_missing_image_is_a_row_and_no_figure(made):
    root, outcome, page = made
    assert outcome.exit_code == 1
    assert outcome.incomplete == ("002",)
    (row,) = [r for r in read(root / "derivative" / "group" / "images.tsv") if r["status"] != "complete"]
    assert (row["participant_id"], row["session_id"]) == ("sub-002", "ses-HFC")
    assert (row["contrast"], row["image"]) == ("T2w", "interp")
    assert row["status"] == "half-written"  # its sidecar is there
    (line,) = Tables(page).named("Detail")[1]
    assert line[0][0] == "sub-002"
    n = {
        (r["image"], r["session_id"]): r["n"]
        for r in read(root / "derivative" / "group" / "metrics.tsv")
        if (r["contrast"], r["metric"], r["protocol"]) == ("T2w", "psnr", "brain-fit")
    }
    assert n["interp", "ses-HFC"] == str(SUBJECTS - 1)
    assert n["inr", "ses-HFC"] == n["interp", "all"] == str(SUBJECTS)


def test_every_table_has_its_dictionary_and_the_page_stands_alone(made):
    root, _, page = made
    folder = root / "derivative" / "group"
    for name, columns in TABLES.items():
        told = json.loads((folder / f"{name}.json").read_text())
        rows = read(folder / f"{name}.tsv")
        assert list(rows[0]) == list(columns) == list(told)
        assert all(entry["Description"] for entry in told.values())
    addresses = re.findall(r"(?:src|href)=\"([^\"]+)\"", page)
    assert [a for a in addresses if not re.match(r"#|data:|sub-\d+\.html$", a)] == []
    for figure in ("metrics", "bland-altman_T1w", "retest_T1w"):
        picture = ElementTree.fromstring((folder / "figures" / f"{figure}.svg").read_text())
        assert "sub-003" in "".join(picture.itertext()), "a dot says whose it is"
    assert "group" in (root / "derivative" / ".bidsignore").read_text().splitlines()
    assert not list(folder.rglob(".tmp-*"))


def test_pybids_finds_sessions_and_segmentations_beside_the_tables(made):
    """A column named like an entity would be taken for one of its values, of every file."""
    layout = BIDSLayout(made[0] / "derivative", config=["bids", "derivatives"], validate=False)
    assert set(layout.get_sessions(subject="001")) == {"HFC", "HFE", "GE"}
    assert set(layout.get_segmentations()) == {"tissue", "regions"}
    entities = {*layout.get_entities(metadata=False), "resolution", "density"}  # of other versions
    entities |= {f"{name}s" for name in entities}  # get_sessions
    assert not [(name, column) for name, columns in TABLES.items() for column in columns if column in entities]
    assert entities.isdisjoint(COLUMNS)


def test_planted_dice_is_found_and_tested(made):
    rows = read(made[0] / "derivative" / "group" / "overlap.tsv")
    both = [r for r in rows if (r["seg"], r["session_id"], r["contrast"]) == ("regions", "all", "T1w")]
    for row in both:
        if row["image"] == "inr":
            assert float(row["difference_mean"]) == pytest.approx(DICE[1] - DICE[0], abs=0.05)
    sided = [r for r in both if r["name"].startswith(("left ", "right "))]
    assert len(sided) == 3 * 28
    assert all(float(r["p_holm"]) >= float(r["p"]) for r in both if r["image"] != "preproc")


@pytest.mark.parametrize("segmentations", [(), ("tissue",), ("regions",), ("synthseg",)])
def test_any_segmentation_alone_or_none_makes_a_page(tmp_path, segmentations):
    build(tmp_path, Cohort(subjects=3, contrasts=("T1w",), segmentations=segmentations))
    folder = tmp_path / "derivative" / "group" / "figures"
    folder.mkdir(parents=True)
    for name in ("mine", "structures_FLAIR"):
        (folder / f"{name}.svg").write_text("")
    outcome = report(tmp_path, drawn=True)
    page = outcome.page.read_text()
    assert outcome.exit_code == 0
    assert ("Dice is not in this derivative" in page) is not segmentations
    figures = {path.stem for path in folder.glob("*.svg")} - {"mine"}
    assert (folder / "mine.svg").is_file(), "what an earlier run drew goes, and nothing else"
    assert figures == {"metrics"} | ({"structures_T1w", "bland-altman_T1w", "retest_T1w"} if segmentations else set())
    heads = Tables(page).heads[0]
    assert ("Dice, deep" in heads) is (segmentations not in ((), ("tissue",)))
    assert ("Dice" in heads) is bool(segmentations)


def test_an_image_without_the_regions_that_others_have_is_a_row_that_says_so(tmp_path):
    _, out = build(
        tmp_path, Cohort(subjects=3, sessions=("A",), contrasts=("T1w",), segmentations=("tissue", "regions"))
    )
    for path in out.glob("sub-002/ses-A/anat/*_seg-regions_*_desc-inrT1w_dseg.*"):
        path.unlink()
    outcome = report(tmp_path)
    assert (outcome.exit_code, outcome.incomplete) == (1, ("002",))
    (row,) = [r for r in read(out / "group" / "images.tsv") if r["status"] != "complete"]
    assert (row["image"], row["status"], row["seg_found"]) == ("inr", "no volumes", "tissue")
    assert "seg-regions" in row["detail"]
    n = {(r["image"], r["seg"]): r["n"] for r in read(out / "group" / "volumes.tsv")}
    assert n == {
        ("preproc", "regions"): "3",
        ("inr", "regions"): "2",
        ("preproc", "tissue"): "3",
        ("inr", "tissue"): "3",
    }


def test_a_sloppy_session_is_named_and_its_missing_regions_are_no_fault(tmp_path):
    _, out = build(
        tmp_path, Cohort(subjects=3, sessions=("A",), contrasts=("T1w",), segmentations=("tissue", "regions"))
    )
    for path in out.glob("sub-002/ses-A/anat/*_seg-regions_*"):
        path.unlink()
    (sidecar,) = out.glob("sub-002/ses-A/anat/*_desc-inr_T1w.json")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"Sloppy": True}))
    outcome = report(tmp_path)
    assert (outcome.exit_code, outcome.incomplete) == (0, ())
    (sentence,) = [one for one in outcome.problems if "--sloppy" in one]
    assert "1 session made with --sloppy" in sentence
    assert "sub-002" in sentence
    assert "--sloppy" in (out / "group.html").read_text()


def test_two_segmentations_of_regions_are_not_mixed(tmp_path):
    _, out = build(tmp_path, Cohort(subjects=3, sessions=("A",), contrasts=("T1w",), segmentations=("regions",)))
    for path in sorted(out.glob("sub-003/ses-*/anat/*_seg-regions_*")):
        path.rename(path.with_name(path.name.replace("seg-regions", "seg-synthseg")))
    table = next(out.glob("sub-003/ses-A/anat/*_qc.tsv"))
    table.write_text(table.read_text().replace("seg-regions", "seg-synthseg"))
    report(tmp_path)
    n = {r["seg"]: r["n"] for r in read(out / "group" / "overlap.tsv")}
    assert n == {"regions": "2", "synthseg": "1"}
    assert {r["seg"]: r["n"] for r in read(out / "group" / "volumes.tsv")} == n


@pytest.mark.parametrize("subjects", [0, 1, 2])
def test_few_subjects_make_a_page_that_says_what_is_missing(tmp_path, subjects):
    build(tmp_path, Cohort(subjects=subjects, sessions=("A",), contrasts=("T1w",)))
    outcome = report(tmp_path, drawn=subjects == 1)
    page = outcome.page.read_text()
    assert outcome.exit_code == (0 if subjects else 1)
    assert ("There is no subject in this derivative" in page) is (subjects == 0)
    assert "No subject has two low-field sessions" in page
    if subjects:
        assert f"n = {subjects}" in page
        assert "too few for a test" in page
        assert "Nothing is drawn" in page
        assert not list((tmp_path / "derivative" / "group" / "figures").glob("*"))
        assert not re.search(r">[^<]*\bnan\b|\"nan\"", page.partition("<script>")[0])


def test_a_derivative_without_high_field_says_so(tmp_path):
    build(tmp_path, Cohort(subjects=3, reference=None, contrasts=("T1w",)))
    outcome = report(tmp_path)
    page = outcome.page.read_text()
    assert outcome.exit_code == 0
    assert "There are no metrics" in page
    assert "Volumes over the sessions" in page
    assert "Dice is not in this derivative" in page
    assert Tables(page).named("Within-subject CV, %")[1]


def test_half_finished_subjects_are_named(tmp_path):
    build(tmp_path, Cohort(subjects=4, sessions=("A",), contrasts=("T1w",)))
    out = tmp_path / "derivative"
    (out / "sub-009").mkdir()
    next(out.glob("sub-002/ses-A/anat/*_desc-inr_qc.tsv")).unlink()  # not one metric of this subject
    image = next(out.glob("sub-003/ses-A/anat/*_desc-inr_T1w.nii.gz"))
    image.write_bytes(image.read_bytes()[:-9])
    next(out.glob("sub-001/ses-GE/anat/*_desc-preproc_T1w.nii.gz")).write_bytes(b"")
    next(out.glob("sub-004/ses-A/anat/*_desc-preproc_qc.json")).write_text('{"Scans": [3, null], "Anato')
    outcome = report(tmp_path, drawn=True)
    found = {(r["participant_id"], r["status"]) for r in read(out / "group" / "images.tsv")}
    assert {("sub-009", "missing"), ("sub-002", "no metrics"), ("sub-003", "half-written")} <= found
    assert set(outcome.incomplete) >= {"001", "002", "003", "009"}
    rows = [r for r in read(out / "group" / "volumes.tsv") if r["measure"] == "volume_mm3"]
    counted = {(r["image"], r["n"]) for r in rows}
    assert counted == {("preproc", "2"), ("inr", "1")}, "what is not whole, or has no record, counts in no figure"
    usable = {r["participant_id"]: (r["look"], r["measure"]) for r in read(out / "group" / "quality.tsv")}
    assert usable["sub-003"] == ("no", "no"), "half of an image is of no use"
    assert usable["sub-001"][0] == usable["sub-002"][0] == "yes"


def test_a_session_of_which_no_image_could_be_made_has_its_row(tmp_path):
    _, out = build(tmp_path, Cohort(subjects=2, sessions=("A",), contrasts=("T1w",)))
    anat = out / "sub-003" / "ses-A" / "anat"
    anat.mkdir(parents=True)
    record = {"Failure": "a.nii.gz shows no head", "Scans": [{"File": "a.nii.gz", "Contrast": "T1w"}], "Method": "inr"}
    (anat / "sub-003_ses-A_desc-preproc_qc.json").write_text(json.dumps(record))
    page = report(tmp_path).page.read_text()
    row = {r["participant_id"]: r for r in read(out / "group" / "quality.tsv")}["sub-003"]
    assert (row["look"], row["segment"], row["measure"]) == ("no", "no", "no")
    assert row["reasons"] == "no: a.nii.gz shows no head"
    images = {(r["participant_id"], r["image"]): r["look"] for r in read(out / "group" / "images.tsv")}
    assert (images["sub-003", "inr"], images["sub-001", "inr"], images["sub-001", "preproc"]) == ("no", "yes", "n/a")
    assert re.search(r"Images usable to look at</dt><dd>2 <span[^>]*>yes</span>, 1 <span[^>]*>no", page)


def test_a_session_without_its_record_is_not_complete(tmp_path):
    _, out = build(tmp_path, Cohort(subjects=2, sessions=("A",), contrasts=("T1w",)))
    assert report(tmp_path).exit_code == 0
    next(out.glob("sub-002/ses-A/anat/*_desc-preproc_qc.json")).unlink()
    assert report(tmp_path).incomplete == ("002",)


def test_a_subject_that_has_only_a_page_is_incomplete(tmp_path):
    """As the participant level leaves one that it could not begin with."""
    _, out = build(tmp_path, Cohort(subjects=2, sessions=("A",), contrasts=("T1w",)))
    (out / "sub-003.html").write_text("<p>two scans of one name</p>")
    outcome = report(tmp_path)
    assert (outcome.incomplete, outcome.exit_code) == (("003",), 1)


def test_a_subject_whose_folder_may_not_be_read_is_named_and_stops_no_other(tmp_path, monkeypatch):
    raw, out = build(tmp_path, Cohort(subjects=3, sessions=("A",), contrasts=("T1w",)))
    (raw / "sub-002").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: path != out / "sub-002")
    is_dir = Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda self: 1 / 0 if (out / "sub-002") in self.parents else is_dir(self))
    outcome = report(tmp_path)
    assert (outcome.exit_code, outcome.incomplete) == (1, ("002",))
    assert any(str(out / "sub-002") in sentence for sentence in outcome.problems)


def test_who_left_the_dataset_is_left_out_and_named(tmp_path):
    raw, out = build(tmp_path, Cohort(subjects=3, sessions=("A", "B"), contrasts=("T1w",)))
    rows = lambda: {(r["participant_id"], r["session_id"]) for r in read(out / "group" / "quality.tsv")}  # noqa: E731
    everything = {(f"sub-00{n}", f"ses-{s}") for n in (1, 2, 3) for s in "AB"}
    report(tmp_path)
    assert rows() == everything, "a dataset without images was archived"
    for one, session in (("001", "A"), ("001", "B"), ("002", "A"), ("002", "C")):
        (raw / f"sub-{one}" / f"ses-{session}" / "anat").mkdir(parents=True)
    outcome = report(tmp_path)
    assert rows() == {("sub-001", "ses-A"), ("sub-001", "ses-B"), ("sub-002", "ses-A")}
    (sentence,) = [sentence for sentence in outcome.problems if "left out" in sentence]
    assert "sub-002/ses-B" in sentence
    assert sentence.count("sub-003") == 1
    with refused("unknown-subject"):
        report(tmp_path, participant_label=("003",))
    (raw / "sub-001" / "ses-A" / "anat").rename(raw / "sub-001" / "anat")
    (raw / "sub-001" / "ses-A").rmdir()
    (raw / "sub-001" / "ses-B" / "anat").rmdir()
    (raw / "sub-001" / "ses-B").rmdir()
    report(tmp_path)
    assert rows() == {("sub-002", "ses-A")}, "it has no sessions any more"


def test_a_session_that_is_nowhere_is_refused_and_the_report_stays(tmp_path):
    build(tmp_path, Cohort(subjects=2, sessions=("A",), contrasts=("T1w",)))
    page = report(tmp_path).page
    before = page.read_bytes()
    for nowhere in ("NOPE", "GE"):
        with refused("unknown-session", sessions=[nowhere]):
            report(tmp_path, session_label=(nowhere,))
    assert page.read_bytes() == before


def test_a_derivative_with_all_of_the_group_level_is_valid(tmp_path):
    if not (validator := shutil.which("bids-validator-deno")):
        pytest.skip("bids-validator-deno is not installed")
    _, out = build(tmp_path, Cohort(subjects=2, contrasts=("T1w",), segmentations=("tissue", "regions")))
    report(tmp_path, drawn=True)
    done = subprocess.run([validator, "--format", "json", str(out)], capture_output=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    assert (out / "group" / "overlap.tsv").is_file()


def test_a_subject_without_high_field_is_no_line_in_the_figure():
    """Nor one with a single image: as the SLURM recipe showed, which runs both beside each other."""
    nothing = float("nan")
    table = np.array([[20.0, nothing, 21.0], [22.0, nothing, nothing]])
    drawn = "".join(_metric_plot((0, 0, 100, 100), table, ["01", "02", "03"]).drawn)
    (grey,) = re.findall(f'<path d="([^"]+)"[^>]*stroke="{FAINT}"', drawn)
    assert grey.count("M") == grey.count("L") == 1
    assert re.findall("<title>(sub-..)", drawn) == ["sub-01", "sub-03", "sub-01"]


def test_words_of_the_dataset_are_escaped(tmp_path):
    bad = "<script>alert(1)</script>&\"'"
    raw, out = build(tmp_path, Cohort(subjects=2, sessions=("A",), contrasts=("T1w",), name=bad))
    for folder in (raw, out):
        text = (folder / "participants.tsv").read_text()
        (folder / "participants.tsv").write_text(text.replace("\tM\n", f"\t{bad}\n"))
    for path in out.glob("sub-*/ses-*/anat/*_dseg.tsv"):
        path.write_text(path.read_text().replace("CSF", bad))
    page = report(tmp_path).page.read_text()
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 3


def test_subjects_and_sessions_can_be_chosen(tmp_path):
    build(tmp_path, Cohort(subjects=3, contrasts=("T1w",)))
    report(tmp_path, participant_label=("sub-001", "003"), session_label=("ses-HFC",))
    rows = read(tmp_path / "derivative" / "group" / "quality.tsv")
    assert [(r["participant_id"], r["session_id"]) for r in rows] == [("sub-001", "ses-HFC"), ("sub-003", "ses-HFC")]
