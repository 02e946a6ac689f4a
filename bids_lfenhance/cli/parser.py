"""The command line, derived from the fields of ``Settings`` and of each method's settings."""

import argparse
import dataclasses
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..config import LEVELS, Settings, from_toml, validated
from ..errors import InputError
from ..methods import METHODS, get_method

EPILOG = """exit codes: 0 everything asked for is on disk; 1 some subject failed or is incomplete; 2 usage or preflight.
Research use only; never for a diagnosis."""


def parse(argv: Sequence[str] | None = None) -> Settings:
    """The validated settings of a command line; defaults < --config-file < command line.

    Raises ``InputError`` for folders or values that cannot be used, ``SystemExit`` for ``--help`` and usage errors.
    """
    given = vars(build_parser().parse_args(argv))
    file = from_toml(given.pop("config_file")) if "config_file" in given else {"run": {}, "methods": {}}
    run = {key: _typed(key, value) for key, value in file["run"].items()}
    run |= {key: value for key, value in given.items() if "." not in key}
    if run.get("sloppy"):
        run["budget"] = "sloppy"
    method = run.get("method", _field("method").default)
    if method not in METHODS:
        raise InputError(f"Expected a method out of {', '.join(METHODS)}, found '{method}'; change --method.")
    run["method_options"] = {**_method_table(file["methods"], method), **_method_options(given, method)}
    return validated(Settings(**run))


def build_parser() -> argparse.ArgumentParser:
    """The argument parser; an option that was not given leaves no trace in its namespace."""
    parser = argparse.ArgumentParser(
        prog="bids_lfenhance",
        description="Ultra-low-field brain MRI to high-field-like images, and how far to trust them.",
        epilog=EPILOG,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bids_dir", type=Path, help="the raw BIDS dataset")
    parser.add_argument("out_dir", type=Path, help="where the derivative goes")
    parser.add_argument("level", choices=LEVELS, help="the analysis level")
    parser.add_argument("--version", action="version", version=f"bids_lfenhance {__version__}")
    parser.add_argument("--citation", action=_Citation, nargs=0, help="print what to cite, with licences, and stop")
    parser.add_argument("--config-file", type=Path, metavar="TOML", help="settings file, as the log folder holds one")
    groups: dict[str, Any] = {}
    for item in dataclasses.fields(Settings):
        if "group" in item.metadata:
            name = item.metadata["group"]
            groups[name] = groups.get(name) or parser.add_argument_group(name)
            _add_option(groups[name], item)
    for name in METHODS:
        _add_method_options(parser, name)
    return parser


def _field(name: str) -> Any:
    return next(f for f in dataclasses.fields(Settings) if f.name == name)


def _add_option(group: Any, item: Any) -> None:
    keywords: dict[str, Any] = {"dest": item.name, "help": item.metadata["help"]}
    kind = typing.get_type_hints(Settings)[item.name]
    if item.metadata.get("count"):
        keywords["action"] = "count"
    elif kind is bool:
        keywords["action"] = "store_true"
    elif kind == tuple[str, ...]:
        keywords |= {"nargs": "+", "action": _Words, "metavar": "LABEL"}
    else:
        keywords |= {"type": _base_type(kind), "metavar": item.metadata.get("metavar", item.name.upper())}
        if "choices" in item.metadata or item.name == "method":
            keywords["choices"] = item.metadata.get("choices", tuple(METHODS))
            del keywords["metavar"]
        if item.default is not None:
            keywords["help"] += f" (default: {item.default})"
    flags = sorted({f"--{item.name.replace('_', '-')}", *item.metadata["flags"]}, key=lambda f: ("_" in f, len(f)))
    group.add_argument(*flags, **keywords)


def _add_method_options(parser: argparse.ArgumentParser, name: str) -> None:
    method = get_method(name)
    group = parser.add_argument_group(f"Method {name}")
    hints = typing.get_type_hints(method.settings)
    for item in dataclasses.fields(method.settings):
        if item.name == "device":  # one --device for the whole run
            continue
        kind = hints[item.name]
        keywords: dict[str, Any] = {"dest": f"{name}.{item.name}", "help": item.metadata["help"]}
        if kind is bool:
            keywords["action"] = argparse.BooleanOptionalAction
        elif typing.get_origin(kind) is typing.Literal:
            keywords["choices"] = typing.get_args(kind)
        else:
            keywords |= {"type": _base_type(kind), "metavar": item.name.upper()}
        keywords["help"] = f"{keywords['help']} (default: {item.default})".replace("%", "%%")
        group.add_argument(f"--{name}-{item.name.replace('_', '-')}", **keywords)


def _base_type(kind: Any) -> Any:
    """The type behind ``X | None``."""
    if isinstance(kind, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not types.NoneType)
    return kind


def _typed(name: str, value: Any) -> Any:
    """A value from TOML in the type of its field."""
    kind = typing.get_type_hints(Settings)[name]
    if kind == tuple[str, ...] and isinstance(value, list):
        return tuple(str(word) for word in value)
    kind = _base_type(kind)
    if kind is float and isinstance(value, int):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f"Expected {kind.__name__} for '{name}' in the settings file, found {value!r}; correct it.")
    return value


def _method_options(given: dict[str, Any], method: str) -> dict[str, Any]:
    options = {}
    for key, value in given.items():
        owner, _, name = key.partition(".")
        if not name:
            continue
        if owner != method:
            raise InputError(
                f"Expected options of method '{method}', found --{owner}-{name.replace('_', '-')}, "
                f"which would have no effect; drop it or choose --method {owner}."
            )
        options[name] = value
    return options


def _method_table(tables: dict[str, Any], method: str) -> dict[str, Any]:
    known = {f.name for f in dataclasses.fields(get_method(method).settings)}
    for key in tables.get(method, {}):
        if key not in known:
            raise InputError(f"Expected an option of '{method}' in the settings file, found '{key}'; see --help.")
    return dict(tables.get(method, {}))


class _Words(argparse.Action):
    """Words that may come together or one option at a time, as scripts of other BIDS Apps give them."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, (*getattr(namespace, self.dest, ()), *values))


class _Citation(argparse.Action):
    """Prints what to cite and stops, as ``--version`` does."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        from ..data import read_text

        print(read_text("citation.md"))  # noqa: T201  (the result of this option)
        parser.exit()
