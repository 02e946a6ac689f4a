"""Files at the root of a simulated dataset: raw BIDS, so that the participant level reads it like any other."""

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from .atomic import locked
from .dataset import (
    APP,
    BIDS_VERSION,
    check_ours,
    check_same_source,
    generated_by,
    json_text,
    raw_link,
    source_dataset,
    source_description,
    write_changed,
)
from .participants import columns_of, merged_participants

SETTINGS = Path("code", "simulate.toml")
"""The settings that made the dataset; ``--config-file`` takes them up again."""

LOCK = Path("code", ".lock")

SOURCE = "source"
"""Name of the high-field dataset in BIDS URIs: ``bids:source:sub-01/anat/sub-01_T1w.nii.gz``."""

NAME_SUFFIX = ": simulated low field"
"""What the name of a simulated dataset has after that of its high field: the subjects are the same."""

_KEPT = ("License", "Authors", "Acknowledgements", "HowToAcknowledge", "Funding", "EthicsApprovals")

README = """\
# Simulated low-field MRI

Made by {app} {version} from the high field of "{name}": every low-field image here was computed, none was acquired.

- Sessions with `SIM` in their label hold the simulated scans; their sidecars say `Simulated: true`, and name the source
  file with its SHA-256.
- `Simulation` in a sidecar is everything that was drawn: with the source file it gives the same image again.
- Other sessions, where there are any, hold the high field as it was.
- `code/simulate.toml` has the settings: `bids_lfenhance SOURCE OUT simulate --config-file code/simulate.toml`.

The licence and the terms of the source dataset apply. Research use only.
"""


THEIRS = ("README.md", "CHANGES")
"""Files at the root that a user may have written or changed: what is there stays."""


def write_simulated_dataset(out_dir: Path, bids_dir: Path, version: str, toml: str) -> None:
    """Write the files at the root of the dataset; a README.md or CHANGES that is there stays.

    ``toml`` is the TOML of the settings that change an image. Raise ``InputError`` if the folder holds
    another dataset, or one made with other settings or of another source.
    """
    check_folder(out_dir, bids_dir, toml)
    source = source_description(bids_dir)
    name = str(source.get("Name", bids_dir.name))
    texts = {
        "dataset_description.json": json_text(simulated_description(out_dir, bids_dir, source, version)),
        "README.md": README.format(app=APP, version=version, name=name),
        "CHANGES": f"1.0.0\n  - Simulated by {APP} {version}\n",
        SETTINGS.as_posix(): toml,
    }
    if columns := columns_of(bids_dir):
        texts["participants.json"] = json_text(columns)
    with locked(out_dir / LOCK):
        check_folder(out_dir, bids_dir, toml)
        for file, text in texts.items():
            if file not in THEIRS or not (out_dir / file).exists():
                write_changed(out_dir / file, text)


def add_participants(out_dir: Path, bids_dir: Path, subjects: Iterable[str]) -> None:
    """Add the source's rows of these subjects to participants.tsv."""
    with locked(out_dir / LOCK):
        path = out_dir / "participants.tsv"
        write_changed(path, merged_participants(path, bids_dir, subjects))


def check_folder(out_dir: Path, bids_dir: Path, toml: str) -> str:
    """A sentence where the folder may hold what was made of another source, else an empty text.

    Raise ``InputError`` if it holds another dataset, or one made with other settings or, surely, of another source.
    """
    check_ours(out_dir, "raw")
    if not (out_dir / "dataset_description.json").exists() and any(out_dir.glob("sub-*")):
        raise InputError(
            f"Expected an empty OUT_DIR or an earlier output of {APP}, found subjects of another dataset in {out_dir}; "
            "give a folder of its own.",
            code="out-dir-taken",
            path=out_dir,
        )
    _check_settings(out_dir, toml)
    return check_same_source(out_dir, bids_dir, SOURCE, NAME_SUFFIX)


def _check_settings(out_dir: Path, toml: str) -> None:
    """Raise ``InputError``, naming the first setting, if the existing dataset was made with others.

    Weights are compared by their SHA-256 (``made_by.weights``), not by where they lie.
    """
    path = out_dir / SETTINGS
    if not path.exists():
        return
    try:
        existing = _flat(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"Expected the settings of the dataset in {path}, found none that can be read."
        raise InputError(message, code="other-settings", path=path) from error
    asked = _flat(tomllib.loads(toml))
    for key in sorted({*existing, *asked}):
        if existing.get(key) != asked.get(key):
            message = (
                f"Expected the settings of the dataset that is in {out_dir} already ({key} = {existing.get(key)}), "
                f"found {key} = {asked.get(key)}; give an OUT_DIR of its own, or the same settings "
                f"(--config-file {path})."
            )
            raise InputError(message, code="other-settings", path=path, key=key)


def _flat(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting that decides an image, by table and name."""
    flat = {f"{name}.{key}": value for name, table in tables.items() for key, value in table.items()}
    return {key: value for key, value in flat.items() if key == "made_by.weights" or not key.endswith(".weights")}


def simulated_description(out_dir: Path, bids_dir: Path, source: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The dataset_description.json: raw, with licence, authors and acknowledgement of the source."""
    maker = generated_by(version, os.environ) | {"Description": "Simulation of ultra-low-field MRI from high field"}
    description: dict[str, Any] = {
        "Name": f"{source.get('Name', bids_dir.name)}{NAME_SUFFIX}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        **{key: source[key] for key in _KEPT if key in source},
        "GeneratedBy": [maker],
        "DatasetLinks": {SOURCE: raw_link(out_dir, bids_dir)},
    }
    if origin := source_dataset(bids_dir, source):
        description["SourceDatasets"] = [origin]
    return description
