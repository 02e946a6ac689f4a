"""Methods and simulators on the command line: which of them a level offers, and what their own options are."""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..config import SETTINGS
from ..config.train import PLAIN
from ..errors import InputError
from ..methods import METHODS, get_method, learned_methods
from ..methods.options import decided
from ..simulators import SIMULATORS, get_simulator

RUN_WIDE = frozenset({"device"})
"""Settings of parts that are one option for the whole run."""


@dataclass(frozen=True)
class Part:
    """A method or a simulator of a level: ``kind`` is the field of the level's settings that chooses it."""

    kind: str
    name: str
    settings: type
    hidden: frozenset[str] = RUN_WIDE

    @property
    def fields(self) -> dict[str, Any]:
        """The fields that are options, by name."""
        return {f.name: f for f in dataclasses.fields(self.settings) if f.name not in self.hidden}

    @property
    def hints(self) -> dict[str, Any]:
        """The types of the fields, by name."""
        return typing.get_type_hints(self.settings)


def parts_of(level: str) -> tuple[Part, ...]:
    """Every method or simulator with options of its own that a level can use."""
    if level == "participant":
        enhancers = _methods(lambda m: m.maps == "lf2hf")
        return tuple(Part("method", name, record.settings, _not_used(record)) for name, record in enhancers)
    if level == "group":
        return ()
    simulators = [(name, get_simulator(name).settings) for name in SIMULATORS]
    if level == "simulate":
        return tuple(Part("simulator", name, settings) for name, settings in simulators)
    learned = [
        Part("method", name, record.settings, _not_trained(record)) for name, record in learned_methods().items()
    ]
    return (*learned, *(Part("augment", name, settings) for name, settings in simulators))


def _not_used(record: Any) -> frozenset[str]:
    """Settings that trained weights decide, in use: those of the networks and of how they were trained."""
    return RUN_WIDE | decided(record.settings, "network", "training")


def _not_trained(record: Any) -> frozenset[str]:
    """Settings that mean nothing to a training: those of what is done to an image once it is enhanced.

    Trained weights are what comes out; those to begin with are --init-weights.
    """
    return RUN_WIDE | {"weights", "precision"} | ({"contrast"} if record.maps == "lf2hf" else frozenset())


def _methods(wanted: Callable[[Any], Any]) -> list[tuple[str, Any]]:
    return [(name, record) for name in METHODS if wanted(record := get_method(name))]


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
    for key in tables.get(part.name, {}):
        if key not in {f.name for f in dataclasses.fields(part.settings)}:
            raise InputError(
                f"Expected an option of '{part.name}' in the settings file, found '{key}'; see --help.",
                code="bad-setting",
                key=key,
            )
        if key in part.hidden & decided(part.settings, "network", "training"):
            raise InputError(
                f"Expected options of '{part.name}' that have an effect in the settings file, found '{key}', which "
                "trained weights decide; drop it.",
                code="no-effect",
                key=key,
            )
    return {key: value for key, value in tables.get(part.name, {}).items() if key not in part.hidden}


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
