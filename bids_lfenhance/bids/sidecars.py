"""Sidecars: which JSON files apply to an image, and what they say together."""

import codecs
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError


def split_name(name: str) -> tuple[dict[str, str], str, str]:
    """Entities by their short key, suffix and extension of a BIDS file name.

    >>> split_name("sub-01_acq-axi_T1w.nii.gz")
    ({'sub': '01', 'acq': 'axi'}, 'T1w', '.nii.gz')
    """
    stem, dot, extension = name.partition(".")
    *pairs, suffix = stem.split("_")
    entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    return entities, suffix, dot + extension


def session_name(subject: str, session: str | None) -> str:
    """What the names of a session's files begin with.

    >>> session_name("01", "HFC"), session_name("01", None)
    ('sub-01_ses-HFC', 'sub-01')
    """
    return f"sub-{subject}" + (f"_ses-{session}" if session else "")


class SidecarFinder:
    """Finds the JSON files that apply to an image; each folder is listed once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listed: dict[Path, list[tuple[Path, dict[str, str], str]]] = {}

    def find(self, image: Path) -> tuple[Path, ...]:
        """The sidecars of an image, the farthest and least specific first (BIDS inheritance principle)."""
        entities, suffix, _ = split_name(image.name)
        folders = [
            folder for folder in (*reversed(image.parents),) if folder == self._root or self._root in folder.parents
        ]
        sidecars: list[Path] = []
        for folder in folders:
            fitting = [
                (len(required), path)
                for path, required, kind in self._list(folder)
                if kind == suffix and required.items() <= entities.items()
            ]
            sidecars += [path for _, path in sorted(fitting) if not _is_of_a_neighbour(path, image, len(fitting))]
        return tuple(sidecars)

    def _list(self, folder: Path) -> list[tuple[Path, dict[str, str], str]]:
        if folder not in self._listed:
            names = [(path, *split_name(path.name)) for path in folder.glob("*.json")]
            self._listed[folder] = [(path, entities, suffix) for path, entities, suffix, end in names if end == ".json"]
        return self._listed[folder]


def _is_of_a_neighbour(sidecar: Path, image: Path, fitting: int) -> bool:
    """Whether a sidecar is another image's own: T1w.json beside T1w.nii.gz does not apply to acq-late_T1w.nii.gz."""
    own = sidecar.stem == image.name.partition(".")[0]
    return fitting > 1 and not own and any(os.path.lexists(sidecar.with_suffix(end)) for end in (".nii.gz", ".nii"))


def decoded(content: bytes) -> str:
    """Text as people's programs write it: UTF-16 where it begins so, else UTF-8, else Windows' Latin-1.

    >>> decoded("né".encode("latin-1")), decoded("né".encode("utf-16")), decoded("né".encode("utf-8-sig"))
    ('né', 'né', 'né')
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def read_json(path: Path) -> dict[str, Any]:
    """The object a JSON file holds, or an ``InputError`` naming the file."""
    try:
        content = json.loads(decoded(path.read_bytes()))
    except FileNotFoundError as error:
        message = (
            f"Expected to read {path}, but it is not there or is a link to annexed content that was not fetched; "
            "restore it (datalad get) or remove the link."
        )
        raise InputError(message, code="missing-file", path=path) from error
    except OSError as error:
        raise InputError(
            f"Expected to read {path}, found {error.strerror}; check its permissions.", code="not-readable", path=path
        ) from error
    except (ValueError, RecursionError) as error:  # not text, not JSON, or nested too deeply
        raise InputError(
            f"Expected valid JSON in {path}, found {error}; repair or remove that file.", code="bad-json", path=path
        ) from error
    if not isinstance(content, dict):
        message = f"Expected a JSON object in {path}, found a {type(content).__name__}; repair or remove that file."
        raise InputError(message, code="bad-json", path=path)
    return content


def optional_json(path: Path) -> dict[str, Any]:
    """The object a JSON file holds; empty where there is none to be read."""
    try:
        return read_json(path)
    except InputError:
        return {}


def merge_sidecars(paths: Iterable[Path]) -> Mapping[str, Any]:
    """What several sidecars say together; a later (nearer) file overrules an earlier one."""
    merged: dict[str, Any] = {}
    for path in paths:
        merged |= read_json(path)
    return merged


def bids_uri(path: str | Path, root: str | Path, dataset: str = "raw") -> str:
    """``bids:<dataset>:<path inside root>``, the way ``Sources`` and ``SpatialReference`` name a file.

    ``dataset`` "" is the one in which this stands.

    >>> bids_uri("/data/sub-01/anat/sub-01_T1w.nii.gz", "/data")
    'bids:raw:sub-01/anat/sub-01_T1w.nii.gz'
    """
    return f"bids:{dataset}:{Path(path).relative_to(root).as_posix()}"
