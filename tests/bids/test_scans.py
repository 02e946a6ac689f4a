import pickle
from pathlib import Path
from typing import Any

import pytest

from bids_lfenhance.bids.scans import Entities, Scan, choose_subjects, make_scans, plane_of_sidecar
from bids_lfenhance.bids.sidecars import SidecarFinder

from ..refusals import refused
from .conftest import MakeTree

AXIAL, CORONAL, SAGITTAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]


def scans_of(paths: list[Path], root: Path) -> tuple[tuple[Scan, ...], tuple[str, ...]]:
    return make_scans(paths, SidecarFinder(root))


def test_entities_are_frozen_hashable_and_survive_a_pickle() -> None:
    entities = Entities({"sub": "01", "acq": "axi"})
    assert entities == {"acq": "axi", "sub": "01"}
    assert hash(entities) == hash(Entities({"acq": "axi", "sub": "01"}))
    assert pickle.loads(pickle.dumps(entities)) == entities
    with pytest.raises(TypeError):
        entities["sub"] = "02"  # type: ignore[index]


def test_scan_survives_a_pickle_after_its_sidecar_was_read(make_tree: MakeTree, low: dict[str, Any]) -> None:
    root = make_tree({"01/HFC/acq-axi_T1w": low})
    (scan,), _ = scans_of(list(root.rglob("*.nii.gz")), root)
    assert scan.sidecar == low
    copy = pickle.loads(pickle.dumps(scan))
    assert (copy, copy.plane, copy.name, copy.session) == (scan, "axi", "acq-axi_T1w", "HFC")


def test_sidecars_are_not_read_before_they_are_asked_for(make_tree: MakeTree) -> None:
    root = make_tree({"01/HFC/acq-axi_T1w": "{broken"})
    (scan,), _ = scans_of(list(root.rglob("*.nii.gz")), root)
    with refused("bad-json", path=scan.sidecars[-1]):
        _ = scan.sidecar


@pytest.mark.parametrize(
    ("sidecar", "plane"),
    [
        ({"SeriesDescription": "rc86_T2_cor_adv_rec", "ImageOrientationPatientDICOM": AXIAL}, "cor"),
        ({"SliceThickness": 5, "ImageOrientationPatientDICOM": AXIAL}, "axi"),
        ({"SliceThickness": 5, "ImageOrientationPatientDICOM": CORONAL}, "cor"),
        ({"SliceThickness": 5, "ImageOrientationPatientDICOM": SAGITTAL}, "sag"),
        ({"SliceThickness": 2.3, "ImageOrientationPatientDICOM": SAGITTAL}, None),
        ({"SliceThickness": "5", "ImageOrientationPatientDICOM": AXIAL}, None),
        ({"SliceThickness": 5, "ImageOrientationPatientDICOM": ["x"] * 6}, None),
        ({"SeriesDescription": "relax_max"}, None),
        ({}, None),
    ],
)
def test_plane_by_protocol_then_by_orientation(sidecar: dict[str, Any], plane: str | None) -> None:
    assert plane_of_sidecar(sidecar) == plane


def test_what_cannot_be_a_scan_is_left_out_with_its_reason(tmp_path: Path) -> None:
    names = {
        "sub-01_acq-axi_T1w.nii.gz": None,
        "sub-01_part-mag_T1w.nii.gz": None,
        "sub-01_part-phase_T1w.nii.gz": "phase part",
        "sub-01_desc-preproc_T1w.nii.gz": "derivative",
        "sub-01_acq-a.x_T1w.nii.gz": "not a BIDS name",
        "sub-01_axi_T1w.nii.gz": "not a BIDS name",
        "sub-01_site-a_T1w.nii.gz": "site-a is no entity of BIDS",
        "sub-01_acq-axi_T1w.nii": "beside it",
        "sub-02_T1w.nii.gz": "another subject",
        "sub-01_ses-A_T1w.nii.gz": "another subject or session",
        "T1w.nii.gz": "another subject",
        "ses-A_T1w.nii.gz": "another subject",
    }
    scans, left_out = scans_of([tmp_path / "sub-01" / "anat" / name for name in names], tmp_path)
    assert {scan.path.name for scan in scans} == {name for name, reason in names.items() if reason is None}
    for name, reason in names.items():
        if reason:
            assert [sentence for sentence in left_out if sentence.startswith(f"{name} ") and reason in sentence]


def test_participants_with_or_without_prefix(make_tree: MakeTree, low: dict[str, Any]) -> None:
    root = make_tree({"01/HFC/T1w": low, "02/HFC/T1w": low})
    assert choose_subjects(root, ["sub-02", "01", "02"]) == ("02", "01")
    assert choose_subjects(root, []) == ("01", "02")


def test_unknown_participant_hears_who_there_is(make_tree: MakeTree, low: dict[str, Any]) -> None:
    root = make_tree({"01/HFC/T1w": low, "02/HFC/T1w": low})
    with refused("unknown-subject", subjects=["03"]):
        choose_subjects(root, ["03", "01"])


def test_empty_or_absent_dataset(tmp_path: Path) -> None:
    with refused("no-subjects"):
        choose_subjects(tmp_path, [])
    with refused("not-bids"):
        choose_subjects(tmp_path / "absent", [])
