"""Plain values as TOML, which Python itself only reads: a training may run where little else is installed."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BARE = re.compile(r"[A-Za-z0-9_-]+")


def dumps(table: Mapping[str, Any]) -> str:
    """The table as TOML, one below another; values are str, bool, int, float, and lists and mappings of them.

    A path becomes text; what is None is left out, as TOML has no word for it.

    >>> print(dumps({"seed": 3, "run": {"labels": ["a", "b"], "method": {"rate": 0.5}}}), end="")
    seed = 3
    <BLANKLINE>
    [run]
    labels = ["a", "b"]
    <BLANKLINE>
    [run.method]
    rate = 0.5
    """
    return "\n".join(_lines(table, ())).lstrip("\n") + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    table = {key: value for key, value in table.items() if value is not None}
    values = [f"{_key(key)} = {_value(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    lines = [*(["", f"[{'.'.join(path)}]"] if path and (values or not table) else []), *values]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _lines(value, (*path, _key(key)))
    return lines


def _key(key: str) -> str:
    return key if BARE.fullmatch(key) else _text(key)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str() | Path():
            return _text(str(value))
        case int():
            return str(value)
        case float():
            return repr(float(value)) if math.isfinite(value) else str(float(value))
        case Mapping():
            inside = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None)
            return "{ " + inside + " }" if inside else "{}"
        case list() | tuple():
            return "[" + ", ".join(_value(item) for item in value) + "]"
    raise TypeError(f"TOML has no word for {value!r}")
