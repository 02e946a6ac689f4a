"""Regions and volumes that a session leaves on disk, and what is said of those that the field of view cuts."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_lfenhance.bids.names import sidecar_path
from bids_lfenhance.derivatives.layout import reference_layout, session_layout
from bids_lfenhance.derivatives.reference import write_reference
from bids_lfenhance.derivatives.session import write_session
from bids_lfenhance.derivatives.volumes import COLUMNS, volumes_path, write_volumes

from .contents import REGION_LABELS, REGION_ROWS, SHAPE, content, write_all
from .sessions import KINDS, make_session


@pytest.mark.parametrize(("who", "label"), [("builtin", "regions"), ("synthseg", "synthseg")])
def test_regions_are_written_with_who_found_them(raw, spec, rng, who, label):
    record, spec = make_session(raw), replace(spec, segmentation=who)
    write_all(record, spec, rng)
    for files, key in (
        (session_layout(record, spec), "regions/T1w"),
        (session_layout(record, spec), "enhanced_regions/T2w"),
        (reference_layout(record, spec), "regions/T1w"),
    ):
        path = files[key]
        assert f"_seg-{label}_" in path.name
        np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), REGION_LABELS)
        about = json.loads(sidecar_path(path).read_text())
        assert who == "builtin" or about["SegmentedBy"] == "FreeSurfer mri_synthseg"
        assert {"confidence", "volume_soft_mm3", "Sources"} <= set(about)
        rows = path.with_name(path.name.replace(".nii.gz", ".tsv")).read_text().splitlines()
        assert rows[1].split("\t")[:5] == ["17", "left hippocampus", "720", "700.5", "0.9"]
        assert len(rows) == 2, "every row is a label"
        assert about["TotalIntracranial"]["volume_mm3"] == 1.5e6


@pytest.mark.parametrize("asked", ["auto", "learned"])
def test_the_sidecar_says_what_regions_were_found_in(raw, spec, rng, asked):
    record = make_session(raw)
    spec = replace(spec, segmentation="builtin", sloppy=False, method_settings={"target_contrast": asked})
    write_all(record, spec, rng)
    files = session_layout(record, spec)
    told = [json.loads(sidecar_path(files[f"enhanced_regions/{name}"]).read_text()) for name in ("T1w", "T2w")]
    assert ["SegmentationNote" in one for one in told] == [asked == "auto", False]


def test_nobody_finds_regions_where_nobody_was_asked(raw, spec):
    record, spec = make_session(raw), replace(spec, segmentation="none")
    assert not any("regions" in key for key in session_layout(record, spec))
    assert not any("regions" in key for key in reference_layout(record, spec))


@pytest.mark.parametrize("kind", KINDS)
def test_one_table_holds_all_volumes_of_a_subject(raw, spec, rng, kind):
    record, out = make_session(raw, kind), Path(spec.out_dir)
    write_all(record, spec, rng)
    table = pd.read_csv(write_volumes(out, "01"), sep="\t")
    assert volumes_path(out, "01").is_file()
    assert list(table.columns) == list(COLUMNS) == list(json.loads(sidecar_path(volumes_path(out, "01")).read_text()))
    fields = {0.0635: {"preproc", "inr"}} | ({3.0: {"preproc"}} if record.paired else {})
    assert {f: set(rows["image"]) for f, rows in table.groupby("field_strength")} == fields
    images = sum(len(images) for images in fields.values())
    segmented = images if record.paired else images - 1  # regions of low field itself only beside high field
    assert len(table) == 2 * (images + segmented * len(REGION_ROWS)), "one row of tissue, two of regions, two contrasts"
    hippocampus = table[table["name"] == "left hippocampus"]
    assert (hippocampus["volume_soft_mm3"] == 700.5).all()
    assert set(hippocampus["seg"]) == {"regions"}


def test_what_high_field_cuts_has_no_volume_in_either(raw, spec, rng):
    """Its field of view, and with it the brain mask of the session, ends in the middle of the brain."""
    record, given = make_session(raw), content(make_session(raw), rng)
    seen = np.ones(SHAPE, bool)
    seen[:, :, 4:] = False
    quality = given.quality | {"BrainShown": 0.5}
    volume = replace(given.acquired, stacks=())
    regions = given.regions, given.region_volumes
    write_reference(record, spec, volume, given.labels, given.volumes, {}, quality, *regions, seen=seen)
    write_session(record, spec, replace(given, quality=quality, reference_seen=seen))
    own, high = session_layout(record, spec), reference_layout(record, spec)
    tables = [own["tissue_table/T1w"], own["enhanced_regions_table/T1w"]]
    tables += [high["tissue_table/T1w"], high["regions_table/T1w"]]
    assert [table.read_text().splitlines()[1].split("\t")[2] for table in tables] == ["n/a"] * 4
    about = json.loads(sidecar_path(own["enhanced/T1w"]).read_text())
    assert about["Usable"]["look"] != "yes"
    assert any("field of view of high field 50 %" in reason for reason in about["UsableReasons"])


def test_what_the_scans_cut_has_no_volume_and_the_record_says_how_much_they_show(raw, spec, rng):
    """The upper half of the brain is beyond both T1w stacks; those of the T2w show all of it."""
    record, given = make_session(raw), content(make_session(raw), rng)
    stacks = [replace(s, data=s.data[:, :, :4]) if s.contrast == "T1w" else s for s in given.acquired.stacks]
    write_session(record, spec, replace(given, acquired=replace(given.acquired, stacks=tuple(stacks))))
    files = session_layout(record, spec)
    for contrast, volume in (("T1w", "n/a"), ("T2w", "10")):
        for key in ("tissue_table", "enhanced_tissue_table"):
            assert files[f"{key}/{contrast}"].read_text().splitlines()[1].split("\t")[2] == volume
    told = json.loads(files["qc"].read_text())
    assert told["Coverage"]["T1w"] == {
        "Brain": 0.5,
        "OnFaceCm2": 0.16,
        "Cut": ["left hippocampus", "total intracranial"],
    }
    assert told["Coverage"]["T2w"] == {"Brain": 1.0, "OnFaceCm2": 0.0, "Cut": []}
    assert {scan["Contrast"]: scan["Coverage"] for scan in told["Scans"]} == {"T1w": 0.5, "T2w": 1.0}
    usable = json.loads(sidecar_path(files["enhanced/T1w"]).read_text())["Usable"]
    assert usable["measure"] == "no"


@pytest.mark.parametrize("trusted", [True, False])
def test_a_volume_has_its_expected_error_where_that_was_measured(raw, spec, rng, trusted):
    record, spec = make_session(raw), replace(spec, sloppy=not trusted)
    write_all(record, spec, rng)
    files = session_layout(record, spec)
    keys = ("regions", "enhanced_regions")
    low, enhanced = (pd.read_csv(files[f"{key}_table/T1w"], sep="\t").set_index("name") for key in keys)
    high = pd.read_csv(reference_layout(record, spec)["regions_table/T1w"], sep="\t")
    mm3, percent = (enhanced.loc["left hippocampus", f"volume_error_{unit}"] for unit in ("mm3", "percent"))
    assert np.isfinite(mm3) == trusted
    assert not trusted or percent == pytest.approx(100 * mm3 / 720, rel=1e-4)
    for table in (low, high, enhanced.drop("left hippocampus")):
        assert table["volume_error_mm3"].isna().all(), "of high field, of low field, of what has no posteriors"
