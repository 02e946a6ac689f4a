"""The command line: one parser for each level, derived from the fields of its settings and of its parts' settings."""

import argparse
import dataclasses
import itertools
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..config import LEVELS, RESOURCES, RUN, SCANS, SETTINGS, Common, flag, from_toml, validated
from ..errors import InputError
from .parts import Part, choices, options_of_parts, parts_of

EPILOG = """exit codes: 0 everything asked for is on disk; 1 some subject failed or is incomplete; 2 usage or preflight.
Research use only; never for a diagnosis."""

ABOUT = {
    "participant": "Ultra-low-field brain MRI to high-field-like images, and how far to trust them.",
    "group": "All subjects of a derivative to tables, figures and one page: quality, volumes, agreement, test-retest.",
    "simulate": "High-field brain MRI to a dataset of simulated ultra-low-field scans.",
    "train": "Trains a learned method from pairs of low and high field, or from high field and a simulator.",
}
"""What each level does."""

OUTPUT = {
    "participant": "where the derivative goes",
    "group": "the derivative of the participant level, read and added to",
    "simulate": "where the simulated dataset goes",
    "train": "where weights, curves and the card go",
}
"""What OUT_DIR is at each level."""


def parse(argv: Sequence[str] | None = None) -> Common:
    """The validated settings of a command line, of the class of its level; defaults < --config-file < command line.

    Raises ``InputError`` for folders or values that cannot be used, ``SystemExit`` for ``--help`` and usage errors.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    level = level_of(words)
    parser = build_parser(level)
    namespace, unknown = parser.parse_known_args(words)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{_why(level, unknown)}")
    given = vars(namespace)
    if given["level"] != level:
        parser.error("BIDS_DIR OUT_DIR LEVEL come first, options after them")
    _refuse_scan(given["bids_dir"])
    kind = SETTINGS[level]
    file = from_toml(given.pop("config_file"), kind) if "config_file" in given else {"run": {}, "parts": {}}
    run = {key: _typed(kind, key, value) for key, value in file["run"].items()}
    run |= {key: value for key, value in given.items() if "." not in key}
    if run.get("sloppy"):
        run["budget"] = "sloppy"
    run |= options_of_parts(level, run, file["parts"], given)
    return validated(kind(**run))


def _refuse_scan(path: Path) -> None:
    """Raise ``InputError`` for an image where a dataset is expected: it says which command takes images."""
    if path.name.endswith((".nii", ".nii.gz")) and not path.is_dir():
        raise InputError(
            f"Expected a BIDS dataset as the first argument, found the image {path}; for one scan use: "
            f"bids_lfenhance enhance {path} -o enhanced.nii.gz",
            code="not-bids",
            path=path,
        )


def _why(level: str, unknown: Sequence[str]) -> str:
    """What is to be said of options that a level does not have, though another has them."""
    hidden = {f"--{part.name}-{name}".replace("_", "-") for part in parts_of(level) for name in part.hidden}
    plain = {word.partition("=")[0].replace("--no-", "--", 1) for word in unknown}
    return " (trained weights decide it, or it is for images that are enhanced: see --help)" if hidden & plain else ""


def level_of(words: Sequence[str]) -> str:
    """The level that a command line means: the third word, or, where options come first, the last word that is one.

    >>> level_of(["train", "out", "participant", "--output-label", "simulate"]), level_of(["--help"])
    ('participant', 'participant')
    """
    leading = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    named = [word for word in (leading[2:3] if len(leading) >= 3 else words) if word in LEVELS]
    return named[-1] if named else LEVELS[0]


def build_parser(level: str = LEVELS[0]) -> argparse.ArgumentParser:
    """The argument parser of a level; an option that was not given leaves no trace in its namespace."""
    others = "".join(
        f"\nlevel {other}: {ABOUT[other]} bids_lfenhance {other} --help" for other in LEVELS if other != level
    )
    parser = argparse.ArgumentParser(
        prog="bids_lfenhance",
        usage=f"%(prog)s [options] bids_dir out_dir {level}",
        description=ABOUT[level],
        epilog=EPILOG + others,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,  # an option that is gone would be taken for one that begins alike
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bids_dir", type=Path, help="the raw BIDS dataset")
    parser.add_argument("out_dir", type=Path, help=OUTPUT[level])
    parser.add_argument("level", choices=LEVELS, help="the analysis level")
    parser.add_argument("--version", action="version", version=f"bids_lfenhance {__version__}")
    parser.add_argument("--citation", action=_Citation, nargs=0, help="print what to cite, with licences, and stop")
    parser.add_argument("--config-file", type=Path, metavar="TOML", help="settings file, as an earlier run left it")
    kind = SETTINGS[level]
    items = [item for item in dataclasses.fields(kind) if "group" in item.metadata]
    own = dict.fromkeys(item.metadata["group"] for item in items)
    groups = {
        name: parser.add_argument_group(name)
        for name in dict.fromkeys([SCANS, *(n for n in own if n not in (RESOURCES, RUN)), RESOURCES, RUN])
    }
    for item in items:
        _add_option(groups[item.metadata["group"]], level, item)
    _add_parts(parser, parts_of(level))
    return parser


def _add_option(group: Any, level: str, item: Any) -> None:
    keywords: dict[str, Any] = {"dest": item.name, "help": item.metadata["help"]}
    kind = typing.get_type_hints(SETTINGS[level])[item.name]
    words = item.metadata.get("choices") or choices(level, item.name)
    if item.metadata.get("count"):
        keywords["action"] = "count"
    elif kind is bool:
        keywords["action"] = "store_true"
    elif kind == tuple[str, ...]:
        keywords |= {"nargs": "+", "action": _Words, "metavar": item.metadata.get("metavar", "LABEL")}
        keywords |= {"choices": words} if words else {}
    else:
        keywords |= {"type": _base_type(kind), "metavar": item.metadata.get("metavar", item.name.upper())}
        if words:
            keywords["choices"] = words
            del keywords["metavar"]
    if item.default not in (None, ()) and keywords.get("action") not in ("count", "store_true"):
        shown = " ".join(item.default) if isinstance(item.default, tuple) else item.default
        keywords["help"] += f" (default: {shown})"
    flags = sorted({flag(item.name), *item.metadata["flags"]}, key=lambda f: ("_" in f, len(f)))
    group.add_argument(*flags, **keywords)


def _add_parts(parser: argparse.ArgumentParser, parts: Sequence[Part]) -> None:
    """A help group for each name; a method and a simulator of one name share it, and their common options."""
    titles = {"method": "Method", "simulator": "Simulator", "augment": "Simulator"}
    for name in dict.fromkeys(part.name for part in parts):
        own = [part for part in parts if part.name == name]
        group = parser.add_argument_group(f"{' and '.join(titles[part.kind] for part in own)} {name}")
        fields = {field: part for part in reversed(own) for field in part.fields}
        for field, part in fields.items():
            _add_part_option(group, part, field)


def _add_part_option(group: Any, part: Part, name: str) -> None:
    item, kind = part.fields[name], part.hints[name]
    keywords: dict[str, Any] = {"dest": f"{part.name}.{name}", "help": item.metadata["help"]}
    if kind is bool:
        keywords["action"] = argparse.BooleanOptionalAction
    elif typing.get_origin(kind) is typing.Literal:
        keywords["choices"] = typing.get_args(kind)
    else:
        keywords |= {"type": _base_type(kind), "metavar": name.upper()}
    if item.default is not None:
        keywords["help"] += f" (default: {item.default})"
    keywords["help"] = keywords["help"].replace("%", "%%")
    group.add_argument(f"--{part.name}-{name.replace('_', '-')}", **keywords)


def _base_type(kind: Any) -> Any:
    """The type behind ``X | None``."""
    if isinstance(kind, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not types.NoneType)
    return kind


def _typed(settings: type[Common], name: str, value: Any) -> Any:
    """A value from TOML in the type of its field."""
    kind = typing.get_type_hints(settings)[name]
    if kind == tuple[str, ...] and isinstance(value, list):
        return tuple(str(word) for word in value)
    kind = _base_type(kind)
    if kind is float and isinstance(value, int):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind == tuple[str, ...] or not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        expected = getattr(kind, "__name__", str(kind))
        raise InputError(
            f"Expected {expected} for '{name}' in the settings file, found {value!r}; correct it.",
            code="bad-setting",
            key=name,
        )
    return value


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
