"""The one table of names: those of the contract, never one for two files, never outside OUT_DIR."""

import json
import os
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from bids_lfenhance.bids.names import sidecar_path
from bids_lfenhance.bids.scans import file_state
from bids_lfenhance.bids.sessions import LowFieldSession
from bids_lfenhance.config import RunSpec
from bids_lfenhance.derivatives.layout import (
    are_of,
    check_scans,
    is_complete,
    missing_outputs,
    reference_layout,
    scan_states,
    session_layout,
)

from ..refusals import refused
from .sessions import HIGH, KINDS, LOW, make_scan, make_session, make_spec

OUT, RAW = Path("/out"), Path("/raw")
TEMPLATE = "MNI152NLin2009cAsym"

# what, and its name after sub- and ses-; {s} is the space of the grid, {c} the contrast
SESSION = """
preproc/{c}                {s}res-1mm_desc-preproc_{c}.nii.gz
enhanced/{c}               {s}res-1mm_desc-inr_{c}.nii.gz
Std/{c}                    {s}res-1mm_desc-inrStd_{c}.nii.gz
Error/{c}                  {s}res-1mm_desc-inrError_{c}.nii.gz
Change/{c}                 {s}res-1mm_desc-inrChange_{c}.nii.gz
risk/{c}                   {s}res-1mm_desc-inrRisk_{c}.nii.gz
tissue/{c}                 {s}seg-tissue_res-1mm_desc-preproc{c}_dseg.nii.gz
tissue_table/{c}           {s}seg-tissue_res-1mm_desc-preproc{c}_dseg.tsv
enhanced_tissue/{c}        {s}seg-tissue_res-1mm_desc-inr{c}_dseg.nii.gz
enhanced_tissue_table/{c}  {s}seg-tissue_res-1mm_desc-inr{c}_dseg.tsv
mask                       {s}res-1mm_desc-brain_mask.nii.gz
qc                         desc-preproc_qc.json
"""
STACK = """
stack/{scan}_{c}           {own}desc-preproc_{c}.nii.gz
xfm/{scan}_{c}             {own}from-{c}_to-{to}_mode-image_xfm.txt
"""
METRICS = "metrics                    desc-inr_qc.tsv"
REFERENCE = """
preproc/{c}                {own}res-1mm_desc-preproc_{c}.nii.gz
tissue/{c}                 seg-tissue_res-1mm_desc-preproc{c}_dseg.nii.gz
tissue_table/{c}           seg-tissue_res-1mm_desc-preproc{c}_dseg.tsv
mask                       res-1mm_desc-brain_mask.nii.gz
"""


def spec(out: Path = OUT, **changes: Any) -> RunSpec:
    values = {
        "out_dir": str(out),
        "label": "inr",
        "n_samples": 3,
        "gives_error_std": True,
        "resolution": "1mm",
        "settings_hash": "abc",
    }
    return make_spec(**(values | changes))


def record(kind: str) -> LowFieldSession:
    return make_session(RAW, kind)


def names(files: dict[str, Path]) -> dict[str, str]:
    return {key: path.relative_to(OUT).as_posix() for key, path in files.items()}


def expected(table: str, head: str, **words: str) -> dict[str, str]:
    rows = [line.split() for line in table.format(**words).strip().splitlines()]
    return {key: head + name for key, name in rows}


@pytest.mark.parametrize(
    ("kind", "head", "space", "to"),
    [
        ("paired", "sub-01/ses-HFC/anat/sub-01_ses-HFC_", "space-GE_", "GE"),
        ("unpaired", "sub-01/ses-HFC/anat/sub-01_ses-HFC_", "", "session"),
        ("no sessions", "sub-01/anat/sub-01_", "space-HF_", "HF"),
        ("no sessions, unpaired", "sub-01/anat/sub-01_", "", "session"),
        ("runs", "sub-01/ses-HFC/anat/sub-01_ses-HFC_", "space-GE_", "GE"),
        ("both fields in one session", "sub-01/ses-A/anat/sub-01_ses-A_", "space-HF_", "HF"),
        ("unusual labels", "sub-01/ses-HF+C/anat/sub-01_ses-HF+C_", "space-G+E_", "G+E"),
    ],
)
def test_names_of_a_session(kind: str, head: str, space: str, to: str) -> None:
    wanted = expected(METRICS, head) if to != "session" else {}
    for contrast in ("T1w", "T2w"):
        wanted |= expected(SESSION, head, s=space, c=contrast)
        for own in ("acq-axi_run-1_", "acq-axi_run-2_") if kind == "runs" else ("acq-axi_", ""):
            scan = (head.rpartition("/")[2] + own).removesuffix("_")
            wanted |= expected(STACK, head, scan=scan, c=contrast, own=own, to=to)
    assert names(session_layout(record(kind), spec())) == wanted


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("paired", "sub-01/ses-GE/anat/sub-01_ses-GE_"),
        ("no sessions", "sub-01/anat/sub-01_"),
        ("runs", "sub-01/ses-GE/anat/sub-01_ses-GE_"),
        ("both fields in one session", "sub-01/ses-A/anat/sub-01_ses-A_"),
        ("unusual labels", "sub-01/ses-G+E/anat/sub-01_ses-G+E_"),
    ],
)
def test_names_of_a_reference(kind: str, head: str) -> None:
    wanted = expected(REFERENCE, head, own="acq-MPRAGE_", c="T1w")
    wanted |= expected(REFERENCE, head, own="acq-hf_run-2_", c="T2w")
    wanted["xfm/T1w"] = f"{head}acq-MPRAGE_from-T1w_to-T2w_mode-image_xfm.txt"  # that of the T2w stays in place
    assert names(reference_layout(record(kind), spec())) == wanted


@pytest.mark.parametrize("kind", ["paired", "both fields in one session"])
def test_sessions_that_share_high_field_name_its_files_alike(kind: str) -> None:
    """It is written once, whichever of them is first, the one that has it too."""
    one = record(kind)
    others = [replace(one, session=name) for name in ("later", one.reference_session)]
    assert [reference_layout(other, spec()) for other in others] == [reference_layout(one, spec())] * 2


def test_a_standard_deviation_only_where_the_method_gives_its_scale() -> None:
    with_, without = (
        session_layout(record("paired"), spec(gives_error_std=gives, n_samples=4)) for gives in (True, False)
    )
    assert set(with_) - set(without) == {
        f"{kind}/{contrast}" for kind in ("Std", "Error") for contrast in ("T1w", "T2w")
    }


def test_what_the_weights_do_not_know_has_no_spread_and_no_maps() -> None:
    known = spec(weights_contrasts=("T1w",), maps={"DrawsStd": {}})
    assert {"Std/T1w", "DrawsStd/T1w", "enhanced/T2w"} <= set(session_layout(record("paired"), known))
    assert not {"Std/T2w", "DrawsStd/T2w"} & set(session_layout(record("paired"), known))


@pytest.mark.parametrize(("kind", "frame"), [("paired", "GE"), ("unpaired", "session")])
def test_output_spaces(kind: str, frame: str) -> None:
    targets = (f"{TEMPLATE}:res-1", f"{TEMPLATE}:res-2", "MNI152NLin6Asym")
    files = session_layout(record(kind), spec(spaces=targets))
    ours = {key: path for key, path in files.items() if key.startswith("space")}
    text = """
    space_mask/MNI152NLin2009cAsym:res-1        space-MNI152NLin2009cAsym_res-1_desc-brain_mask.nii.gz
    space/MNI152NLin2009cAsym:res-1/{c}         space-MNI152NLin2009cAsym_res-1_desc-inr_{c}.nii.gz
    space_Std/MNI152NLin2009cAsym:res-1/{c}     space-MNI152NLin2009cAsym_res-1_desc-inrStd_{c}.nii.gz
    space_tissue/MNI152NLin2009cAsym:res-1/{c}  space-MNI152NLin2009cAsym_seg-tissue_res-1_desc-inr{c}_dseg.nii.gz
    space_mask/MNI152NLin2009cAsym:res-2        space-MNI152NLin2009cAsym_res-2_desc-brain_mask.nii.gz
    space/MNI152NLin2009cAsym:res-2/{c}         space-MNI152NLin2009cAsym_res-2_desc-inr_{c}.nii.gz
    space_Std/MNI152NLin2009cAsym:res-2/{c}     space-MNI152NLin2009cAsym_res-2_desc-inrStd_{c}.nii.gz
    space_tissue/MNI152NLin2009cAsym:res-2/{c}  space-MNI152NLin2009cAsym_seg-tissue_res-2_desc-inr{c}_dseg.nii.gz
    space_mask/MNI152NLin6Asym                  space-MNI152NLin6Asym_desc-brain_mask.nii.gz
    space/MNI152NLin6Asym/{c}                   space-MNI152NLin6Asym_desc-inr_{c}.nii.gz
    space_Std/MNI152NLin6Asym/{c}               space-MNI152NLin6Asym_desc-inrStd_{c}.nii.gz
    space_tissue/MNI152NLin6Asym/{c}            space-MNI152NLin6Asym_seg-tissue_desc-inr{c}_dseg.nii.gz
    space_xfm/MNI152NLin2009cAsym/to            from-{f}_to-MNI152NLin2009cAsym_mode-image_xfm.h5
    space_xfm/MNI152NLin2009cAsym/from          from-MNI152NLin2009cAsym_to-{f}_mode-image_xfm.h5
    space_xfm/MNI152NLin6Asym/to                from-{f}_to-MNI152NLin6Asym_mode-image_xfm.h5
    space_xfm/MNI152NLin6Asym/from              from-MNI152NLin6Asym_to-{f}_mode-image_xfm.h5
    """
    head = "sub-01/ses-HFC/anat/sub-01_ses-HFC_"
    assert names(ours) == expected(text, head, f=frame, c="T1w") | expected(text, head, f=frame, c="T2w")


def crowded(session: str | None) -> LowFieldSession:
    """Low and high field side by side, scans told apart by any entity or by none."""
    own: list[dict[str, str]] = [{}, {"acq": "axi"}, {"run": "1"}, {"acq": "axi", "run": "2"}, {"rec": "a"}]
    low = [make_scan(RAW, "01", session, name, LOW, **some) for name in ("T1w", "T2w") for some in own]
    high = [make_scan(RAW, "01", session, name, HIGH, **some) for name, some in (("T1w", {"acq": "hf"}), ("T2w", {}))]
    return LowFieldSession("01", session, tuple(low), tuple(high), session)


@pytest.mark.parametrize("session", [crowded(None), crowded("A"), *(make_session(RAW, kind) for kind in KINDS)])
def test_no_two_files_share_a_name(session: LowFieldSession) -> None:
    made = spec(spaces=(f"{TEMPLATE}:res-1", f"{TEMPLATE}:res-2", TEMPLATE))
    files = [*session_layout(session, made).values()]
    if session.paired:
        files += reference_layout(session, made).values()
    sidecars = Counter(sidecar_path(path) for path in files if path.suffix in (".gz", ".tsv"))
    assert len(set(files)) == len(files)
    assert not set(files) & set(sidecars)
    assert {path.name.rpartition("_")[2] for path, count in sidecars.items() if count > 1} == {"dseg.json"}


BAD = ["../x", "a/b", "a_b", "a-b", "a\n", "ü", "a.b", " ", "\0"]
PLACES = ["subject", "session", "entity", "reference", "reference entity", "label", "space", "resolution"]


@pytest.mark.parametrize(("bad", "where"), product(BAD, PLACES))
def test_nothing_leaves_the_folder(bad: str, where: str) -> None:
    given = dict.fromkeys(PLACES, "x") | {where: bad}
    subject, session, reference = given["subject"], given["session"], given["reference"]
    low = make_scan(RAW, subject, session, "T1w", LOW, acq=given["entity"])
    high = make_scan(RAW, subject, reference, "T1w", HIGH, acq=given["reference entity"])
    made = spec(label=given["label"], spaces=(f"{given['space']}:res-{given['resolution']}",))
    with refused("bad-label", value=bad):
        missing_outputs(LowFieldSession(subject, session, (low,), (high,), reference), made)


def fill(session: LowFieldSession, spec: RunSpec) -> set[Path]:
    """The files a session should leave, each whole."""
    files = set(session_layout(session, spec).values())
    if session.paired:
        files |= set(reference_layout(session, spec).values())
    files |= {sidecar_path(path) for path in files if path.suffix in (".gz", ".tsv")}
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name.endswith(".nii.gz"):
            nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), path)
        else:
            path.write_text("{}\n")
    made = {"SettingsHash": spec.settings_hash, "ScanStates": scan_states(session)}
    for key, path in session_layout(session, spec).items():
        if key.startswith("enhanced/"):
            sidecar_path(path).write_text(json.dumps(made))
    return files


@pytest.mark.parametrize("kind", KINDS)
def test_whichever_file_is_empty_cut_short_or_gone_is_missed(tmp_path: Path, kind: str) -> None:
    session, made = record(kind), spec(tmp_path, spaces=(f"{TEMPLATE}:res-1",))
    assert not is_complete(session, made)
    files = fill(session, made)
    assert missing_outputs(session, made) == []
    assert is_complete(session, made)
    for path in files:
        content = path.read_bytes()
        for cut in (b"", content[: len(content) // 2]) if path.name.endswith((".nii.gz", ".json", ".tsv")) else (b"",):
            path.write_bytes(cut)
            assert missing_outputs(session, made) == [path]
        path.unlink()
        assert missing_outputs(session, made) == [path]
        assert not is_complete(session, made)
        path.write_bytes(content)
    assert is_complete(session, made)


def test_scans_fetched_again_or_dropped_are_those_it_was_made_of(tmp_path: Path) -> None:
    """``datalad drop`` and ``get``, or a copy, change the time of a file and not what it holds."""
    session, made = make_session(tmp_path / "raw", "paired"), spec(tmp_path / "out")
    paths = [tmp_path / scan.path.name for scan in session.stacks]
    for path in paths:
        path.write_bytes(b"one")

    def now() -> LowFieldSession:
        found = zip(session.stacks, paths, strict=True)
        return replace(session, stacks=tuple(replace(scan, path=path, state=file_state(path)) for scan, path in found))

    fill(now(), made)
    assert is_complete(now(), made)
    os.utime(paths[0], (1, 1))
    assert is_complete(now(), made)
    paths[0].write_bytes(b"two")
    assert not is_complete(now(), made)
    paths[0].unlink()
    assert is_complete(now(), made), "what was dropped is taken for what it was"
    assert not is_complete(replace(now(), stacks=session.stacks[1:]), made), "a scan fewer is not the same session"


def test_a_scan_that_was_replaced_during_the_run_is_refused(tmp_path: Path) -> None:
    """The image may be of the old one; recorded as of the new one it would never be made again."""
    session = make_session(tmp_path / "raw", "paired")
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(b"one")
    session = replace(session, stacks=(replace(session.stacks[0], path=path, state=file_state(path)),))
    check_scans(session)
    path.write_bytes(b"two")
    os.utime(path, (1, 1))
    with refused("scan-changed", path=path):
        check_scans(session)
    path.unlink()
    check_scans(session)  # dropped: it is taken for what it was


@pytest.mark.parametrize("states", [None, [], "x", [1], [[]], [["a", 1.0, None, None]], [["a", 1.0, None, None, "x"]]])
def test_states_of_another_kind_are_of_no_session(states: object) -> None:
    assert not are_of(states, record("paired"))
