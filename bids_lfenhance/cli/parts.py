"""Methods and simulators on the command line: which of them a level offers, and what their own options are."""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..config import SETTINGS
from ..config.train import PLAIN
from ..errors import InputError
from ..methods import METHODS, description, trained_methods
from ..simulators import SIMULATORS, get_simulator

RUN_WIDE = frozenset({"device"})
"""Settings of parts that are one option for the whole run."""


@dataclass(frozen=True)
class Part:
    """A method or a simulator of a level: ``kind`` is the field of the level's settings that chooses it.

    ``offered`` are the dataclasses whose fields are options; ``known`` has every field there is. What is not offered
    may still stand in a settings file of a training, and is ``ignored`` there; elsewhere the weights decide it.
    """

    kind: str
    name: str
    offered: tuple[type, ...]
    known: type
    ignored: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """The fields that are options, by name."""
        return {f.name: f for kind in self.offered for f in dataclasses.fields(kind) if f.name not in RUN_WIDE}

    @property
    def hidden(self) -> frozenset[str]:
        """Names of fields that are no options of the level."""
        return frozenset(f.name for f in dataclasses.fields(self.known)) - self.fields.keys() - RUN_WIDE

    @property
    def hints(self) -> dict[str, Any]:
        """The types of the fields, by name."""
        return typing.get_type_hints(self.known)


def parts_of(level: str) -> tuple[Part, ...]:
    """Every method or simulator with options of its own that a level can use."""
    if level == "participant":
        abouts = [description(name) for name in METHODS]
        return tuple(Part("method", about.name, (about.sampling,), about.settings) for about in abouts)
    if level == "group":
        return ()
    simulators = [(name, get_simulator(name).settings) for name in SIMULATORS]
    if level == "simulate":
        return tuple(Part("simulator", name, (settings,), settings) for name, settings in simulators)
    trained = [description(name) for name in trained_methods()]
    learned = [Part("method", a.name, (a.network, a.training), a.settings, ignored=True) for a in trained]  # type: ignore[arg-type]
    return (*learned, *(Part("augment", name, (settings,), settings) for name, settings in simulators))


def choices(level: str, field: str) -> tuple[str, ...]:
    """The words that a field takes which chooses a part; empty for any other field."""
    names = tuple(part.name for part in parts_of(level) if part.kind == field)
    return (*PLAIN, *names) if field == "augment" and names else names


def options_of_parts(
    level: str, run: Mapping[str, Any], tables: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The options of each chosen part, by the field of the settings that holds them.

    ``run`` the settings so far, ``tables`` those of a settings file by part, ``given`` those of the command line as
    ``<part>.<field>``. Raise ``InputError`` for what would have no effect.
    """
    parts = parts_of(level)
    chosen: dict[str, Part] = {}
    for kind in dict.fromkeys(part.kind for part in parts):
        name = run.get(kind, _default(level, kind))
        if name not in choices(level, kind):
            raise InputError(
                f"Expected one of {', '.join(choices(level, kind))} for --{kind}, found '{name}'; change --{kind}.",
                code="unknown-choice",
                option=kind,
                value=name,
            )
        chosen.update((kind, part) for part in parts if (part.kind, part.name) == (kind, name))
    options: dict[str, dict[str, Any]] = {}
    for kind, part in chosen.items():
        holder = "method_options" if kind == "method" else "simulator_options"
        own = {key.partition(".")[2]: value for key, value in given.items() if key.partition(".")[0] == part.name}
        options[holder] = {**_from_table(tables, part), **{k: v for k, v in own.items() if k in part.fields}}
    _refuse_idle(given, parts, list(chosen.values()))
    return options


def _default(level: str, field: str) -> Any:
    return next(f.default for f in dataclasses.fields(SETTINGS[level]) if f.name == field)


def _from_table(tables: Mapping[str, Any], part: Part) -> dict[str, Any]:
    table = tables.get(part.name, {})
    for key in table:
        if key not in {f.name for f in dataclasses.fields(part.known)}:
            raise InputError(
                f"Expected an option of '{part.name}' in the settings file, found '{key}'; see --help.",
                code="bad-setting",
                key=key,
            )
        if key in part.hidden and not part.ignored:
            raise InputError(
                f"Expected options of '{part.name}' that have an effect in the settings file, found '{key}', which "
                "trained weights decide; drop it.",
                code="no-effect",
                key=key,
            )
    return {key: value for key, value in table.items() if key in part.fields}


def _refuse_idle(given: Mapping[str, Any], parts: tuple[Part, ...], chosen: list[Part]) -> None:
    """Raise ``InputError`` for an option that belongs to nothing that was chosen."""
    for key in given:
        owner, dot, name = key.partition(".")
        if not dot or any(part.name == owner and name in part.fields for part in chosen):
            continue
        kinds = dict.fromkeys(part.kind for part in parts if part.name == owner and name in part.fields)
        used = " and ".join(f"{part.kind} '{part.name}'" for part in chosen) or "none"
        raise InputError(
            f"Expected options of what is used ({used}), found --{owner}-{name.replace('_', '-')}, "
            f"which would have no effect; drop it or choose --{' or --'.join(kinds)} {owner}.",
            code="no-effect",
            key=name,
        )
