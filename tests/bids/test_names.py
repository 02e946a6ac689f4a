from itertools import product
from pathlib import Path

import pytest

from bids_lfenhance.bids import names
from bids_lfenhance.bids.names import derivative_name
from bids_lfenhance.bids.scans import Entities, Scan
from bids_lfenhance.bids.sidecars import split_name
from bids_lfenhance.bids.units import Unit
from bids_lfenhance.errors import InputError

OUT = Path("/out")


def scan(contrast: str = "T1w", **entities: str) -> Scan:
    return Scan(Path("/data/image.nii.gz"), Entities({"sub": "01", **entities}), contrast)


PAIRED = Unit("01", "HFC", (scan(ses="HFC", acq="axi"),), (scan(ses="GE", acq="MPRAGE"),), "GE")
ALONE = Unit("01", "HFC", (scan(ses="HFC", acq="axi"),))
ANAT = "/out/sub-01/ses-HFC/anat/sub-01_ses-HFC_"
GE = "/out/sub-01/ses-GE/anat/sub-01_ses-GE_"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (names.fused_path(OUT, PAIRED, "T1w"), f"{ANAT}space-GE_res-1mm_desc-preproc_T1w.nii.gz"),
        (names.fused_path(OUT, ALONE, "T1w"), f"{ANAT}res-1mm_desc-preproc_T1w.nii.gz"),
        (names.enhanced_path(OUT, PAIRED, "T2w", "inr"), f"{ANAT}space-GE_res-1mm_desc-inr_T2w.nii.gz"),
        (names.enhanced_path(OUT, ALONE, "T2w", "inr", "Std"), f"{ANAT}res-1mm_desc-inrStd_T2w.nii.gz"),
        (
            names.enhanced_path(OUT, PAIRED, "T1w", "inr", space="MNI152NLin2009cAsym", res="1"),
            f"{ANAT}space-MNI152NLin2009cAsym_res-1_desc-inr_T1w.nii.gz",
        ),
        (names.mask_path(OUT, PAIRED), f"{ANAT}space-GE_res-1mm_desc-brain_mask.nii.gz"),
        (names.dseg_path(OUT, ALONE, "T1w"), f"{ANAT}seg-tissue_res-1mm_desc-preprocT1w_dseg.nii.gz"),
        (
            names.dseg_path(OUT, PAIRED, "T1w", "inr", ".tsv"),
            f"{ANAT}space-GE_seg-tissue_res-1mm_desc-inrT1w_dseg.tsv",
        ),
        (names.stack_path(OUT, PAIRED.stacks[0]), f"{ANAT}acq-axi_desc-preproc_T1w.nii.gz"),
        (
            names.stack_xfm_path(OUT, PAIRED, PAIRED.stacks[0]),
            f"{ANAT}acq-axi_from-T1w_to-GE_mode-image_xfm.txt",
        ),
        (
            names.stack_xfm_path(OUT, ALONE, ALONE.stacks[0]),
            f"{ANAT}acq-axi_from-T1w_to-session_mode-image_xfm.txt",
        ),
        (names.qc_path(OUT, ALONE), f"{ANAT}desc-preproc_qc.json"),
        (names.qc_path(OUT, ALONE, "inr", ".tsv"), f"{ANAT}desc-inr_qc.tsv"),
        (names.reference_path(OUT, PAIRED.reference[0]), f"{GE}acq-MPRAGE_res-1mm_desc-preproc_T1w.nii.gz"),
        (names.reference_mask_path(OUT, PAIRED), f"{GE}res-1mm_desc-brain_mask.nii.gz"),
        (names.reference_dseg_path(OUT, PAIRED, "T1w"), f"{GE}seg-tissue_res-1mm_desc-preprocT1w_dseg.nii.gz"),
        (names.report_path(OUT, "01"), "/out/sub-01.html"),
        (names.figures_dir(OUT, "01"), "/out/sub-01/figures"),
        (names.sidecar_path(OUT / "sub-01_T1w.nii.gz"), "/out/sub-01_T1w.json"),
        (
            names.template_xfm_path(OUT, ALONE, "HFC", "MNI152NLin2009cAsym"),
            f"{ANAT}from-HFC_to-MNI152NLin2009cAsym_mode-image_xfm.h5",
        ),
    ],
)
def test_names_of_the_contract(path: Path, expected: str) -> None:
    assert path.as_posix() == expected


def test_without_sessions_there_is_no_session_folder() -> None:
    unit = Unit("01", None, (scan(acq="axi"),), (scan(acq="hf"),), None)
    assert names.mask_path(OUT, unit).as_posix() == "/out/sub-01/anat/sub-01_space-HF_res-1mm_desc-brain_mask.nii.gz"


@pytest.mark.parametrize("session", [None, "A"])
def test_one_session_with_both_fields_never_writes_one_name_twice(session: str | None) -> None:
    place = {"ses": session} if session else {}
    low = [
        scan(contrast, **place, **extra) for contrast in ("T1w", "T2w") for extra in ({}, {"acq": "axi"}, {"run": "1"})
    ]
    low += [scan("T1w", **place, rec="a"), scan("T1w", **place, rec="b"), scan("T1w", **place, acq="axi", run="2")]
    high = [scan("T1w", **place, acq="hf")]
    unit = Unit("01", session, tuple(low), tuple(high), session)
    written = [names.stack_path(OUT, one) for one in low] + [names.stack_xfm_path(OUT, unit, one) for one in low]
    written += [names.reference_path(OUT, one) for one in high] + [names.reference_mask_path(OUT, unit)]
    written += [names.mask_path(OUT, unit), names.reference_dseg_path(OUT, unit, "T1w")]
    for contrast in ("T1w", "T2w"):
        written += [names.fused_path(OUT, unit, contrast), names.dseg_path(OUT, unit, contrast)]
        written += [names.enhanced_path(OUT, unit, contrast, "inr", kind) for kind in ("", "Std", "Risk")]
    assert len(set(written)) == len(written)


def test_order_of_entities_is_that_of_the_schema() -> None:
    schema = pytest.importorskip("bidsschematools.schema", reason="needs bidsschematools").load_schema()
    short = [schema.objects.entities[name].name for name in schema.rules.entities]
    common = [key for key in names.ORDER if key in short]
    assert common == [key for key in short if key in names.ORDER]
    assert set(names.ORDER) - set(short) == {"from", "to", "mode"}


def test_entities_come_back_from_the_name() -> None:
    path = derivative_name(
        OUT, ("01", None), "T1w", ".nii.gz", desc="a", acq="b", rec=None, space="c", run="1", res="d"
    )
    entities = {"sub": "01", "acq": "b", "run": "1", "space": "c", "res": "d", "desc": "a"}
    assert split_name(path.name) == (entities, "T1w", ".nii.gz")


BAD = ["../x", "a/b", "a_b", "a-b", "", "a\n", "ü", "a.b", " ", "\0"]


@pytest.mark.parametrize(("bad", "where"), product(BAD, ["subject", "session", "desc", "suffix"]))
def test_nothing_leaves_the_folder(bad: str, where: str) -> None:
    given = {"subject": "01", "session": "A", "desc": "x", "suffix": "T1w", where: bad}
    with pytest.raises(InputError, match="Expected"):
        derivative_name(OUT, (given["subject"], given["session"]), given["suffix"], ".nii.gz", desc=given["desc"])


@pytest.mark.parametrize("bad", BAD)
def test_reports_and_extensions_do_not_leave_it_either(bad: str) -> None:
    with pytest.raises(InputError):
        names.report_path(OUT, bad)
    with pytest.raises(InputError):
        names.figures_dir(OUT, bad)
    with pytest.raises(InputError):
        derivative_name(OUT, ("01", None), "T1w", f"/{bad}")
    with pytest.raises(InputError, match="description"):
        derivative_name(OUT, ("01", None), "T1w", ".nii.gz", description="x")
