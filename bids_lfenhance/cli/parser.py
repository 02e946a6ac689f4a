"""The command line: one parser for each level, derived from the fields of its settings."""

import argparse
import dataclasses
import itertools
import re
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._version import __version__
from ..config import LEVELS, RESOURCES, RUN, SCANS, SETTINGS, Common, flag, from_toml, validated
from ..errors import InputError, usable_paths
from .help import ABOUT, EPILOG, describe_method, overview, print_lines
from .parts import base_type, choices, did_you_mean, parts_of, settings_of_parts, shared, typed, words_of

OUTPUT = {
    "participant": "where the derivative goes",
    "group": "the derivative of the participant level, read and added to",
    "simulate": "where the simulated dataset goes",
    "train": "where weights, curves and the card go",
}
"""What OUT_DIR is at each level."""


@usable_paths()
def parse(argv: Sequence[str] | None = None) -> Common:
    """The validated settings of a command line, of the class of its level; defaults < --config-file < command line.

    Raises ``InputError`` for folders or values that cannot be used, ``SystemExit`` for ``--help`` and usage errors.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or (not set(words) & set(LEVELS) and set(words) & {"-h", "--help"}):
        if words:
            print_lines(overview())
            raise SystemExit(0)
        print(overview(), file=sys.stderr)  # noqa: T201
        raise SystemExit(2)
    words = paths_first(words)
    level = level_of(words)
    parser = build_parser(level)
    namespace, unknown = parser.parse_known_args(words)
    if unknown:
        _refuse_unknown(parser, level, unknown)
    given = vars(namespace)
    if given["level"] != level:
        parser.error("BIDS_DIR OUT_DIR LEVEL come first, options after them")
    _refuse_scan(given["bids_dir"])
    kind = SETTINGS[level]
    names = {item.name for item in dataclasses.fields(kind)}
    file = from_toml(given["config_file"], kind) if "config_file" in given else {"run": {}}
    run = {key: _typed(kind, key, value) for key, value in file["run"].items()}
    run |= {key: value for key, value in given.items() if key in names}
    if run.get("sloppy"):
        both = given if "sloppy" in given else run  # a file's budget gives way to --sloppy
        if both.get("budget", "sloppy") != "sloppy":
            parser.error(f"--sloppy and --budget {both['budget']} contradict each other: leave out one")
        run["budget"] = "sloppy"
    run |= settings_of_parts(level, run, file, {key: value for key, value in given.items() if key not in names})
    return validated(kind(**run))


def _refuse_scan(path: Path) -> None:
    """Raise ``InputError`` for an image where a dataset is expected: it says which command takes images."""
    if path.name.endswith((".nii", ".nii.gz")) and not path.is_dir():
        message = (
            f"Expected a BIDS dataset as the first argument, found the image {path}; for one scan use: "
            f"bids_lfenhance enhance {path} -o enhanced.nii.gz"
        )
        raise InputError(message, code="not-bids", path=path)


def _refuse_unknown(parser: argparse.ArgumentParser, level: str, unknown: Sequence[str]) -> typing.NoReturn:
    """Say of words that a level does not have what was meant, or which level has them."""
    options = [number for number, word in enumerate(unknown) if word.startswith("--")]
    advice = ""
    if options:
        word = unknown[options[0]].partition("=")[0]
        others = [name for name in LEVELS if word in build_parser(name)._option_string_actions]
        near = did_you_mean(word, parser._option_string_actions)
        advice = f"; it is an option of level {' and '.join(others)}" if others else f"; {near}" if near else ""
    parser.error(f"unrecognized arguments: {' '.join(unknown)}{advice}")


def paths_first(words: Sequence[str]) -> list[str]:
    """A command line with BIDS_DIR OUT_DIR LEVEL first, where it begins with options or with the level.

    A list of labels would swallow the paths that come after it; the level first is how other programs have it.

    >>> paths_first(["--participant-label", "01", "02", "raw", "out", "group", "--nprocs", "2"])
    ['raw', 'out', 'group', '--participant-label', '01', '02', '--nprocs', '2']
    >>> paths_first(["group", "raw", "out", "--dry-run"])
    ['raw', 'out', 'group', '--dry-run']
    """
    first = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    if len(first) == 3 and first[0] in LEVELS and first[2] not in LEVELS:
        return [first[1], first[2], first[0], *words[3:]]
    for at in range(len(words) - 1, 1, -1) if words[0].startswith("-") else ():
        three, rest = words[at - 2 : at + 1], words[at + 1 :]
        ends = not rest or rest[0].startswith("-")
        if words[at] in LEVELS and ends and not any(word.startswith("-") for word in three):
            return [*three, *(word for word in words[: at - 2] if word != "--"), *rest]
    return list(words)


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
    parser = _Parser(
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
    parser.add_argument(
        "--citation", action=_Show, nargs=0, const=_citation, help="print what to cite, with licences, and stop"
    )
    parser.add_argument("--config-file", type=Path, metavar="TOML", help="settings file, as an earlier run left it")
    about = "print the settings of one method or simulator, stop"
    parser.add_argument("--help-method", action=_Show, const=describe_method, metavar="NAME", help=about)
    kind = SETTINGS[level]
    items = [item for item in dataclasses.fields(kind) if "group" in item.metadata]
    own = dict.fromkeys(item.metadata["group"] for item in items)
    groups = {
        name: parser.add_argument_group(name)
        for name in dict.fromkeys([SCANS, *(n for n in own if n not in (RESOURCES, RUN)), RESOURCES, RUN])
    }
    for item in items:
        _add_option(groups[item.metadata["group"]], level, item)
        if parts_of(level) and item.name == parts_of(level)[0].kind:
            _add_settings(groups[item.metadata["group"]], level)
    return parser


def _add_option(group: Any, level: str, item: Any) -> None:
    sentence = SETTINGS[level].HELP.get(item.name, item.metadata["help"])
    keywords: dict[str, Any] = {"dest": item.name, "help": sentence}
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
        keywords |= {
            "type": item.metadata.get("parse", base_type(kind)),
            "metavar": item.metadata.get("metavar", item.name.upper()),
        }
        if words:
            keywords["choices"] = words
            del keywords["metavar"]
    if item.default not in (None, ()) and keywords.get("action") not in ("count", "store_true"):
        shown = " ".join(item.default) if isinstance(item.default, tuple) else item.default
        keywords["help"] += f" (default: {shown})"
    flags = sorted({flag(item.name), *item.metadata["flags"]}, key=lambda f: ("_" in f, len(f)))
    group.add_argument(*flags, **keywords)


def _add_settings(group: Any, level: str) -> None:
    """How the settings of the method or simulator are given."""
    group.add_argument(
        "--set",
        dest="set",
        nargs="+",
        action=_Words,
        metavar="KEY=VALUE",
        help="settings of the method or simulator, listed by --help-method"
        + ("; those of the simulator as simulator.KEY=VALUE" if level == "train" else ""),
    )
    for name, part in shared(level).items():
        item = part.fields[name]
        words = typing.get_args(typing.get_type_hints(part.known)[name])
        group.add_argument(
            flag(name),
            dest=name,
            help=f"{item.metadata['help']} (default: {item.default})".replace("%", "%%"),
            **({"choices": words} if words else {"metavar": name.upper()}),
        )


def _typed(settings: type[Common], name: str, value: Any) -> Any:
    """A value from TOML in the type of its field, and among its choices."""
    kind = typing.get_type_hints(settings)[name]
    words = next(item.metadata for item in dataclasses.fields(settings) if item.name == name).get("choices")
    if words and not {*(value if isinstance(value, list) else [value])} <= {*words}:
        message = f"Expected {' or '.join(words)} for '{name}' in the settings file, found {value!r}; correct it."
        raise InputError(message, code="bad-setting", key=name)
    if kind == tuple[str, ...] and isinstance(value, list):
        return tuple(str(word) for word in value)
    base = base_type(kind)
    try:
        if isinstance(value, str) and base not in (str, Path):  # TOML has numbers itself
            raise ValueError(value)
        return typed(base, value)
    except ValueError as error:
        message = f"Expected {words_of(base)} for '{name}' in the settings file, found {value!r}; correct it."
        raise InputError(message, code="bad-setting", key=name) from error


class _Parser(argparse.ArgumentParser):
    """Says what was meant where a word is none of the choices."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(name) for name in action.choices]
            advice = f"{did_you_mean(str(value), names)}choose from {', '.join(names)}"
            raise argparse.ArgumentError(action, f"invalid choice: '{value}' ({advice})")


class _Words(argparse.Action):
    """Words that may come together or one option at a time, as scripts of other BIDS Apps give them."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if self.dest.endswith("_label"):  # lists of other tools: "K6,K7", "K6 K7", lines that Windows ended
            values = [label for value in values for label in re.split(r"[\s,;]+", value) if label]
            if not values:
                parser.error(f"argument {option_string}: expected a label, found none (an empty variable?)")
        setattr(namespace, self.dest, (*getattr(namespace, self.dest, ()), *values))


class _Show(argparse.Action):
    """Prints what the function ``const`` says of the option's value and stops, as ``--version`` does."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        print_lines(self.const(values))
        parser.exit()


def _citation(_: Any) -> str:
    from ..reports.boilerplate import what_to_cite

    return what_to_cite()
