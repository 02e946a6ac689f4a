"""The BIDS filter file: which scans are used, and which high-field session is the reference.

A JSON object in the manner of fMRIPrep's. Five keys, each with entity filters that a scan must meet:

- ``t1w``, ``t2w``, ``flair``: the images of one contrast, at low and at high field;
- ``lf``: the low-field stacks;
- ``reference``: the high-field images that may serve as reference.

Entities go by pybids' name or by their short key (``session`` or ``ses``, ``acquisition`` or ``acq`` …). A value is
a label, a list of labels, ``null`` or ``"Query.NONE"`` (the entity must be absent), or ``"Query.ANY"`` (it must be
there). ``datatype``, ``suffix`` and ``extension``, which fMRIPrep's files carry, may stand there too::

    {"lf": {"acquisition": ["axi", "cor", "sag"]}, "reference": {"session": "GE"}, "flair": {"reconstruction": null}}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import CONTRASTS, Common
from ..errors import InputError
from .scans import Scan, shorten
from .sidecars import read_json, split_name

ENTITIES = {
    "session": "ses",
    "sample": "sample",
    "task": "task",
    "tracksys": "tracksys",
    "acquisition": "acq",
    "nucleus": "nuc",
    "volume": "voi",
    "ceagent": "ce",
    "tracer": "trc",
    "staining": "stain",
    "reconstruction": "rec",
    "direction": "dir",
    "run": "run",
    "modality": "mod",
    "echo": "echo",
    "flip": "flip",
    "inv": "inv",
    "mt": "mt",
    "part": "part",
    "proc": "proc",
    "split": "split",
    "chunk": "chunk",
}
"""pybids' name of an entity → its key in file names."""

OF_THE_FILE = ("datatype", "suffix", "extension")
KEYS = (*(contrast.lower() for contrast in CONTRASTS), "lf", "reference")

Filters = Mapping[str, Mapping[str, Any]]


def load_filters(path: str | Path) -> Filters:
    """The filters of a file given to ``--bids-filter-file``, checked."""
    return check_filters(read_json(Path(path)), str(path))


def scan_choice(settings: Common) -> dict[str, Any]:
    """Arguments of every plan: the filters, the field strength to assume, where the index of the dataset is kept."""
    return {
        "filters": load_filters(settings.bids_filter_file) if settings.bids_filter_file else None,
        "assume_field_strength": settings.assume_field_strength,
        "database_dir": settings.bids_database_dir,
    }


def check_filters(filters: Mapping[str, Any], origin: str = "the BIDS filter") -> Filters:
    """The same filters with every entity by its short key, or an ``InputError`` that names what is unknown."""
    checked = {}
    for key, wanted in filters.items():
        if key not in KEYS:
            message = f"Expected the keys {', '.join(KEYS)} in {origin}, found {key!r}; remove or rename it."
            raise InputError(message, code="bad-filter", key=key)
        if not isinstance(wanted, Mapping):
            message = f"Expected an object of entities under {key!r} in {origin}, found {wanted!r}; see the docs."
            raise InputError(message, code="bad-filter", key=key)
        checked[key] = {_short(entity, origin): value for entity, value in wanted.items()}
    return checked


def _short(entity: str, origin: str) -> str:
    if entity in ENTITIES:
        return ENTITIES[entity]
    if entity in ENTITIES.values() or entity in OF_THE_FILE:
        return entity
    message = f"Expected BIDS entities in {origin}, found {entity!r}; choose among {shorten(ENTITIES, len(ENTITIES))}."
    raise InputError(message, code="bad-filter", key=entity)


def passes(scan: Scan, filters: Filters, *keys: str) -> bool:
    """Whether a scan meets the filters under each of the keys (a key that is not there asks nothing)."""
    return all(_meets(scan, entity, value) for key in keys for entity, value in filters.get(key, {}).items())


def _meets(scan: Scan, entity: str, wanted: Any) -> bool:
    if entity in OF_THE_FILE:
        extension = split_name(scan.path.name)[2]
        value: str | None = {"datatype": "anat", "suffix": scan.contrast, "extension": extension}[entity]
    else:
        value = scan.entities.get(entity)
    choices = wanted if isinstance(wanted, list) else [wanted]
    return any(_is(value, choice, entity) for choice in choices)


def _is(value: str | None, choice: Any, entity: str) -> bool:
    if choice is None or choice == "Query.NONE":
        return value is None
    if choice in ("*", "Query.ANY"):
        return value is not None
    if choice == "Query.OPTIONAL":
        return True
    if value is None:
        return False
    label = str(choice).removeprefix(f"{entity}-")
    if entity == "run" and label.isdecimal() and value.isdecimal():
        return int(label) == int(value)
    return label.lstrip(".") == value.lstrip(".")
