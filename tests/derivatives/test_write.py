"""What a session leaves on disk: complete, valid BIDS, byte-equal on a rerun, and known to be missing when it is."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_lfenhance import __version__
from bids_lfenhance.bids.atomic import atomic_write
from bids_lfenhance.bids.dataset import write_dataset_files
from bids_lfenhance.bids.names import sidecar_path
from bids_lfenhance.derivatives import session as writer
from bids_lfenhance.derivatives.layout import is_complete, missing_outputs, reference_layout, session_layout
from bids_lfenhance.derivatives.reference import write_reference
from bids_lfenhance.derivatives.session import write_session
from bids_lfenhance.derivatives.volumes import write_volumes
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.spatial_normalisation import Displacement, write_displacement
from bids_lfenhance.segmentation.regions import label_table

from .contents import SHAPE, content, write_all
from .sessions import KINDS, make_session


@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_is_promised_is_written_and_nothing_else(raw, spec, rng, kind):
    record, out = make_session(raw, kind), Path(spec.out_dir)
    write_all(record, spec, rng)
    assert missing_outputs(record, spec) == []
    assert is_complete(record, spec)
    promised = [*session_layout(record, spec).values()]
    promised += reference_layout(record, spec).values() if record.paired else []
    promised += [sidecar_path(path) for path in promised if path.suffix in (".gz", ".tsv")]
    assert {path for path in out.rglob("*") if path.is_file()} == set(promised)


def validator_errors(folder: Path) -> list[dict]:
    beside_python = Path(sys.executable).with_name("bids-validator-deno")
    if not (program := shutil.which(beside_python) or shutil.which(beside_python.name)):
        pytest.skip("needs bids-validator-deno, which the extra [test] installs")
    done = subprocess.run([program, "--json", str(folder)], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    return [issue for issue in issues if issue["severity"] == "error"]


def test_the_validator_finds_no_error_whatever_the_session(raw, spec, rng):
    subjects = {f"{number:02d}": kind for number, kind in enumerate(KINDS, start=1)}
    (raw / "participants.tsv").write_text("participant_id\tage\n" + "".join(f"{label}\t30\n" for label in subjects))
    (raw / "participants.json").write_text('{"age": {"Description": "age", "Units": "year"}}')
    out = Path(spec.out_dir)
    tables = {"regions": label_table()}
    write_dataset_files(out, raw, {"inr": "A method."}, __version__, subjects=subjects, labels=tables)
    for subject, kind in subjects.items():
        write_all(make_session(raw, kind, subject), spec, rng)
        write_volumes(out, subject)
    for name in ("sub-01.html", "sub-01/figures/sub-01_desc-x_T1w.svg", "logs/run1/config.toml", "logs/CITATION.md"):
        atomic_write(out / name, "x")
    assert validator_errors(out) == []
    sidecar_path(session_layout(make_session(raw), spec)["preproc/T1w"]).unlink()
    assert validator_errors(out), "it does read the sidecars"


def test_images_carry_data_and_frame(raw, spec, rng):
    record = make_session(raw)
    given = write_all(record, spec, rng)
    files = session_layout(record, spec)
    image = nib.load(files["enhanced/T2w"])
    np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), given.enhanced.channel("T2w"))
    assert image.header["sform_code"] == image.header["qform_code"] == 2, "aligned to the high field"
    stack = nib.load(files["stack/sub-01_ses-HFC_T1w"])
    np.testing.assert_allclose(stack.affine, np.diag([1.0, 1, 5, 1]))


def test_the_transform_carries_stack_points_to_the_canonical_frame(raw, spec, rng):
    from nitransforms.io.itk import ITKLinearTransform

    record = make_session(raw)
    given = write_all(record, spec, rng)
    path = session_layout(record, spec)["xfm/sub-01_ses-HFC_acq-axi_T1w"]
    to_stack = ITKLinearTransform.from_filename(path).to_ras()  # ITK: from the fixed to the moving image
    np.testing.assert_allclose(np.linalg.inv(to_stack), given.acquired.stacks[0].lf2hf_xfm, atol=1e-9)


def test_every_image_says_what_it_is_and_whose_frame_it_lies_in(raw, spec, rng):
    """What the validator recommends: hundreds of its warnings for a small cohort otherwise."""
    record = make_session(raw)
    write_all(record, spec, rng)
    paths = list(Path(spec.out_dir).rglob("*.nii.gz"))
    assert len(paths) > 10
    for path in paths:
        about = json.loads(sidecar_path(path).read_text())
        assert about["Description"], path.name
        assert "SpatialReference" in about or "_res-" not in path.name, path.name


def test_sidecars_tell_the_truth(raw, spec, rng):
    record = make_session(raw)
    write_all(record, spec, rng)
    files = session_layout(record, spec)
    enhanced = json.loads(sidecar_path(files["enhanced/T1w"]).read_text())
    assert enhanced["MagneticFieldStrength"] == 0.0635
    assert enhanced["Synthetic"] is True
    assert enhanced["TargetMagneticFieldStrength"] == 3
    assert enhanced["Draws"] == 3
    assert enhanced["MethodSettings"] == {"width": 8, "fusion": "sr"}, "those used, not those asked for"
    fixed = "sub-01/ses-GE/anat/sub-01_ses-GE_acq-hf_run-2_res-1mm_desc-preproc_T2w.nii.gz"
    assert enhanced["SpatialReference"] == f"bids::{fixed}"
    assert enhanced["Sources"] == [
        f"bids:raw:sub-01/ses-HFC/anat/sub-01_ses-HFC_{own}T1w.nii.gz" for own in ("acq-axi_", "")
    ]
    quality = json.loads(files["qc"].read_text())
    noisy = "Reference: Its background is noise."  # what is said of high field reaches the page of the session
    assert quality["Warnings"] == ["Only two planes.", "It moved.", noisy, "A draw was odd."]
    assert quality["Missing"] == ["acq-sag_T1w"]
    table = pd.read_csv(files["metrics"], sep="\t")
    assert table.loc[0, "value"] == 1
    assert set(table.columns) <= set(json.loads(sidecar_path(files["metrics"]).read_text()))


def test_a_contrast_without_weights_is_the_baseline_and_says_so(raw, spec, rng):
    record = make_session(raw)
    write_all(record, spec, rng)
    files = session_layout(record, spec)
    known, other = (json.loads(sidecar_path(files[f"enhanced/{name}"]).read_text()) for name in ("T1w", "T2w"))
    assert known["Description"].startswith("Low field made high-field-like by")
    assert "not enhanced: no weights of" in other["Description"]
    assert other["Description"].endswith("know T2w")
    assert (other["Synthetic"], other["Draws"]) == (False, 1)
    assert "TargetMagneticFieldStrength" not in other


def test_spreads_and_maps_that_an_earlier_run_left_and_this_one_does_not_make_go(raw, spec, rng):
    """Or the report would show them beside another image."""
    record = make_session(raw)
    every = replace(spec, weights_contrasts=(), settings_hash="other")
    write_all(record, every, rng)
    files = session_layout(record, every)
    kinds = ("Std", "Error", "Change", "Sample", "DrawsStd")
    assert all(files[f"{kind}/T2w"].is_file() for kind in kinds)
    write_all(record, spec, rng)
    assert {path for key, path in files.items() if not path.is_file()} == {files[f"{kind}/T2w"] for kind in kinds}
    assert not sidecar_path(files["Std/T2w"]).exists()
    assert is_complete(record, spec)


def test_a_rerun_gives_the_same_bytes(raw, spec):
    record = make_session(raw)
    write_all(record, spec, np.random.default_rng(1))
    files = [*session_layout(record, spec).values(), *reference_layout(record, spec).values()]
    before = {path: path.read_bytes() for path in files}
    write_all(record, spec, np.random.default_rng(1))
    assert {path: path.read_bytes() for path in files} == before


@pytest.mark.parametrize("change", ["settings", "scan", "reference", "field", "gone", "empty", "damaged"])
def test_what_is_not_the_same_work_is_not_complete(raw, spec, rng, change):
    record = make_session(raw)
    write_all(record, spec, rng)
    if change == "settings":
        spec = replace(spec, settings_hash="other")
    if change == "scan":
        record = replace(record, stacks=(replace(record.stacks[0], state=(11, 20)), *record.stacks[1:]))
    if change == "reference":
        record = replace(record, reference=(replace(record.reference[0], state=(11, 20)), *record.reference[1:]))
    if change == "field":
        record = replace(record, stacks=(replace(record.stacks[0], field_strength=0.055), *record.stacks[1:]))
    if change == "gone":
        session_layout(record, spec)["risk/T1w"].unlink()
    if change == "damaged":
        sidecar_path(session_layout(record, spec)["enhanced/T1w"]).write_text('{"SettingsHash": "')
    if change == "empty":
        session_layout(record, spec)["risk/T1w"].write_bytes(b"")
    assert not is_complete(record, spec)


def test_the_methods_own_maps_say_what_they_are_and_a_missing_one_is_missed(raw, spec, rng):
    record = make_session(raw)
    given = write_all(record, spec, rng)
    files = session_layout(record, spec)
    path = files["Sample/T1w"]
    assert path.name == "sub-01_ses-HFC_space-GE_res-1mm_desc-inrSample_T1w.nii.gz"
    np.testing.assert_array_equal(
        np.asarray(nib.load(path).dataobj), given.maps["Sample"].channel("T1w").astype(np.float32)
    )
    about = json.loads(sidecar_path(path).read_text())
    assert about["Description"] == "How odd it is."
    assert about["Units"] == "share"
    assert about["MagneticFieldStrength"] == 0.0635
    assert "Sample/T2w" not in files, "the weights do not know T2w"
    files["DrawsStd/T1w"].unlink()
    assert missing_outputs(record, spec) == [files["DrawsStd/T1w"]]


def test_the_change_is_what_the_method_did_to_the_plain_mean(raw, spec, rng):
    record = make_session(raw)
    given = write_all(record, spec, rng)
    files = session_layout(record, spec)
    change, low, enhanced = (
        np.asarray(nib.load(files[f"{kind}/T1w"]).dataobj) for kind in ("Change", "preproc", "enhanced")
    )
    np.testing.assert_allclose(low + change, enhanced, atol=1e-6)
    np.testing.assert_array_equal(change, given.acquired.channel("T1w"), "the image here is twice the mean")
    assert "Change/T2w" not in files, "the weights do not know T2w: nothing was changed"


def test_the_sidecar_tells_how_far_lesions_stand_out(raw, spec, rng):
    record = make_session(raw)
    common = {"Masks": ["a_mask.nii.gz"], "VolumeMl": 1.5}
    found = common | {"Contrast": {"T1w": {"preproc": -0.2, "inr": -0.1}, "T2w": {}}}
    write_session(record, spec, replace(content(record, rng), lesions=found))
    about = json.loads(sidecar_path(session_layout(record, spec)["enhanced/T1w"]).read_text())
    assert about["Lesions"] == common | {"Contrast": {"preproc": -0.2, "inr": -0.1}}
    write_session(record, spec, replace(content(record, rng), lesions={"Masks": ["a"], "Failure": "It is damaged."}))
    assert "It is damaged." in json.loads(session_layout(record, spec)["qc"].read_text())["Warnings"]


def test_high_field_that_was_moved_says_so_and_how(raw, spec, rng):
    """Its T1w was moved to its T2w: only that is where its scanner had it."""
    from nitransforms.linear import load

    record, given = make_session(raw), content(make_session(raw), rng)
    pose = np.eye(4)
    pose[:3, 3] = (1.0, -2.0, 3.0)
    moved, regions = {"Transforms": {"T1w": pose.tolist()}}, (given.regions, given.region_volumes)
    volume, quality = replace(given.acquired, stacks=()), {"Contrast": "T1w"}
    write_reference(record, spec, volume, given.labels, given.volumes, moved, quality, *regions)
    files = reference_layout(record, spec)
    about = {key: json.loads(sidecar_path(path).read_text()) for key, path in files.items() if "xfm" not in key}
    assert about["preproc/T2w"]["SpatialReference"] == "orig"
    assert about["preproc/T1w"]["SpatialReference"].endswith(files["preproc/T2w"].name)
    codes = [int(nib.load(files[f"preproc/{name}"]).header["sform_code"]) for name in ("T1w", "T2w")]
    assert codes == [2, 1]
    np.testing.assert_allclose(load(files["xfm/T1w"], fmt="itk").matrix, np.linalg.inv(pose), atol=1e-6)
    assert about["mask"]["Sources"] == about["preproc/T1w"]["Sources"], "of the contrast that it was found in"


def test_in_template_space_labels_are_labels_and_the_mask_and_the_sd_are_there(raw, spec, rng, tmp_path):
    record, spec = make_session(raw), replace(spec, spaces=("MNI152NLin2009cAsym:res-1",))
    given, grid = content(record, rng), Grid(np.eye(4), SHAPE)
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.float32), grid.affine), tmp_path / "template.nii.gz")
    paths = {key: str(tmp_path / f"{key}.h5") for key in ("to", "from")}
    for path in paths.values():
        write_displacement(Displacement(np.full((3, *SHAPE), 0.4, np.float32), grid), path)
    there = {"space": spec.spaces[0], "template": str(tmp_path / "template.nii.gz"), **paths}
    writer.write_session(record, spec, replace(given, space_transforms=[there]))
    files, where = session_layout(record, spec), spec.spaces[0]
    for kind, label in (("tissue", 1), ("regions", 17)):
        found = np.asarray(nib.load(files[f"space_{kind}/{where}/T1w"]).dataobj)
        assert np.unique(found).tolist() == [0, label]
        assert (found > 0).sum() == 64
        header = nib.load(files[f"space_{kind}/{where}/T1w"]).header
        assert header.get_value_label("sform_code") == header.get_value_label("qform_code") == "mni"
    mask, std, image = (files[f"space{kind}"] for kind in (f"_mask/{where}", f"_Std/{where}/T1w", f"/{where}/T1w"))
    brain = np.asarray(nib.load(mask).dataobj)
    assert brain.dtype == np.uint8
    assert np.unique(brain).tolist() == [0, 1]
    assert brain.sum() == given.acquired.brain.sum()
    assert nib.load(std).get_fdata()[brain > 0].min() > 0
    about = [json.loads(sidecar_path(path).read_text()) for path in (mask, std, image)]
    assert all(one["Resolution"] == f"That of {where}" and "SpatialReference" not in one for one in about)
    assert about[1]["Calibrated"] is True


def test_while_a_session_is_written_again_no_image_vouches_for_it(raw, spec, rng, monkeypatch):
    record = make_session(raw)
    given, image = write_all(record, spec, rng), session_layout(record, spec)["enhanced/T1w"]
    assert image.is_file()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "_write_mask", die)
    with pytest.raises(KeyboardInterrupt):
        writer.write_session(record, spec, given)
    assert not image.exists()


def test_images_say_that_they_are_in_mm(raw, spec, rng):
    record = make_session(raw)
    write_all(record, spec, rng)
    found = sorted(Path(spec.out_dir).rglob("*.nii.gz"))
    assert found
    assert {nib.load(path).header.get_xyzt_units() for path in found} == {("mm", "sec")}
