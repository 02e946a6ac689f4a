"""A raw dataset, and the specification of a run on it."""

from pathlib import Path

import pytest

from bids_lfenhance.config import RunSpec

from .sessions import make_spec


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "dataset_description.json").write_text('{"Name": "Test", "BIDSVersion": "1.10.0"}')
    return folder


@pytest.fixture
def spec(tmp_path: Path, raw: Path) -> RunSpec:
    return make_spec(
        bids_dir=str(raw),
        out_dir=str(tmp_path / "out"),
        method="inr",
        label="inr",
        settings_hash="abc",
        n_samples=3,
        gives_error_std=True,
        sloppy=False,
        resolution="1mm",
        synthetic=True,
        segmentation="builtin",
        segmentation_hash="abcd",
        maps={"Sample": {"Description": "How odd it is.", "Units": "share"}, "DrawsStd": {"Description": "F."}},
        weights_contrasts=("T1w",),
    )
