"""Small BIDS trees of empty images."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LOW: dict[str, Any] = {"ImagingFrequency": 2.70, "MagneticFieldStrength": 0.006, "Manufacturer": "Hyperfine"}
HIGH: dict[str, Any] = {"ImagingFrequency": 127.76, "MagneticFieldStrength": 3, "Manufacturer": "GE"}

MakeTree = Callable[[dict[str, Any]], Path]


@pytest.fixture
def make_tree(tmp_path: Path) -> MakeTree:
    """Writes a dataset: each key an image as ``01/HFC/acq-axi_T1w`` (session may be ``-``), each value its sidecar.

    A sidecar that is None is not written; one that is text is written as it stands.
    """

    def write(images: dict[str, Any]) -> Path:
        root = tmp_path / "data"
        root.mkdir(exist_ok=True)
        (root / "dataset_description.json").write_text('{"Name": "tiny", "BIDSVersion": "1.10.0"}')
        for key, sidecar in images.items():
            subject, session, rest = key.split("/")
            names = [f"sub-{subject}"] + ([f"ses-{session}"] if session != "-" else [])
            folder = root.joinpath(*names, "anat")
            folder.mkdir(parents=True, exist_ok=True)
            image = folder / ("_".join([*names, rest]) + ("" if rest.endswith(".nii") else ".nii.gz"))
            image.touch()
            if sidecar is not None:
                text = sidecar if isinstance(sidecar, str) else json.dumps(sidecar)
                image.with_name(image.name.partition(".")[0] + ".json").write_text(text)
        return root

    return write


@pytest.fixture
def low() -> dict[str, Any]:
    """Sidecar of a Hyperfine Swoop as ds006557 has it."""
    return dict(LOW)


@pytest.fixture
def high() -> dict[str, Any]:
    """Sidecar of a 3 T scan as ds006557 has it."""
    return dict(HIGH)
