"""Settings as TOML, out and in."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import InputError
from .options import Common
from .participant import Settings
from .toml import dumps

PARTS = ("method", "simulator")
"""Tables of the settings of what is used; in the settings of a level they are the fields ``<table>_options``."""

_PARTS = {f"{table}_options" for table in PARTS}

_MADE_BY = "made_by"
"""Table of a file that tells what made it; nothing to set."""

_NOT_TO_RUN = {"dry_run", "reports_only", "boilerplate_only"}
"""Options that stop before the run."""


def to_toml(settings: Common, **tables: Mapping[str, Any]) -> str:
    """The resolved settings as TOML; what is unset (None) is left out.

    ``tables`` are the settings of the ``method`` and the ``simulator`` in use; their ``device`` is the run's.
    """
    run = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name not in _PARTS | _NOT_TO_RUN}
    parts = {name: {key: value for key, value in own.items() if key != "device"} for name, own in tables.items()}
    return dumps({"run": run, **parts})


def from_toml(path: Path, kind: type[Common] = Settings) -> dict[str, dict[str, Any]]:
    """The tables of a settings file by name: ``run`` in any case, ``method`` and ``simulator`` where they are there."""
    try:
        tables = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise InputError(
            f"Expected a settings file at {path}, found none ({error.strerror}).", code="missing-file", path=path
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"Expected TOML in {path}, found something else: {error}; correct the file.", code="bad-toml", path=path
        ) from error
    expected = ("run", *PARTS, _MADE_BY)
    if strange := [name for name, table in tables.items() if name not in expected or not isinstance(table, dict)]:
        message = (
            f"Expected the tables [run], [method] and [simulator] in {path}, found '{strange[0]}'; settings of a "
            "method or simulator go into these, whatever its name."
        )
        raise InputError(message, code="bad-setting", path=path, key=strange[0])
    run = tables.pop("run", {})
    level = {f.name: f.default for f in fields(kind)}["level"]
    if run.get("level", level) != level:
        message = f"Expected settings of level {level} in {path}, found those of '{run['level']}'; see --help."
        raise InputError(message, code="bad-setting", path=path)
    known = {f.name for f in fields(kind)} - _PARTS
    if unknown := sorted(set(run) - known):
        near = get_close_matches(unknown[0], known, n=1)
        advice = f"did you mean '{near[0]}'" if near else "settings of a method go into the [method] table"
        message = f"Expected options of level {level} in the [run] table of {path}, found '{unknown[0]}'; {advice}."
        raise InputError(message, code="bad-setting", path=path, key=unknown[0])
    run = {key: value for key, value in run.items() if key not in ("bids_dir", "out_dir", "level")}
    return {"run": run, **{name: table for name, table in tables.items() if name in PARTS}}
