"""Methods and simulators on the command line: which of them a level offers, and what their own settings are."""

import argparse
import dataclasses
import difflib
import itertools
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import SETTINGS, flag
from ..config.train import PLAIN
from ..errors import InputError
from ..methods import METHODS, description, trained_methods
from ..simulators import SIMULATORS, get_simulator

RUN_WIDE = frozenset({"device"})
"""Settings of parts that are one option for the whole run."""

SHARED = ("weights", "precision", "target_contrast")
"""Settings with an option of their own, as most methods have them."""

BUNDLES = ("budget", "preset")
"""Options of a level that stand for several settings of the method."""

BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""How a setting that is on or off may be given."""


@dataclass(frozen=True)
class Part:
    """A method or a simulator of a level: ``kind`` is the field of the level's settings that chooses it.

    ``offered`` are the dataclasses whose fields are settings of this level; ``known`` has every field there is. What
    is not offered is decided by trained weights, or is for images that are enhanced.
    """

    kind: str
    name: str
    offered: tuple[type, ...]
    known: type

    @property
    def table(self) -> str:
        """The table of a settings file, and the prefix of ``--set``, that the settings go under."""
        return "method" if self.kind == "method" else "simulator"

    @property
    def fields(self) -> dict[str, Any]:
        """The fields that are settings of the level, by name."""
        return {f.name: f for kind in self.offered for f in dataclasses.fields(kind) if f.name not in RUN_WIDE}

    @property
    def hidden(self) -> frozenset[str]:
        """Names of fields that are no settings of the level."""
        return frozenset(f.name for f in dataclasses.fields(self.known)) - self.fields.keys() - RUN_WIDE

    def value(self, key: str, given: Any, where: str) -> Any:
        """The value of a setting from a word or from TOML; raise ``InputError`` if there is no such setting or value.

        ``where`` says in a sentence where it was given.
        """
        if key not in self.fields:
            raise InputError(self._unknown(key, where), code="bad-setting", key=key, part=self.name)
        kind = typing.get_type_hints(self.known)[key]
        try:
            return typed(kind, given)
        except ValueError as error:
            words = f"Expected {words_of(kind)} for {key} of {self.name}, found {given!r} {where}; correct it."
            raise InputError(words, code="bad-setting", key=key, part=self.name) from error

    def _unknown(self, key: str, where: str) -> str:
        if key in RUN_WIDE:
            return f"Expected {flag(key)}, which holds for the whole run, found {key} {where}; give that instead."
        if key in self.hidden:
            return (
                f"Expected settings of {self.name} that have an effect here, found {key} {where}: trained weights "
                "decide it, or it is for images that are enhanced; drop it."
            )
        return (
            f"Expected a setting of {self.table} {self.name}, found {key} {where}; {did_you_mean(key, self.fields)}"
            f"see --help-method {self.name}."
        )


def parts_of(level: str) -> tuple[Part, ...]:
    """Every method or simulator that a level can use; those that the level is about come first."""
    if level == "participant":
        abouts = [description(name) for name in METHODS]
        return tuple(Part("method", about.name, (about.sampling,), about.settings) for about in abouts)
    if level == "group":
        return ()
    simulators = [(name, get_simulator(name).settings) for name in SIMULATORS]
    if level == "simulate":
        return tuple(Part("simulator", name, (settings,), settings) for name, settings in simulators)
    trained = [description(name) for name in trained_methods()]
    learned = [Part("method", a.name, (a.network, a.training), a.settings) for a in trained]  # type: ignore[arg-type]
    return (*learned, *(Part("augment", name, (settings,), settings) for name, settings in simulators))


def choices(level: str, field: str) -> tuple[str, ...]:
    """The words that a field takes which chooses a part; empty for any other field."""
    names = tuple(part.name for part in parts_of(level) if part.kind == field)
    return (*PLAIN, *names) if field == "augment" and names else names


def shared(level: str) -> dict[str, Part]:
    """Settings that have an option of their own at a level, by name, each with a part that has it."""
    parts = parts_of(level)
    main = [part for part in parts if part.kind == parts[0].kind]
    return {name: part for name in SHARED for part in reversed(main) if name in part.fields}


def settings_of_parts(
    level: str, run: Mapping[str, Any], file: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The settings of each chosen part, by the field of the level's settings that holds them.

    ``run`` the options so far; ``file`` the tables of a settings file, of which one whose method or simulator was
    replaced on the command line is left alone; ``given`` the command line: ``set``, words ``[table.]key=value``, and
    the shared settings by name. Raise ``InputError`` for what there is not, or has no effect.
    """
    chosen = {part.table: part for part in _chosen(level, run)}
    tables: dict[str, dict[str, Any]] = {table: {} for table in chosen}
    for table, part in chosen.items():
        if run.get(part.kind) == file["run"].get(part.kind, run.get(part.kind)):
            where = f"in the [{table}] table of the settings file"
            kept = file.get(table, {}).keys() - _replaced(part, run, file["run"])
            tables[table] = {
                key: part.value(key, file[table][key], where) for key in file.get(table, {}) if key in kept
            }
    _refuse_unread(level, run, file, chosen)
    main = next(iter(chosen), "")
    for word in given.get("set", ()):
        table, key, value = _split(word, main)
        if table not in chosen:
            message = (
                f"Expected settings of what is used ({_used(chosen.values())}), found --set {word}, which would have "
                "no effect; drop it, or choose what it belongs to."
            )
            raise InputError(message, code="no-effect", key=key)
        tables[table][key] = chosen[table].value(key, value, f"in --set {word}")
    for name in SHARED:
        if name in given and name in shared(level):
            tables[main][name] = _shared_value(level, chosen[main], name, given[name])
    return {f"{table}_options": options for table, options in tables.items()}


def _refuse_unread(
    level: str, run: Mapping[str, Any], file: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, Part]
) -> None:
    """Raise ``InputError`` for a table of a settings file that nothing reads, unless its reader was replaced."""
    kinds = {part.table: part.kind for part in parts_of(level)}
    for table in [name for name in ("method", "simulator") if file.get(name) and name not in chosen]:
        kind = kinds.get(table, "")
        if run.get(kind) == file["run"].get(kind):
            message = (
                f"Expected settings of what is used ({_used(chosen.values())}), found a [{table}] table in the "
                "settings file, which would have no effect; drop it, or choose what it belongs to."
            )
            raise InputError(message, code="no-effect", key=table)


def _replaced(part: Part, run: Mapping[str, Any], before: Mapping[str, Any]) -> set[str]:
    """Settings of a method that a file has from its budget or preset, where another was asked for since."""
    changed = [name for name in BUNDLES if name in run and name in before and run[name] != before[name]]
    if not changed or part.kind != "method":
        return set()
    about = description(part.name)
    bundles = {"budget": about.budgets, "preset": about.presets}
    return {key for name in changed for choice in (run[name], before[name]) for key in bundles[name].get(choice, {})}


def _chosen(level: str, run: Mapping[str, Any]) -> list[Part]:
    """The parts in use; raise ``InputError`` for a name there is not."""
    parts = parts_of(level)
    chosen = []
    for kind in dict.fromkeys(part.kind for part in parts):
        name = run.get(kind, next(f.default for f in dataclasses.fields(SETTINGS[level]) if f.name == kind))
        if name not in choices(level, kind):
            message = (
                f"Expected one of {', '.join(choices(level, kind))} for --{kind}, found '{name}'; change --{kind}."
            )
            raise InputError(message, code="unknown-choice", option=kind, value=name)
        chosen += [part for part in parts if (part.kind, part.name) == (kind, name)]
    return chosen


def _used(parts: Iterable[Part]) -> str:
    return " and ".join(f"{part.table} {part.name}" for part in parts) or "nothing that has any"


def _split(word: str, main: str) -> tuple[str, str, str]:
    """(Table, key, value) of a word of ``--set``."""
    name, equals, value = word.partition("=")
    table, dot, key = name.rpartition(".")
    if not equals or not key or (dot and table not in ("method", "simulator")):
        message = f"Expected KEY=VALUE or simulator.KEY=VALUE after --set, found '{word}'; write it so."
        raise InputError(message, code="bad-setting", key=key)
    return table or main, key.replace("-", "_"), value


def _shared_value(level: str, part: Part, name: str, value: str) -> Any:
    if name not in part.fields:
        others = [other.name for other in parts_of(level) if other.table == part.table and name in other.fields]
        message = (
            f"Expected a {part.table} that has {flag(name)} ({', '.join(others)}), found {part.name}, which has none; "
            "drop it or choose another."
        )
        raise InputError(message, code="no-effect", key=name)
    return part.value(name, value, f"in {flag(name)}")


def typed(kind: Any, given: Any) -> Any:
    """A word or a value of TOML as a field of this type holds it; raise ``ValueError`` where it cannot be one."""
    if typing.get_origin(kind) is typing.Literal:
        if given in typing.get_args(kind):
            return given
        raise ValueError(given)
    kind = base_type(kind)
    if isinstance(given, str):
        if kind is bool:
            if given.lower() not in BOOLEANS:
                raise ValueError(given)
            return BOOLEANS[given.lower()]
        return kind(given)
    if kind is float and type(given) is int:
        return float(given)
    if type(given) is not kind:
        raise ValueError(given)
    return given


def base_type(kind: Any) -> Any:
    """The type behind ``X | None``."""
    if isinstance(kind, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not types.NoneType)
    return kind


def words_of(kind: Any) -> str:
    """What a field of this type takes, in words.

    >>> words_of(float | None), words_of(typing.Literal["heun", "euler"])
    ('a number', 'heun or euler')
    """
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(typing.get_args(kind))
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
    return names.get(base_type(kind), "a list of words" if kind == tuple[str, ...] else str(kind))


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """The beginning of advice: ``did you mean 'noise'? ``, or nothing where no name is like the word."""
    near = difflib.get_close_matches(word, list(names), n=1)
    return f"did you mean {near[0]}? " if near else ""


def refuse_misspelt(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """End with what was meant if an option is unknown: else argparse complains of the option that is missing."""
    known = parser._option_string_actions
    for word in itertools.takewhile(lambda word: word != "--", words):
        option = word.partition("=")[0]
        if option.startswith("--") and option not in known:
            advice = did_you_mean(option, known)
            parser.error(f"unrecognized arguments: {word}" + (f"; {advice.strip()}" if advice else ""))
