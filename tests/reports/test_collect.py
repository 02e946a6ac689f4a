"""What is on disk is found by name, and what should be there and is not is named."""

import json
from pathlib import Path

import numpy as np
import pytest

from bids_lfenhance.reports.collect import collect, list_outputs, load, read_run

from .fake_derivative import Recipe, build, phantom

SMALL = (24, 28, 24)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return build(tmp_path, phantom(SMALL), Recipe())


def test_everything_of_a_session_is_found(derivative: Path):
    found = collect(derivative, "01")
    assert [session.name for session in found.sessions] == ["HFC", "HFE"]
    session = found.sessions[0]
    assert session.missing == ()
    assert session.labels == ("inr",)
    assert [channel.contrast for channel in session.channels] == ["T1w", "T2w"]
    for channel in session.channels:
        assert channel.low is not None
        assert channel.low.sidecar["MagneticFieldStrength"] == 0.0635
        assert channel.high is not None
        assert channel.high.entities["ses"] == "GE"
        assert (set(channel.enhanced), set(channel.std), set(channel.risk)) == ({"inr"}, {"inr"}, {"inr"})
        assert set(channel.tissue) == {"preproc", "inr"}
        assert channel.tissue_high is not None


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("*desc-inr_T1w.nii.gz", "the enhanced image"),
        ("*desc-inrRisk_T2w.nii.gz", "the risk map"),
        ("*desc-inrStd_T1w.nii.gz", "the standard deviation"),
        ("*desc-brain_mask.nii.gz", "the brain mask"),
        ("*desc-preprocT1w_dseg.nii.gz", "tissue of the low field"),
        ("*desc-inr_qc.tsv", "metrics against high field"),
        ("*desc-preproc_qc.json", "the record of the scans"),
    ],
)
def test_a_missing_file_is_named(small: Path, pattern: str, words: str):
    next((small / "sub-01" / "ses-HFC").glob(f"anat/{pattern}")).unlink()
    session = next(session for session in collect(small, "01").sessions if session.name == "HFC")
    assert any(words in sentence for sentence in session.missing)


def test_a_file_that_was_never_asked_for_is_not_missing(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), Recipe(draws=1, reference=None, contrasts=("T1w",), methods=("interp",)))
    (session,) = collect(out, "01").sessions
    assert session.missing == ()
    assert session.reference is None
    assert session.channels[0].high is None


def test_a_dataset_without_sessions_keeps_low_and_high_field_apart(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), Recipe())
    flat = out / "sub-01" / "anat"
    flat.mkdir()
    for path in sorted(out.glob("sub-01/ses-*/anat/*")):
        path.rename(flat / path.name.replace("_ses-HFC", "").replace("_ses-GE", ""))
    record = flat / "sub-01_desc-preproc_qc.json"
    content = json.loads(record.read_text())
    content["Reference"]["Session"] = None
    record.write_text(json.dumps(content))
    (session,) = collect(out, "01").sessions
    assert session.name is None
    low, high = session.channels[0].low, session.channels[0].high
    assert low is not None
    assert high is not None
    assert (low.entities.get("space"), high.entities.get("space")) == ("GE", None)


def test_low_and_high_field_of_one_session_are_kept_apart(tmp_path: Path):
    out = build(tmp_path, phantom(SMALL), Recipe())
    anat = out / "sub-01" / "ses-HFC" / "anat"
    for path in sorted((out / "sub-01" / "ses-GE" / "anat").iterdir()):
        path.rename(anat / path.name.replace("_ses-GE", "_ses-HFC"))
    record = anat / "sub-01_ses-HFC_desc-preproc_qc.json"
    content = json.loads(record.read_text())
    content["Reference"]["Session"] = "HFC"
    record.write_text(json.dumps(content))
    (session,) = collect(out, "01").sessions
    assert session.missing == ()
    assert session.channels[0].high is not None
    assert session.channels[0].high.sidecar["MagneticFieldStrength"] == 3.0


def test_low_field_beside_the_reference_of_another_session_is_no_high_field(tmp_path: Path):
    """Visit 1 at both fields, visit 2 at low field alone, compared with visit 1's high field."""
    out = build(tmp_path, phantom(SMALL), Recipe(sessions=("V1", "V2"), reference="V1"))
    first, second = collect(out, "01").sessions
    for one, other in zip(first.channels, second.channels, strict=True):
        assert one.high == other.high
        assert one.tissue_high == other.tissue_high
        assert other.tissue_high is not None
        assert "space" not in other.tissue_high.output.entities


def test_high_field_of_another_contrast_beside_low_field_is_no_low_field(tmp_path: Path):
    """Visit 1 has low-field FLAIR and a 3 T T1w, which visit 2 is compared with."""
    out = build(tmp_path, phantom(SMALL), Recipe(sessions=("V2",), reference="V1", contrasts=("T1w",)))
    build(out, phantom(SMALL), Recipe(sessions=("V1",), reference=None, contrasts=("FLAIR",)))
    first, second = collect(out, "01").sessions
    assert (first.name, [channel.contrast for channel in first.channels]) == ("V1", ["FLAIR"])
    assert second.channels[0].high is not None


def test_template_spaces_are_left_alone(small: Path):
    anat = small / "sub-01" / "ses-HFC" / "anat"
    source = next(anat.glob("*desc-inr_T1w.nii.gz"))
    (anat / "sub-01_ses-HFC_space-MNI152NLin2009cAsym_res-1_desc-inr_T1w.nii.gz").write_bytes(source.read_bytes())
    session = collect(small, "01").sessions[0]
    assert session.channels[0].enhanced["inr"].path == source


def test_crashes_are_those_of_the_subject(small: Path):
    run = small / "logs" / "20261122-093000_abc123"
    (run / "crash-lfenhance_wf.sub_01_wf.session_HFC_wf.enhance-101010.txt").write_text("Node: x\n\nMemoryError: 01")
    (run / "crash-lfenhance_wf.sub_011_wf.session_HFC_wf.enhance-010101.txt").write_text("Node: of sub_01_wf's sibling")
    read = read_run(small, "01")
    assert read is not None
    assert [text for _, text in read.crashes] == ["Node: x\n\nMemoryError: 01"]


def test_odd_files_are_passed_over(small: Path):
    anat = small / "sub-01" / "ses-HFC" / "anat"
    (anat / "notes.txt").write_text("x")
    (anat / "sub-01_ses-HFC_desc-inr_T1w (copy).nii.gz").write_bytes(b"")
    next(anat.glob("*desc-inr_T1w.json")).write_text("{not json")
    (anat / "sub-01_ses-HFC_desc-inr_qc.tsv").write_bytes(b"\xff\xfe\x00")
    session = collect(small, "01").sessions[0]
    assert session.channels[0].enhanced["inr"].sidecar == {}
    assert session.metrics == ()
    assert all("copy" not in output.path.name for output in list_outputs(small / "sub-01"))


def test_images_are_read_in_ras(small: Path):
    import nibabel as nib

    path = next((small / "sub-01" / "ses-HFC" / "anat").glob("*desc-inr_T1w.nii.gz"))
    output = next(output for output in list_outputs(small / "sub-01") if output.path == path)
    straight, grid = load(output)
    flipped = nib.as_closest_canonical(nib.load(path)).as_reoriented(np.array([[0, -1], [1, 1], [2, 1]]))
    nib.save(flipped, path)
    again, grid_again = load(output)
    assert grid == grid_again
    np.testing.assert_array_equal(straight, again)
