"""A session's scans change between runs: what is no longer true of it goes, and nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_lfenhance.bids.names import sidecar_path
from bids_lfenhance.bids.scans import Scan, file_state
from bids_lfenhance.bids.sessions import LowFieldSession
from bids_lfenhance.config import CONTRASTS, RunSpec
from bids_lfenhance.derivatives.layout import missing_outputs, reference_layout, session_layout
from bids_lfenhance.derivatives.reference import write_reference
from bids_lfenhance.derivatives.session import write_session
from bids_lfenhance.derivatives.stale import stale_files
from bids_lfenhance.derivatives.volumes import volumes_path, write_volumes
from bids_lfenhance.reports.collect import collect

from .contents import REGIONS, content
from .sessions import HIGH, KINDS, LOW, make_scan, make_session, make_spec

ROW = ["session_id", "contrast", "image", "field_strength", "seg", "name"]
"""What tells the rows of the table of volumes apart."""


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    return make_spec(bids_dir=str(tmp_path / "raw"), out_dir=str(tmp_path / "out"), segmentation="builtin")


def run(record: LowFieldSession, spec: RunSpec, frame: str | None = None) -> None:
    """What a run leaves of a session; ``frame`` the reference scan."""
    given = content(record, np.random.default_rng(1))
    about = {"ReferenceScan": frame or (record.reference or record.stacks)[0].stem}
    if record.paired:
        given = replace(given, reference_qc=about)
        regions = REGIONS["regions"], REGIONS["region_volumes"]
        high = replace(given.acquired, stacks=(), present=_present(record.reference))
        write_reference(record, spec, high, given.labels, given.volumes, {}, {}, *regions)
    present = _present(record.stacks)
    acquired, enhanced = (replace(one, present=present) for one in (given.acquired, given.enhanced))
    given = replace(given, acquired=acquired, enhanced=enhanced, qc=given.qc | about, std=None, maps={})
    write_session(record, spec, given)


def _present(scans: tuple[Scan, ...]) -> np.ndarray:
    return np.array([name in {scan.contrast for scan in scans} for name in CONTRASTS])


def promised(record: LowFieldSession, *specs: RunSpec) -> set[Path]:
    files = {path for spec in specs for path in session_layout(record, spec).values()}
    files |= {path for spec in specs for path in (reference_layout(record, spec).values() if record.paired else ())}
    return files | {sidecar_path(path) for path in files if path.name.endswith((".nii.gz", ".tsv"))}


def on_disk(spec: RunSpec) -> set[Path]:
    return {path for path in Path(spec.out_dir).rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_of_a_stack_or_a_contrast_that_is_gone(tmp_path, spec, kind):
    """A scan removed between runs: https://github.com/nipreps/fmriprep/issues/860."""
    record, other = make_session(tmp_path / "raw", kind), replace(spec, label="other")
    run(record, other)
    run(record, spec)
    assert on_disk(spec) == promised(record, spec, other)
    left = replace(record, stacks=record.stacks[1:2])  # one T1w; without the other, and without T2w
    run(left, spec)
    assert on_disk(spec) == promised(left, spec), "and nothing of the other recipe, which was made of both"
    assert missing_outputs(left, spec) == []


@pytest.mark.parametrize("kind", KINDS)
def test_tables_and_transforms_of_somebody_s_own_stay(tmp_path, spec, kind):
    record, other = make_session(tmp_path / "raw", kind), replace(spec, label="other")
    run(record, other)
    folder = next(path.parent for path in Path(spec.out_dir).rglob("*_qc.json"))
    head = next(folder.glob("*_qc.json")).name.partition("_desc-")[0]
    names = ("desc-rating_qc.tsv", "desc-rating_qc.json", "from-T1w_to-MNI152NLin6Asym_mode-image_xfm.txt")
    mine = [folder / f"{head}_{name}" for name in (*names, "from-MNI152NLin6Asym_to-T1w_mode-image_xfm.h5")]
    for path in mine:
        path.write_text("{}")
    run(replace(record, stacks=record.stacks[1:2]), spec)
    assert all(path.read_text() == "{}" for path in mine)


def test_high_field_that_another_session_refers_to_stays(tmp_path, spec):
    """In the folder of a low-field session that does not use it itself."""
    record = make_session(tmp_path / "raw", "both fields in one session")
    run(replace(record, session="later"), spec)
    high = {path for path in reference_layout(record, spec).values() if path.is_file()}
    assert any("xfm" in path.name for path in high)
    alone = replace(record, reference=(), reference_session=None, beside_high_field=True)
    assert high.isdisjoint(stale_files(alone, spec, record.stacks[0].stem))


def test_a_rough_and_a_fine_run_are_told_apart_in_the_table(tmp_path, spec):
    """``--sloppy``, then without, in one folder (https://github.com/nipreps/fmriprep/issues/483)."""
    record = make_session(tmp_path / "raw", "paired")
    for resolution in ("2mm", "1mm"):
        run(record, replace(spec, resolution=resolution))
    table = pd.read_csv(write_volumes(Path(spec.out_dir), "01"), sep="\t")
    assert set(table["grid_res"]) == {"1mm", "2mm"}
    assert not table.duplicated([*ROW, "grid_res"]).any()
    assert table.duplicated(ROW).any()


def test_what_a_kill_left_half_written_is_in_no_table(tmp_path, spec):
    record = make_session(tmp_path / "raw", "paired")
    run(record, spec)
    before = write_volumes(Path(spec.out_dir), "01").read_text()
    table = next(Path(spec.out_dir).rglob("*_dseg.tsv"))
    table.with_name(f".tmp-0123456789ab-{table.name}").write_text(table.read_text())
    assert write_volumes(Path(spec.out_dir), "01").read_text() == before


@pytest.mark.parametrize("kind", KINDS)
def test_what_another_recipe_made_of_the_same_scans_stays(tmp_path, spec, kind):
    record = make_session(tmp_path / "raw", kind)
    recipes = [
        replace(spec, label="other"),
        replace(spec, resolution="1mm"),
        replace(spec, segmentation="synthseg"),
        spec,
    ]
    for recipe in recipes:
        run(record, recipe)
    assert on_disk(spec) == promised(record, *recipes)


@pytest.mark.parametrize("kind", ["paired", "no sessions", "both fields in one session"])
def test_high_field_that_comes_later_leaves_no_second_frame(tmp_path, spec, kind):
    """The same output folder, more input (https://github.com/nipreps/fmriprep/issues/483): no doubled rows."""
    record = make_session(tmp_path / "raw", kind)
    alone = replace(record, reference=(), reference_session=None)
    run(alone, replace(spec, label="other"))
    run(alone, spec)
    run(record, spec)
    assert on_disk(spec) == promised(record, spec)
    table = pd.read_csv(write_volumes(Path(spec.out_dir), "01"), sep="\t")
    assert not table.duplicated(ROW).any()
    run(alone, spec)
    of_reference = promised(record, spec) - promised(replace(record, reference=()), spec)
    assert {path for path in on_disk(spec) if "space-" in path.name} == set()
    tables = {volumes_path(Path(spec.out_dir), "01"), sidecar_path(volumes_path(Path(spec.out_dir), "01"))}
    assert on_disk(spec) - promised(alone, spec) <= of_reference | tables


def test_low_field_beside_the_reference_of_another_session_shares_no_file_with_it(tmp_path, spec):
    """Visit A has low-field T2w and the 3 T T1w that the low-field T1w of visit B is compared with."""
    low = make_scan(tmp_path / "raw", "01", "A", "T2w", LOW), make_scan(tmp_path / "raw", "01", "B", "T1w", LOW)
    high = make_scan(tmp_path / "raw", "01", "A", "T1w", HIGH)
    first = LowFieldSession("01", "A", low[:1], beside_high_field=True)
    second = LowFieldSession("01", "B", low[1:], (high,), "A")
    for record in (first, second, first):
        run(record, spec)
    assert not promised(first, spec) & promised(second, spec)
    assert on_disk(spec) == promised(first, spec) | promised(second, spec)
    shown, other = collect(Path(spec.out_dir), "01").sessions
    assert [channel.contrast for channel in shown.channels] == ["T2w"]
    assert [one.mask.path for one in (shown, other)] == [session_layout(one, spec)["mask"] for one in (first, second)]


def test_what_a_user_put_there_stays_whatever_its_name(tmp_path, spec):
    """Lesion masks drawn on a session may lie in the derivative; so may images of other programs."""
    record = make_session(tmp_path / "raw", "paired")
    run(record, spec)
    folder = session_layout(record, spec)["qc"].parent
    names = ("label-lesion_mask", "space-GE_label-lesion_mask", "desc-mine_roi", "space-GE_res-1mm_desc-mine_T1w")
    own = {folder / f"sub-01_ses-HFC_{name}.nii.gz" for name in names}
    for path in own:
        path.write_bytes(b"mine")
    (folder / "sub-01_ses-HFC_label-lesion_mask.json").write_text('{"Sources": ["drawn by hand"]}')
    for name in ("label-lesion_desc-manual_probseg", "desc-manual_dseg", "acq-axi_desc-manual_dseg"):
        own.add(folder / f"sub-01_ses-HFC_{name}.nii.gz")
        (folder / f"sub-01_ses-HFC_{name}.nii.gz").write_bytes(b"mine")
        (folder / f"sub-01_ses-HFC_{name}.json").write_text('{"Description": "drawn by hand", "Sources": ["x"]}')
    left = replace(record, stacks=record.stacks[1:2])
    run(left, replace(spec, settings_hash="other"))
    assert {path.read_bytes() for path in own} == {b"mine"}


def test_what_another_recipe_made_of_a_scan_that_was_replaced_goes(tmp_path, spec):
    """The page would show the new scan beside an image of the old one."""
    record, other = make_session(tmp_path / "raw", "paired"), replace(spec, label="other")
    scan = record.stacks[0]

    def export(content: bytes) -> LowFieldSession:
        scan.path.parent.mkdir(parents=True, exist_ok=True)
        scan.path.write_bytes(content)
        return replace(record, stacks=(replace(scan, state=file_state(scan.path)), *record.stacks[1:]))

    t2w = {path for path in promised(record, other) if "desc-other" in path.name and "T2w" in path.name}
    run(export(b"first"), other)
    run(export(b"second"), spec)
    assert on_disk(spec) == promised(record, spec) | t2w, "of the other contrast nothing was replaced"
    run(export(b"second"), other)
    run(replace(export(b"second"), stacks=record.stacks, lesions=(record.stacks[0],)), spec)
    assert on_disk(spec) == promised(record, spec, other), "the scans are the same; a lesion mask changes no image"


def test_a_label_that_another_one_ends_with_a_contrast_keeps_its_images(tmp_path, spec):
    record = make_session(tmp_path / "raw", "paired")
    both = [replace(spec, label=label) for label in ("ownT1w", "own")]
    for recipe in both:
        run(record, recipe)
    run(record, replace(both[1], settings_hash="other"))
    assert on_disk(spec) >= promised(record, *both)


def test_another_frame_makes_all_that_lay_in_the_first_untrue(tmp_path, spec):
    """The reference stack changed: nothing of another recipe is left beside it, its frame is told."""
    record, other = make_session(tmp_path / "raw", "unpaired"), replace(spec, label="other")
    run(record, other, frame=record.stacks[0].stem)
    run(record, spec, frame=record.stacks[1].stem)
    assert on_disk(spec) == promised(record, spec)
    told = sidecar_path(session_layout(record, spec)["preproc/T1w"]).read_text()
    assert f"in the frame of {record.stacks[1].stem}" in told


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings_hash", ["same", "changed"])
def test_regions_of_an_image_that_is_replaced_go_with_it(tmp_path, spec, kind, settings_hash):
    """The page would show them beside the new image; those of the same image by another program stay."""
    record = make_session(tmp_path / "raw", kind)
    before = replace(spec, settings_hash="same")
    run(record, before)
    regions = {path for key, path in session_layout(record, before).items() if key.startswith("enhanced_regions")}
    assert regions
    run(record, replace(before, settings_hash=settings_hash, segmentation="synthseg"))
    assert {path for path in regions if path.exists()} == (regions if settings_hash == "same" else set())
    low = {path for key, path in session_layout(record, before).items() if key.startswith("regions/")}
    assert all(path.exists() for path in low)
