"""Settings as TOML, out and in."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import InputError
from .options import Common
from .participant import Settings
from .toml import dumps

_PARTS = {"method_options", "simulator_options"}
"""Fields that have a table of their own."""

_NOT_TO_RUN = {"dry_run", "reports_only", "boilerplate_only"}
"""Fields that tell not how to run, but not to."""


def to_toml(settings: Common, *options: Mapping[str, Any]) -> str:
    """The resolved settings as TOML; what is unset (None) is left out, as TOML has no word for it.

    ``options`` are those of the method or simulator, one mapping for each of ``settings.parts``, which names them.
    """
    run = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name not in _PARTS | _NOT_TO_RUN}
    parts = dict(zip(getattr(settings, "parts", {}), options, strict=True))
    return dumps({"run": _plain(run), **{name: _plain(part) for name, part in parts.items()}})


def _plain(table: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Path):
            plain[key] = str(value)
        elif isinstance(value, tuple):
            plain[key] = list(value)
        elif value is not None:
            plain[key] = value
    return plain


def from_toml(path: Path, kind: type[Common] = Settings) -> dict[str, Any]:
    """What a settings file says: run options by name, and one table of options per method or simulator."""
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise InputError(
            f"Expected a settings file at {path}, found none ({error.strerror}).", code="missing-file", path=path
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"Expected TOML in {path}, found something else: {error}; correct the file.", code="bad-toml", path=path
        ) from error
    run = tables.pop("run", {})
    level = {f.name: f.default for f in fields(kind)}["level"]
    if run.get("level", level) != level:
        raise InputError(
            f"Expected settings of level {level} in {path}, found those of '{run['level']}'; see --help.",
            code="bad-setting",
            path=path,
        )
    if unknown := sorted(set(run) - {f.name for f in fields(kind)} | set(run) & _PARTS):
        raise InputError(
            f"Expected known options in the [run] table of {path}, found '{unknown[0]}'; see --help.",
            code="bad-setting",
            path=path,
            key=unknown[0],
        )
    run = {key: value for key, value in run.items() if key not in ("bids_dir", "out_dir", "level")}
    return {"run": run, "parts": tables}
