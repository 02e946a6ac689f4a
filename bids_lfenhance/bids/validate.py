"""The check of the source dataset that ``--skip-bids-validation`` leaves out."""

from pathlib import Path

from ..errors import InputError
from .sidecars import read_json

REQUIRED = ("Name", "BIDSVersion")


def check_source(bids_dir: Path) -> None:
    """Nothing, or an ``InputError`` where the folder does not say that it is a BIDS dataset.

    The whole validator is not run: what of the dataset is used is checked when it is used, file by file.
    """
    advice = "correct it, or give --skip-bids-validation to take the folder as it is."
    path = bids_dir / "dataset_description.json"
    if not path.is_file():
        raise InputError(f"Expected a BIDS dataset with dataset_description.json, found none in {bids_dir}; {advice}")
    description = read_json(path)
    for key in REQUIRED:
        if not isinstance(description.get(key), str):
            raise InputError(f"Expected a text for '{key}' in {path}, found {description.get(key)!r}; {advice}")
    if description.get("DatasetType", "raw") != "raw":
        raise InputError(
            f"Expected a raw dataset in {bids_dir}, found DatasetType '{description['DatasetType']}'; "
            "give the folder with the scans as they were acquired."
        )
