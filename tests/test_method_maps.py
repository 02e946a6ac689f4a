"""The maps of a method that draws through the whole command: on disk, described, in the report."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_lfenhance.bids.names import sidecar_path
from bids_lfenhance.bids.tables import read_table

from .dataset import write_dataset
from .methods.generative import small_weights

pytestmark = pytest.mark.slow  # the whole command, for half a minute


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("maps")
    write_dataset(place / "bids")
    weights = small_weights(place / "weights", ("T1w",), kind="cssdiff")
    words = ["--method", "cssdiff", "--weights", weights["weights"], "--set", f"estimate={weights['estimate']}"]
    words += ["--n-samples", "2", "--participant-label", "02"]
    command = [sys.executable, "-m", "bids_lfenhance", str(place / "bids"), str(place / "out"), "participant"]
    command += ["-w", str(place / "work"), "--sloppy", "--segmentation", "none", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "out"


def test_they_land_where_the_weights_know_the_contrast(out: Path) -> None:
    for kind, said in (("Sample", "possible high-field image"), ("DrawsStd", "standard deviation over draws")):
        found = list(out.rglob(f"*_desc-cssdiff{kind}_*.nii.gz"))
        assert found
        assert all(path.name.endswith("_T1w.nii.gz") for path in found)
        for path in found:
            image = np.asarray(nib.load(path).dataobj)
            assert np.isfinite(image).all()
            assert image.max() > 0
            assert said in json.loads(sidecar_path(path).read_text())["Description"].lower()


def test_they_are_described_and_shown(out: Path) -> None:
    rows = {row["desc_id"]: row["description"] for row in read_table(out / "descriptions.tsv")}
    assert "one possible image" in rows["desc-cssdiffSample"]
    page = (out / "sub-02.html").read_text(encoding="utf-8")
    assert "One possible image" in page
    assert "Spread of the draws" in page
