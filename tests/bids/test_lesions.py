"""Which masks of lesions belong to a session."""

from pathlib import Path

import pytest

from bids_lfenhance.bids.plan import make_plan
from bids_lfenhance.bids.sessions import LowFieldSession


@pytest.fixture
def root(make_tree, low, high) -> Path:
    return make_tree(
        {"01/LF/acq-axi_T1w": low, "01/LF/acq-cor_T1w": low, "01/HF/T1w": high, "01/OLD/T1w": high, "02/LF/T1w": low}
    )


def session_of(root: Path) -> LowFieldSession:
    return make_plan(root, ["01"]).sessions[0]


def draw(root: Path, name: str, session: str = "HF", pipeline: str = "manual") -> None:
    folder = root / (f"derivatives/{pipeline}" if pipeline else "") / "sub-01" / f"ses-{session}" / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"sub-01_ses-{session}_{name}.nii.gz").touch()


@pytest.mark.parametrize(
    "name", ["label-lesion_mask", "label-L_desc-expert_mask", "desc-lesion_mask", "label-WMH_mask"]
)
@pytest.mark.parametrize("pipeline", ["manual", ""])
def test_a_mask_of_the_session_or_of_its_reference_is_found(root: Path, name: str, pipeline: str) -> None:
    assert session_of(root).lesions == ()
    draw(root, name, pipeline=pipeline)
    (found,) = session_of(root).lesions
    assert found.path.name == f"sub-01_ses-HF_{name}.nii.gz"


@pytest.mark.parametrize(
    ("name", "session"),
    [
        ("desc-brain_mask", "HF"),
        ("label-GM_mask", "HF"),
        ("space-MNI152NLin2009cAsym_label-lesion_mask", "HF"),
        ("label-lesion_dseg", "HF"),
        ("label-lesion_mask", "OLD"),
    ],
)
def test_other_masks_are_not(root: Path, name: str, session: str) -> None:
    draw(root, name, session)
    assert session_of(root).lesions == ()


def test_a_mask_lies_where_the_scan_does_on_which_it_was_drawn(root: Path) -> None:
    for name, session in (("label-lesion_mask", "HF"), ("acq-cor_label-lesion_mask", "LF"), ("label-L_mask", "LF")):
        draw(root, name, session)
    found = session_of(root)
    stacks = {scan.path.name: found.stack_of(scan) for scan in found.lesions}
    assert stacks == {
        "sub-01_ses-HF_label-lesion_mask.nii.gz": None,
        "sub-01_ses-LF_acq-cor_label-lesion_mask.nii.gz": "sub-01_ses-LF_acq-cor_T1w",
        "sub-01_ses-LF_label-L_mask.nii.gz": "sub-01_ses-LF_acq-axi_T1w",
    }
