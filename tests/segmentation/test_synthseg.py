"""FreeSurfer's mri_synthseg, as far as it goes without FreeSurfer: a stand-in program and the files it leaves."""

import json
import stat
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_lfenhance.errors import InputError, MethodError
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import load_arrays, save_arrays, save_volume, volume_from_channels
from bids_lfenhance.segmentation.synthseg import check_installed, read_synthseg
from bids_lfenhance.segmentation.volumes import TOTAL

GRID = Grid(np.diag([2.0, 2.0, 2.0, 1.0]), (10, 12, 8))

STAND_IN = """#!{python}
import json, sys
import nibabel as nib
import nibabel as nib
import numpy as np
given = {{}}
words = sys.argv[1:]
for word, value in zip(words, words[1:]):
    given[word] = value
image = nib.load(given["--i"])
labels = np.where(np.asarray(image.dataobj) > 1, 17, 0)
labels[0, 0, 0] = 1035
nib.save(nib.Nifti1Image(labels.astype(np.int32), image.affine), given["--o"])
with open(given["--vol"], "w") as file:
    file.write("subject,total intracranial,left hippocampus,brain-stem\\n")
    file.write("image,1500000.5,4100.25,21000\\n")
with open("{log}", "a") as file:
    file.write(json.dumps(words) + "\\n")
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of a stand-in for mri_synthseg on the PATH."""
    program = tmp_path / "bin" / "mri_synthseg"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable, log=tmp_path / "log.jsonl"))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path / "log.jsonl"


def test_where_it_is_not_installed_one_sentence_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match=r"^Expected FreeSurfer's mri_synthseg .* no such program .*; source .*\.$"):
        check_installed()


def test_every_contrast_goes_through_the_program(installed, tmp_path, monkeypatch):
    from bids_lfenhance.interfaces.regions import SegmentBySynthSeg

    check_installed()
    monkeypatch.chdir(tmp_path)
    image = np.zeros(GRID.shape, np.float32)
    image[3:6, 3:6, 3:6] = 2.0
    volume = save_volume(volume_from_channels(GRID, {"T1w": image, "T2w": image * 3}), tmp_path / "volume.npz")
    anatomy = save_arrays(tmp_path / "anatomy.npz", {}, {"mask": image > 0})
    done = SegmentBySynthSeg(volume=str(volume), anatomy=str(anatomy)).run().outputs
    _, labels = load_arrays(done.labels)
    for contrast in ("T1w", "T2w"):
        np.testing.assert_array_equal(labels[contrast] == 17, image > 0)
        assert labels[contrast][0, 0, 0] == 0, "a label that is no region of ours"
        rows = {row["name"]: row for row in done.volumes[contrast]}
        assert rows["left hippocampus"]["volume_mm3"] == pytest.approx(27 * 8)
        assert rows["left hippocampus"]["volume_soft_mm3"] == 4100.25
        assert rows["brain stem"]["volume_soft_mm3"] == 21000
        assert rows[TOTAL]["volume_soft_mm3"] == 1500000.5
        assert np.isnan(rows["left amygdala"]["volume_soft_mm3"])
        assert np.isnan(rows["left hippocampus"]["confidence"])
    calls = [json.loads(line) for line in installed.read_text().splitlines()]
    assert len(calls) == 2
    assert all({"--robust", "--cpu", "--vol"} <= set(call) for call in calls)


def test_a_table_without_volumes_is_said(tmp_path):
    import nibabel as nib

    nib.save(nib.Nifti1Image(np.zeros(GRID.shape, np.uint8), GRID.affine), tmp_path / "o.nii.gz")
    (tmp_path / "v.csv").write_text("subject,total intracranial\n")
    with pytest.raises(MethodError, match="found none"):
        read_synthseg(tmp_path / "o.nii.gz", tmp_path / "v.csv", GRID)


def test_synthseg_s_labels_on_another_grid_stay_labels(tmp_path: Path):
    """Between white matter (2) and a ventricle (4) lies no cortex (3)."""
    labels = np.full((8, 8, 8), 2, np.int32)
    labels[4:] = 4
    nib.save(nib.Nifti1Image(labels, np.eye(4)), tmp_path / "o.nii.gz")
    (tmp_path / "vol.csv").write_text("subject,total intracranial\nimage,512\n")
    shifted = np.eye(4)
    shifted[:3, 3] = 0.4
    found, _ = read_synthseg(tmp_path / "o.nii.gz", tmp_path / "vol.csv", Grid(shifted, (7, 7, 7)))
    assert np.unique(found).tolist() == [2, 4]
